with source as (
    select * from {{ source('staging', 'feature') }}
),

renamed as (
    select
        feature_id,
        feature_name
    from source
)

select * from renamed
