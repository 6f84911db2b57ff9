-- load_reconciliation has one row per file of the load, in which every stage has what the load has counted.
-- The view counts every structure: it is read once, and only where they are few. Other tests hold the tables to the
-- load at any size.
with planned as (
    select distinct source_file
    from {{ current_load() }} as partitions
    where {{ is_small_enough() }}
),

found as (
    select * from {{ ref('load_reconciliation') }}
    where {{ is_small_enough() }}
),

-- A group whose feature list is empty has no row in the normal form.
judged as (
    select
        source_file,
        num_lines = num_rows + num_rejects + num_non_records
        and recorded_rejects = num_rejects + num_non_records
        and staged_rows = num_rows
        and (table_rows = num_rows or (side = 'common' and table_rows < num_rows))
        and staged_structures = num_structures
        and table_structures = num_structures as is_sound
    from found
),

validation_errors as (
    select
        planned.source_file,
        count(judged.source_file) as num_found,
        sum(judged.is_sound) as num_sound
    from planned
    left join judged on planned.source_file = judged.source_file
    group by planned.source_file
    having count(judged.source_file) <> 1 or coalesce(sum(judged.is_sound), 0) <> 1
)

select * from validation_errors
