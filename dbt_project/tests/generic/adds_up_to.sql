{#-
    A view has one row per combination of values of its key, none of them null, and its rows add up to what the relation
    holds that it is made of: the grain and the sum in one reading.
-#}
{% test adds_up_to(model, key, total, to, of, where='1 = 1') %}

with found as (
    select
        count(*) as num_rows,
        count(distinct {{ key | join(', ') }}) as num_keys,
        coalesce({{ total }}, 0) as total
    from {{ model }}
    where {{ where }}
),

expected as (
    select coalesce({{ of }}, 0) as total
    from {{ to }}
),

validation_errors as (
    select
        found.num_rows,
        found.num_keys,
        found.total,
        expected.total as expected_total
    from found
    cross join expected
    where
        found.num_rows <> found.num_keys
        or found.total <> expected.total
)

select * from validation_errors
{% endtest %}
