-- Every line that the load counted as a reject or as no record is in rejected_record, and no other is.
with counted as (
    select
        source_file,
        partition_number,
        sum(num_rejects + num_non_records) as num_rejects
    from {{ current_load() }} as partitions
    group by
        source_file,
        partition_number
),

recorded as (
    select
        source_file,
        partition_number,
        count(*) as num_rejects
    from {{ ref('stg_rejected_record') }}
    group by
        source_file,
        partition_number
),

validation_errors as (
    select
        counted.source_file,
        counted.partition_number,
        counted.num_rejects as counted_rejects,
        recorded.num_rejects as recorded_rejects
    from counted
    left join recorded
        on
            counted.source_file = recorded.source_file
            and counted.partition_number = recorded.partition_number
    where counted.num_rejects <> coalesce(recorded.num_rejects, 0)
    union all
    select
        recorded.source_file,
        recorded.partition_number,
        0 as counted_rejects,
        recorded.num_rejects as recorded_rejects
    from recorded
    left join counted
        on
            recorded.source_file = counted.source_file
            and recorded.partition_number = counted.partition_number
    where counted.source_file is null
)

select * from validation_errors
