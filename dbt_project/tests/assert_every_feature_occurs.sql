-- feature holds no feature that no impression and no common group has.
-- A sum of two `exists` is one look into an index for each feature; from `not exists` MySQL makes a copy of the index.
with validation_errors as (
    select features.feature_id
    from {{ ref('feature') }} as features
    where
        exists (
            select 1
            from {{ ref('sample_feature') }} as sample_features
            where sample_features.feature_id = features.feature_id
        )
        + exists (
            select 1
            from {{ ref('common_feature_group') }} as common_features
            where common_features.feature_id = features.feature_id
        )
        = 0
)

select * from validation_errors
