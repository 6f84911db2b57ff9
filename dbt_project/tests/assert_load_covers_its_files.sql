-- Each file of the load is one that was unpacked, and its partitions cover every line of it.
with planned as (
    select
        source_file,
        source_sha256,
        sum(num_lines) as num_lines
    from {{ current_load() }} as partitions
    group by
        source_file,
        source_sha256
),

landed as (
    select
        sha256,
        max(num_rows) as num_rows
    from {{ ref('stg_asset') }}
    group by sha256
),

validation_errors as (
    select
        planned.source_file,
        planned.num_lines,
        landed.num_rows
    from planned
    left join landed on planned.source_sha256 = landed.sha256
    where planned.num_lines <> coalesce(landed.num_rows, -1)
)

select * from validation_errors
