-- Each common feature group has as many rows in common_feature_group as its num_features says.
with staged as (
    select
        common_feature_index,
        num_features
    from {{ ref('stg_common_feature') }}
),

validation_errors as (
    select
        staged.common_feature_index,
        staged.num_features
    from staged
    where staged.num_features <> (
        -- Read in the order of the key, so nothing has to be grouped or kept.
        select count(*)
        from {{ ref('common_feature_group') }} as features
        where features.common_feature_index = staged.common_feature_index
    )
)

select * from validation_errors
