-- No file lost more than the share of its records that the variable max_reject_share allows.
with validation_errors as (
    select
        source_file,
        sum(num_rejects) as num_rejects,
        sum(num_lines - num_non_records) as num_records
    from {{ current_load() }} as partitions
    group by source_file
    having sum(num_rejects) > {{ var('max_reject_share') }} * sum(num_lines - num_non_records)
)

select * from validation_errors
