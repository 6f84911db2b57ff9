-- feature holds no feature that no impression and no common group has.
-- Its foreign keys show that whatever occurs is a feature. So if those that occur on one side and those on the other
-- are as many as all features, and their checksums add up to the same, each of them occurs. Otherwise some may be on
-- both sides, and the features are looked up one by one. Each branch is one look into an index.
with features as (
    select * from {{ ref('feature') }}
),

sample_features as (
    select * from {{ ref('sample_feature') }}
),

common_features as (
    select * from {{ ref('common_feature_group') }}
),

-- With a count MySQL reads the index from one end to the other, without it jumps from each id to the next.
occurring_in_samples as (
    select feature_id
    from sample_features
    group by feature_id
    having count(*) > 0
),

occurring_in_groups as (
    select feature_id
    from common_features
    group by feature_id
    having count(*) > 0
),

-- Each side is added up by itself, so that no server keeps the ids of both.
totals_by_side as (
    select
        count(*) as num_features,
        sum(crc32(feature_id)) as checksum
    from occurring_in_samples
    union all
    select
        count(*) as num_features,
        sum(crc32(feature_id)) as checksum
    from occurring_in_groups
),

occurring_total as (
    select
        sum(num_features) as num_features,
        coalesce(sum(checksum), 0) as checksum
    from totals_by_side
),

total as (
    select
        count(*) as num_features,
        coalesce(sum(crc32(feature_id)), 0) as checksum
    from features
),

difference as (
    select 1 as found
    from total
    cross join occurring_total
    where
        total.num_features <> occurring_total.num_features
        or total.checksum <> occurring_total.checksum
),

validation_errors as (
    select features.feature_id
    from features
    where
        -- Evaluated once, and first: joined, MariaDB would look all features up before it sees that nothing differs.
        (select count(*) from difference) > 0
        and case
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
