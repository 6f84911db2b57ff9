with samples as (
    select * from {{ ref('stg_sample') }}
),

common_features as (
    select * from {{ ref('stg_common_feature') }}
),

final as (
    select
        'sample' as side,
        num_features,
        count(*) as num_lists
    from samples
    group by num_features
    union all
    select
        'common' as side,
        num_features,
        count(*) as num_lists
    from common_features
    group by num_features
)

select * from final
