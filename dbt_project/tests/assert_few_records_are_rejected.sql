-- No file lost more than the share of its lines that the variable max_reject_share allows.
with validation_errors as (
    select
        source_file,
        sum(num_rejects) as num_rejects,
        sum(num_lines) as num_lines
    from {{ current_load() }} as partitions
    group by source_file
    having sum(num_rejects) > {{ var('max_reject_share') }} * sum(num_lines)
)

select * from validation_errors
