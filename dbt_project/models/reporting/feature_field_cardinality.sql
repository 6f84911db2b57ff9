with fields as (
    select * from {{ ref('feature_field') }}
),

features as (
    select * from {{ ref('feature') }}
),

cardinalities as (
    select
        feature_name,
        count(*) as num_features,
        min(feature_id) as min_feature_id,
        max(feature_id) as max_feature_id
    from features
    group by feature_name
),

final as (
    select
        cardinalities.feature_name,
        fields.meaning,
        cardinalities.num_features,
        cardinalities.min_feature_id,
        cardinalities.max_feature_id
    from cardinalities
    left join fields on cardinalities.feature_name = fields.feature_name
)

select * from final
