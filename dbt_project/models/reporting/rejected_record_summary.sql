with rejected_records as (
    select * from {{ ref('stg_rejected_record') }}
),

-- What stands behind a colon is of the record: the line or the feature that it contradicts.
reasons as (
    select
        source_file,
        line_number,
        substring_index(reason, ': ', 1) as reason
    from rejected_records
),

final as (
    select
        source_file,
        reason,
        count(*) as num_rejects,
        min(line_number) as first_line
    from reasons
    group by
        source_file,
        reason
)

select * from final
