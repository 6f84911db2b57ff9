{#- dbt's own drops the view and renames a new one to its name; this replaces it in one statement. -#}
{% materialization view, adapter='mysql' %}
    {%- set target_relation = this.incorporate(type='view') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- if table_kind(this) == 'BASE TABLE' -%}
        {{ exceptions.raise_compiler_error(this ~ " is a table; drop it, then run dbt again") }}
    {%- endif -%}
    {%- do run_ddl(get_create_view_as_sql(target_relation, sql), name='main') -%}

    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
