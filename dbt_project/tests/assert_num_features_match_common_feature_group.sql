-- Each common feature group has as many rows in common_feature_group as its num_features says.
-- A number for each key is added up as often as num_features says, and once for each row: if the sums agree, so do all
-- of the lists. Otherwise they are counted one by one.
with staged as (
    select
        common_feature_index,
        num_features
    from {{ ref('stg_common_feature') }}
),

features as (
    select * from {{ ref('common_feature_group') }}
),

said as (
    select
        coalesce(sum(num_features), 0) as num_structures,
        coalesce(sum(num_features * crc32(common_feature_index)), 0) as checksum
    from staged
),

found as (
    select
        count(*) as num_structures,
        coalesce(sum(crc32(common_feature_index)), 0) as checksum
    from features
),

difference as (
    select 1 as found
    from said
    cross join found
    where
        said.num_structures <> found.num_structures
        or said.checksum <> found.checksum
),

validation_errors as (
    select
        staged.common_feature_index,
        staged.num_features
    from staged
    where
        -- Evaluated once, and first: joined, MariaDB would count all the lists before it sees that nothing differs.
        (select count(*) from difference) > 0
        and staged.num_features <> (
            -- Read in the order of the key, so nothing has to be grouped or kept.
            select count(*)
            from {{ ref('common_feature_group') }} as features
            where features.common_feature_index = staged.common_feature_index
        )
)

select * from validation_errors
