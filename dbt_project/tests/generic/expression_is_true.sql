{#- A condition holds of each row. -#}
{% test expression_is_true(model, expression, up_to_structures=none) %}

with validation_errors as (
    select *
    from {{ model }}
    where not coalesce({{ expression }}, false) {%- if up_to_structures %} and {{ is_small_enough(up_to_structures) }} {%- endif %}
)

select * from validation_errors
{% endtest %}
