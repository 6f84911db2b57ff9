with partitions as (
    select * from {{ ref('stg_load_partition') }}
),

final as (
    select
        load_id,
        source_file,
        source_sha256,
        side,
        max(case when state = 'superseded' then 0 else 1 end) as is_current,
        count(*) as num_partitions,
        count(loaded_at) as num_loaded_partitions,
        sum(num_lines) as num_lines,
        sum(num_rows) as num_rows,
        sum(num_structures) as num_structures,
        sum(num_rejects) as num_rejects,
        sum(num_non_records) as num_non_records,
        min(loaded_at) as first_loaded_at,
        max(loaded_at) as last_loaded_at
    from partitions
    group by
        load_id,
        source_file,
        source_sha256,
        side
)

select * from final
