{#-
    The structures that the load counted on a side are in staging and in a table, value by value. A difference of one row
    changes the counts, one of a value the checksums. The key is given as a number, in SQL.
-#}
{% test structures_reach(model, side, staged, key_number) %}

with counted as (
    select coalesce(sum(num_structures), 0) as num_structures
    from {{ current_load() }} as partitions
    where side = '{{ side }}'
),

staged as (
    select
        count(*) as num_structures,
        {{ structure_checksum(key_number) }} as checksum
    from {{ staged }}
),

published as (
    select
        count(*) as num_structures,
        {{ structure_checksum(key_number) }} as checksum
    from {{ model }}
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
{% endtest %}
