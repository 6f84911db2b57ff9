{#-
    Each list has as many rows in a table as its num_features says. A number for each key is added up as often as
    num_features says, and once for each row: if the sums agree, so do all of the lists. Otherwise they are counted one by
    one.
-#}
{% test num_features_match(model, key, staged) %}

with said as (
    select
        coalesce(sum(num_features), 0) as num_structures,
        coalesce(sum(num_features * crc32({{ key }})), 0) as checksum
    from {{ staged }}
),

found as (
    select
        count(*) as num_structures,
        coalesce(sum(crc32({{ key }})), 0) as checksum
    from {{ model }}
),

difference as (
    select 1 as found
    from said
    cross join found
    where
        said.num_structures <> found.num_structures
        or said.checksum <> found.checksum
),

validation_errors as (
    select
        staged.{{ key }},
        staged.num_features
    from {{ staged }} as staged
    where
        -- Evaluated once, and first: joined, MariaDB would count all the lists before it sees that nothing differs.
        (select count(*) from difference) > 0
        and staged.num_features <> (
            -- Read in the order of the key, so nothing has to be grouped or kept.
            select count(*)
            from {{ model }} as features
            where features.{{ key }} = staged.{{ key }}
        )
)

select * from validation_errors
{% endtest %}
