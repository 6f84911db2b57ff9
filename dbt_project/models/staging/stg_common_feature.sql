with source as (
    select * from {{ source('staging', 'common_feature') }}
),

renamed as (
    select
        common_feature_index,
        num_features,
        partition_number
    from source
)

select * from renamed
