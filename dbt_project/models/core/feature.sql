with sample_side as (
    select
        feature_id,
        feature_name
    from {{ ref('stg_sample_feature') }}
),

common_side as (
    select
        feature_id,
        feature_name
    from {{ ref('stg_common_feature_group') }}
),

-- A feature_id under two names comes out as two rows, and the materialization refuses to choose between them.
final as (
    select * from sample_side
    union distinct
    select * from common_side
)

select * from final
