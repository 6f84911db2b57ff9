with source as (
    select * from {{ source('staging', 'sample') }}
),

renamed as (
    select
        sample_id,
        click_label,
        conversion_label,
        common_feature_index,
        num_features,
        partition_number
    from source
)

select * from renamed
