-- dim_common_feature_group has every common feature group, and every structure of the fields that it has as columns:
-- a group with two of one field would be short of one, and a table that is older than the four differs.
with found as (
    select
        count(*) as num_rows,
        coalesce(sum(user_id), 0) as user,
        coalesce(sum(user_class_id), 0) as user_class,
        coalesce(sum(user_group_id), 0) as user_group,
        coalesce(sum(gender_id), 0) as gender,
        coalesce(sum(age_id), 0) as age,
        coalesce(sum(spending_level_1_id), 0) as spending_level_1,
        coalesce(sum(spending_level_2_id), 0) as spending_level_2,
        coalesce(sum(occupation_id), 0) as occupation,
        coalesce(sum(geography_id), 0) as geography
    from {{ ref('dim_common_feature_group') }}
),

counted as (
    select count(distinct common_feature_index) as num_rows
    from {{ ref('common_feature_group') }}
),

structures as (
    select
        coalesce(sum(case when features.feature_name = '101' then features.feature_id end), 0) as user,
        coalesce(sum(case when features.feature_name = '121' then features.feature_id end), 0) as user_class,
        coalesce(sum(case when features.feature_name = '122' then features.feature_id end), 0) as user_group,
        coalesce(sum(case when features.feature_name = '124' then features.feature_id end), 0) as gender,
        coalesce(sum(case when features.feature_name = '125' then features.feature_id end), 0) as age,
        coalesce(sum(case when features.feature_name = '126' then features.feature_id end), 0) as spending_level_1,
        coalesce(sum(case when features.feature_name = '127' then features.feature_id end), 0) as spending_level_2,
        coalesce(sum(case when features.feature_name = '128' then features.feature_id end), 0) as occupation,
        coalesce(sum(case when features.feature_name = '129' then features.feature_id end), 0) as geography
    from {{ ref('common_feature_group') }} as common_feature_groups
    inner join {{ ref('feature') }} as features on common_feature_groups.feature_id = features.feature_id
    where features.feature_name in ('101', '121', '122', '124', '125', '126', '127', '128', '129')
),

validation_errors as (
    select
        found.num_rows,
        counted.num_rows as expected_rows
    from found
    cross join counted
    cross join structures
    where
        found.num_rows <> counted.num_rows
        or found.user <> structures.user
        or found.user_class <> structures.user_class
        or found.user_group <> structures.user_group
        or found.gender <> structures.gender
        or found.age <> structures.age
        or found.spending_level_1 <> structures.spending_level_1
        or found.spending_level_2 <> structures.spending_level_2
        or found.occupation <> structures.occupation
        or found.geography <> structures.geography
)

select * from validation_errors
