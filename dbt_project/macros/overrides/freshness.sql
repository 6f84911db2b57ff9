{#-
    dbt would take the newest `loaded_at_field` of the source itself, which the long tables do not have and which would
    mean reading half a billion rows. Here the field may be `table.column`, a column of another table beside the source.
    Both times are UTC.
-#}
{% macro collect_freshness(source, loaded_at_field, filter) %}
    {%- set parts = loaded_at_field.split('.') -%}
    {%- set dated = source if parts | length == 1 else source.incorporate(path={'identifier': parts[0]}) -%}
    {%- call statement('collect_freshness', fetch_result=True, auto_begin=False) -%}
        select
            max({{ parts[-1] }}) as max_loaded_at,
            utc_timestamp(6) as snapshotted_at
        from {{ dated }}
        {% if filter %}where {{ filter }}{% endif %}
    {%- endcall -%}
    {{ return(load_result('collect_freshness')) }}
{% endmacro %}
