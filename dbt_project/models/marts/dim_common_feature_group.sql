with features as (
    select * from {{ ref('feature') }}
),

common_feature_groups as (
    select * from {{ ref('common_feature_group') }}
),

common_groups as (
    select distinct common_feature_index
    from common_feature_groups
),

-- Few structures of a group are of these fields: they are found in the index of feature_id, which has all of it.
profiles as (
    select
        common_feature_groups.common_feature_index,
        max(case when features.feature_name = '101' then features.feature_id end) as user_id,
        max(case when features.feature_name = '121' then features.feature_id end) as user_class_id,
        max(case when features.feature_name = '122' then features.feature_id end) as user_group_id,
        max(case when features.feature_name = '124' then features.feature_id end) as gender_id,
        max(case when features.feature_name = '125' then features.feature_id end) as age_id,
        max(case when features.feature_name = '126' then features.feature_id end) as spending_level_1_id,
        max(case when features.feature_name = '127' then features.feature_id end) as spending_level_2_id,
        max(case when features.feature_name = '128' then features.feature_id end) as occupation_id,
        max(case when features.feature_name = '129' then features.feature_id end) as geography_id
    from features
    inner join common_feature_groups on features.feature_id = common_feature_groups.feature_id
    where features.feature_name in ('101', '121', '122', '124', '125', '126', '127', '128', '129')
    group by common_feature_groups.common_feature_index
),

final as (
    select
        common_groups.common_feature_index,
        profiles.user_id,
        profiles.user_class_id,
        profiles.user_group_id,
        profiles.gender_id,
        profiles.age_id,
        profiles.spending_level_1_id,
        profiles.spending_level_2_id,
        profiles.occupation_id,
        profiles.geography_id
    from common_groups
    left join profiles on common_groups.common_feature_index = profiles.common_feature_index
)

select * from final
