with source as (
    select * from {{ source('staging', 'rejected_record') }}
),

renamed as (
    select
        source_file,
        line_number,
        partition_number,
        reason,
        record
    from source
)

select * from renamed
