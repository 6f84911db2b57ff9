-- feature holds no feature that no impression and no common group has.
-- Each branch is one look into an index; from `not exists` MySQL makes a copy of the index.
with validation_errors as (
    select features.feature_id
    from {{ ref('feature') }} as features
    where
        case
            when exists (
                select 1
                from {{ ref('sample_feature') }} as sample_features
                where sample_features.feature_id = features.feature_id
            ) then 1
            when exists (
                select 1
                from {{ ref('common_feature_group') }} as common_features
                where common_features.feature_id = features.feature_id
            ) then 1
            else 0
        end
        = 0
)

select * from validation_errors
