-- No file lost more than the share of its lines that tests.max_reject_share in pipeline.yml allows.
with validation_errors as (
    select
        source_file,
        sum(num_rejects) as num_rejects,
        sum(num_lines) as num_lines
    from {{ current_load() }} as partitions
    group by source_file
    having sum(num_rejects) > {{ max_reject_share() }} * sum(num_lines)
)

select * from validation_errors
