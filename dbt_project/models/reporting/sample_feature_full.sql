with samples as (
    select * from {{ ref('sample') }}
),

features as (
    select * from {{ ref('feature') }}
),

sample_features as (
    select * from {{ ref('sample_feature') }}
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }}
),

final as (
    select
        sample_features.sample_id,
        'sample' as side,
        features.feature_name,
        sample_features.feature_id,
        cast(sample_features.feature_value as double) as feature_value
    from sample_features
    inner join features on sample_features.feature_id = features.feature_id
    union all
    select
        samples.sample_id,
        'common' as side,
        features.feature_name,
        common_feature_groups.feature_id,
        cast(common_feature_groups.feature_value as double) as feature_value
    from samples
    inner join common_feature_groups on samples.common_feature_index = common_feature_groups.common_feature_index
    inner join features on common_feature_groups.feature_id = features.feature_id
)

select * from final
