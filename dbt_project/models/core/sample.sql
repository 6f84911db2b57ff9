with staged as (
    select * from {{ ref('stg_sample') }}
),

final as (
    select
        sample_id,
        click_label,
        conversion_label,
        common_feature_index
    from staged
)

select * from final
