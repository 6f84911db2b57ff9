with staged as (
    select * from {{ ref('stg_common_feature_group') }}
),

final as (
    select
        common_feature_index,
        feature_id,
        feature_value
    from staged
)

select * from final
