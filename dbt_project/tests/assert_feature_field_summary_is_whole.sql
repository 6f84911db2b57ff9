-- feature_field_summary has one row per field and side, which add up to the structures of the load.
-- Both in one reading of a view that reads every structure, and only where they are few.
with summary as (
    select * from {{ ref('feature_field_summary') }}
    where {{ is_small_enough(500000) }}
),

loads as (
    select * from {{ ref('load_history') }}
    where {{ is_small_enough(500000) }}
),

found as (
    select
        coalesce(sum(num_structures), 0) as num_structures,
        count(*) as num_rows,
        count(distinct feature_name, side) as num_keys
    from summary
),

counted as (
    select coalesce(sum(num_structures), 0) as num_structures
    from loads
    where is_current = 1
),

validation_errors as (
    select
        found.num_structures as found_structures,
        counted.num_structures as counted_structures,
        found.num_rows,
        found.num_keys
    from found
    cross join counted
    where
        found.num_structures <> counted.num_structures
        or found.num_rows <> found.num_keys
)

select * from validation_errors
