-- Every line of the source became a row or a reject, or is no record (a header, an empty last line), in each partition.
with validation_errors as (
    select
        source_file,
        partition_number,
        num_lines,
        num_rows,
        num_rejects,
        num_non_records
    from {{ current_load() }} as partitions
    where num_lines <> coalesce(num_rows, 0) + coalesce(num_rejects, 0) + coalesce(num_non_records, 0)
)

select * from validation_errors
