-- feature_field_summary has one row per field and side, which add up to the structures of the load.
-- The view reads every structure: it is read once, and only where they are few.
with partitions as (
    select * from {{ current_load() }} as current_partitions
    where {{ is_small_enough() }}
),

summary as (
    select * from {{ ref('feature_field_summary') }}
    where {{ is_small_enough() }}
),

found as (
    select
        side,
        sum(num_structures) as num_structures,
        count(*) as num_rows,
        count(distinct feature_name) as num_fields
    from summary
    group by side
),

counted as (
    select
        side,
        sum(num_structures) as num_structures
    from partitions
    group by side
),

validation_errors as (
    select
        counted.side,
        counted.num_structures as counted_structures,
        found.num_structures as found_structures,
        found.num_rows,
        found.num_fields
    from counted
    left join found on counted.side = found.side
    where
        counted.num_structures <> coalesce(found.num_structures, 0)
        or found.num_rows <> found.num_fields
)

select * from validation_errors
