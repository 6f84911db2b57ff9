with staged as (
    select * from {{ ref('stg_sample_feature') }}
),

final as (
    select
        sample_id,
        feature_id,
        feature_value
    from staged
)

select * from final
