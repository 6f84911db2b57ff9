with rejected_records as (
    select * from {{ ref('stg_rejected_record') }}
),

final as (
    select
        source_file,
        reason,
        count(*) as num_rejects,
        min(line_number) as first_line
    from rejected_records
    group by
        source_file,
        reason
)

select * from final
