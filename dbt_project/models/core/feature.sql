-- The load has rejected what gives an id a second name; the primary key holds it to that.
with staged as (
    select * from {{ ref('stg_feature') }}
),

final as (
    select
        feature_id,
        feature_name
    from staged
)

select * from final
