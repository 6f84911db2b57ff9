-- The structures that the load counted are in staging and in sample_feature, value by value.
-- A difference of one row changes the counts, one of a value the checksums.
with counted as (
    select coalesce(sum(num_structures), 0) as num_structures
    from {{ current_load() }} as partitions
    where side = 'sample'
),

staged as (
    select
        count(*) as num_structures,
        {{ structure_checksum('sample_id') }} as checksum
    from {{ ref('stg_sample_feature') }}
),

published as (
    select
        count(*) as num_structures,
        {{ structure_checksum('sample_id') }} as checksum
    from {{ ref('sample_feature') }}
),

validation_errors as (
    select
        counted.num_structures as counted_structures,
        staged.num_structures as staged_structures,
        published.num_structures as published_structures,
        staged.checksum as staged_checksum,
        published.checksum as published_checksum
    from counted
    cross join staged
    cross join published
    where
        counted.num_structures <> staged.num_structures
        or staged.num_structures <> published.num_structures
        or staged.checksum <> published.checksum
)

select * from validation_errors
