with source as (
    select * from {{ source('staging', 'load_partition') }}
),

renamed as (
    select
        load_id,
        source_file,
        source_sha256,
        record_kind,
        case record_kind when 'sample' then 'sample' when 'common_feature' then 'common' end as side,
        partition_number,
        first_line,
        first_byte,
        end_byte,
        num_lines,
        num_rows,
        num_structures,
        num_rejects,
        num_non_records,
        state,
        loaded_at
    from source
)

select * from renamed
