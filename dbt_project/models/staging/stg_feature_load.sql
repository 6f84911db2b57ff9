with source as (
    select * from {{ source('staging', 'feature_load') }}
),

renamed as (
    select
        load_id,
        num_features,
        loaded_at
    from source
)

select * from renamed
