{#-
    Each value of a column is among the values of a key that is not unique, to which MySQL 8.4 and later refuse a foreign
    key. It warns or fails with the number of rows that have none, as the variable orphan_samples says for the mode.
-#}
{% test relationship_to_many(model, column_name, to, field) %}
{{ config(
    fail_calc='coalesce(sum(num_orphans), 0)',
    error_if="> 0 and max(severity) = 'error'",
    limit=none,
) }}

with keys_in_use as (
    select distinct {{ column_name }}
    from {{ model }}
),

validation_errors as (
    select
        keys_in_use.{{ column_name }},
        (
            select count(*)
            from {{ model }} as child
            where child.{{ column_name }} = keys_in_use.{{ column_name }}
        ) as num_orphans,
        '{{ orphan_sample_severity() }}' as severity
    from keys_in_use
    -- One look into an index for each value; from `not exists` MySQL makes a copy of the index.
    where
        exists (
            select 1
            from {{ to }} as parent
            where parent.{{ field }} = keys_in_use.{{ column_name }}
        )
        = 0
)

select * from validation_errors
{% endtest %}
