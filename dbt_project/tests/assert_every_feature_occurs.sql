-- feature holds no feature that no impression and no common group has.
with validation_errors as (
    select features.feature_id
    from {{ ref('feature') }} as features
    where
        not exists (
            select 1
            from {{ ref('sample_feature') }} as sample_features
            where sample_features.feature_id = features.feature_id
        )
        and not exists (
            select 1
            from {{ ref('common_feature_group') }} as common_features
            where common_features.feature_id = features.feature_id
        )
)

select * from validation_errors
