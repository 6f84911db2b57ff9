-- Every staged impression is in sample with its labels and its group, and nothing else is.
with staged as (
    select
        count(*) as num_rows,
        sum(crc32(concat_ws('|', sample_id, click_label, conversion_label, common_feature_index))) as checksum
    from {{ ref('stg_sample') }}
),

published as (
    select
        count(*) as num_rows,
        sum(crc32(concat_ws('|', sample_id, click_label, conversion_label, common_feature_index))) as checksum
    from {{ ref('sample') }}
),

validation_errors as (
    select
        staged.num_rows as staged_rows,
        published.num_rows as published_rows
    from staged
    cross join published
    where
        staged.num_rows <> published.num_rows
        or staged.checksum <> published.checksum
)

select * from validation_errors
