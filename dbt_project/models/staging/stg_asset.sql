with source as (
    select * from {{ source('staging', 'asset') }}
),

renamed as (
    select
        uri,
        etag,
        size_bytes,
        sha256,
        num_rows,
        landed_at
    from source
)

select * from renamed
