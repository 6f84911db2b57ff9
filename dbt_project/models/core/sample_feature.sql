-- Its parents must be there when its foreign keys are added:
-- depends_on: {{ ref('sample') }}
-- depends_on: {{ ref('feature') }}
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
