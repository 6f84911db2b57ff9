with source as (
    select * from {{ source('staging', 'sample_feature') }}
),

renamed as (
    select
        sample_id,
        feature_id,
        feature_value
    from source
)

select * from renamed
