-- Each impression has as many rows in sample_feature as its num_features says.
with staged as (
    select
        sample_id,
        num_features
    from {{ ref('stg_sample') }}
),

validation_errors as (
    select
        staged.sample_id,
        staged.num_features
    from staged
    where staged.num_features <> (
        -- Read in the order of the key, so nothing has to be grouped or kept.
        select count(*)
        from {{ ref('sample_feature') }} as features
        where features.sample_id = staged.sample_id
    )
)

select * from validation_errors
