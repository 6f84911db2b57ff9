-- feature_id determines feature_name over everything staged. One row per pair that feature holds otherwise.
with staged as (
    select
        feature_id,
        feature_name
    from {{ ref('stg_sample_feature') }}
    union all
    select
        feature_id,
        feature_name
    from {{ ref('stg_common_feature_group') }}
),

validation_errors as (
    select distinct
        staged.feature_id,
        staged.feature_name,
        features.feature_name as published_name
    from staged
    left join {{ ref('feature') }} as features on staged.feature_id = features.feature_id
    where
        features.feature_name is null
        or staged.feature_name <> features.feature_name
)

select * from validation_errors
