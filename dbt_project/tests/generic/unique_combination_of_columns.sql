{#- The grain of a view: no two rows have the same values in these columns, and none is null in them. -#}
{% test unique_combination_of_columns(model, combination_of_columns, up_to_structures=none) %}

with validation_errors as (
    select {{ combination_of_columns | join(', ') }}
    from {{ model }}
    {% if up_to_structures -%} where {{ is_small_enough(up_to_structures) }} {%- endif %}
    group by {{ combination_of_columns | join(', ') }}
    having count(*) > 1 or {{ combination_of_columns | join(' is null or ') }} is null
)

select * from validation_errors
{% endtest %}
