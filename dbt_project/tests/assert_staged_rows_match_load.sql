-- Each partition's rows are in staging, and their num_features add up to the structures that the load counted.
with counted as (
    select
        side,
        partition_number,
        num_rows,
        num_structures
    from {{ current_load() }} as partitions
),

staged as (
    select
        'sample' as side,
        partition_number,
        count(*) as num_rows,
        sum(num_features) as num_structures
    from {{ ref('stg_sample') }}
    group by partition_number
    union all
    select
        'common' as side,
        partition_number,
        count(*) as num_rows,
        sum(num_features) as num_structures
    from {{ ref('stg_common_feature') }}
    group by partition_number
),

both_sides as (
    select
        side,
        partition_number,
        num_rows as counted_rows,
        num_structures as counted_structures,
        0 as staged_rows,
        0 as staged_structures
    from counted
    union all
    select
        side,
        partition_number,
        0 as counted_rows,
        0 as counted_structures,
        num_rows as staged_rows,
        num_structures as staged_structures
    from staged
),

validation_errors as (
    select
        side,
        partition_number,
        sum(counted_rows) as counted_rows,
        sum(staged_rows) as staged_rows,
        sum(counted_structures) as counted_structures,
        sum(staged_structures) as staged_structures
    from both_sides
    group by
        side,
        partition_number
    having
        sum(counted_rows) <> sum(staged_rows)
        or sum(counted_structures) <> sum(staged_structures)
)

select * from validation_errors
