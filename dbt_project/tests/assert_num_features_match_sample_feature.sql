-- Each impression has as many rows in sample_feature as its num_features says.
-- A number for each key is added up as often as num_features says, and once for each row: if the sums agree, so do all
-- of the lists. Otherwise they are counted one by one.
with staged as (
    select
        sample_id,
        num_features
    from {{ ref('stg_sample') }}
),

features as (
    select * from {{ ref('sample_feature') }}
),

said as (
    select
        coalesce(sum(num_features), 0) as num_structures,
        coalesce(sum(num_features * crc32(sample_id)), 0) as checksum
    from staged
),

found as (
    select
        count(*) as num_structures,
        coalesce(sum(crc32(sample_id)), 0) as checksum
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
        staged.sample_id,
        staged.num_features
    from staged
    where
        -- Evaluated once, and first: joined, MariaDB would count all the lists before it sees that nothing differs.
        (select count(*) from difference) > 0
        and staged.num_features <> (
            -- Read in the order of the key, so nothing has to be grouped or kept.
            select count(*)
            from {{ ref('sample_feature') }} as features
            where features.sample_id = staged.sample_id
        )
)

select * from validation_errors
