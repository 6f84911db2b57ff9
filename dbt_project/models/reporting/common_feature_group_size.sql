with samples as (
    select * from {{ ref('sample') }}
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }}
),

-- In the order of the index: no table of all groups is made.
group_sizes as (
    select
        common_feature_index,
        count(*) as num_samples
    from samples
    group by common_feature_index
),

groups_found as (
    select
        num_samples,
        exists(
            select 1
            from common_feature_groups
            where common_feature_groups.common_feature_index = group_sizes.common_feature_index
        ) as has_features
    from group_sizes
),

final as (
    select
        num_samples,
        has_features,
        count(*) as num_groups
    from groups_found
    group by
        num_samples,
        has_features
)

select * from final
