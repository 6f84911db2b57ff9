with samples as (
    select * from {{ ref('sample') }}
),

strata as (
    select
        click_label,
        conversion_label,
        count(*) as num_samples
    from samples
    group by
        click_label,
        conversion_label
),

final as (
    select
        click_label,
        conversion_label,
        case
            when click_label = 0 and conversion_label = 0 then 'no response'
            when click_label = 1 and conversion_label = 0 then 'click-through'
            when click_label = 1 and conversion_label = 1 then 'click-through and conversion'
            else 'conversion without click'
        end as response,
        num_samples,
        cast(num_samples as double) / sum(num_samples) over () as share
    from strata
)

select * from final
