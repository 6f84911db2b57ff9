-- dataset_summary has one row per table, with as many rows as the load has counted.
-- The view counts every structure: it is read once, and only where they are few. Other tests hold the tables to the
-- load at any size.
with partitions as (
    select * from {{ current_load() }} as current_partitions
    where {{ is_small_enough() }}
),

feature_loads as (
    select * from {{ ref('stg_feature_load') }}
    where load_id in (select partitions.load_id from partitions)
),

found as (
    select * from {{ ref('dataset_summary') }}
    where {{ is_small_enough() }}
),

counted as (
    select
        'sample' as table_name,
        sum(num_rows) as num_rows
    from partitions
    where side = 'sample'
    union all
    select
        'sample_feature' as table_name,
        sum(num_structures) as num_rows
    from partitions
    where side = 'sample'
    union all
    select
        'common_feature_group' as table_name,
        sum(num_structures) as num_rows
    from partitions
    where side = 'common'
    union all
    select
        'feature' as table_name,
        sum(num_features) as num_rows
    from feature_loads
    union all
    select
        'rejected_record' as table_name,
        sum(num_rejects + num_non_records) as num_rows
    from partitions
),

both_counts as (
    select
        table_name,
        num_rows,
        1 as num_found
    from found
    union all
    select
        table_name,
        -coalesce(num_rows, 0) as num_rows,
        0 as num_found
    from counted
    where {{ is_small_enough() }}
),

validation_errors as (
    select
        table_name,
        sum(num_rows) as num_rows_too_many,
        sum(num_found) as num_found
    from both_counts
    group by table_name
    having sum(num_rows) <> 0 or sum(num_found) <> 1
)

select * from validation_errors
