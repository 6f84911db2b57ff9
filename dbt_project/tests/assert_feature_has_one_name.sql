-- feature_id determines feature_name over everything staged. One row per pair that feature holds otherwise.
-- Each side is compared as it is read; a union of the two would be written to disk first.
with validation_errors as (
    select
        staged.feature_id,
        staged.feature_name,
        features.feature_name as published_name
    from {{ ref('stg_sample_feature') }} as staged
    left join {{ ref('feature') }} as features on staged.feature_id = features.feature_id
    where
        features.feature_name is null
        or staged.feature_name <> features.feature_name
    union distinct
    select
        staged.feature_id,
        staged.feature_name,
        features.feature_name as published_name
    from {{ ref('stg_common_feature_group') }} as staged
    left join {{ ref('feature') }} as features on staged.feature_id = features.feature_id
    where
        features.feature_name is null
        or staged.feature_name <> features.feature_name
)

select * from validation_errors
