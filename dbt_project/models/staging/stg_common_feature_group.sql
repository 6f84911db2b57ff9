with source as (
    select * from {{ source('staging', 'common_feature_group') }}
),

renamed as (
    select
        common_feature_index,
        feature_id,
        feature_value
    from source
)

select * from renamed
