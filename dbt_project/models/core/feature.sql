-- An id that the source prints under two names has two rows here: the materialization refuses to choose between them.
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
