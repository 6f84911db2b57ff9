{#- What a view adds up to is what the relation has that it was made of. -#}
{% test adds_up_to(model, expression, to, of, where='1 = 1', up_to_structures=none) %}

with found as (
    select coalesce({{ expression }}, 0) as total
    from {{ model }}
    where {{ where }} {%- if up_to_structures %} and {{ is_small_enough(up_to_structures) }} {%- endif %}
),

expected as (
    select coalesce({{ of }}, 0) as total
    from {{ to }}
    {% if up_to_structures -%} where {{ is_small_enough(up_to_structures) }} {%- endif %}
),

validation_errors as (
    select
        found.total as found_total,
        expected.total as expected_total
    from found
    cross join expected
    where found.total <> expected.total
)

select * from validation_errors
{% endtest %}
