{#-
    The schema of the database holds what the model's contract declares: types, not null, primary key, checks, foreign
    keys and indexes. What it holds, it enforces, so no row needs to be read again. One row per declaration that is
    missing.
-#}
{% test contract_is_enforced(model) %}
    {%- if execute -%}
        {%- set node = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
            | selectattr('schema', 'equalto', model.schema) | selectattr('alias', 'equalto', model.identifier) | first -%}
        {%- set declarations = declared_in_schema_sql(model, contract_of(node), node.config.get('indexes', [])) -%}
    {%- endif -%}

with declared (declaration, is_enforced) as (
    {{ declarations | default([]) | join('\n    union all\n    ') }}
),

validation_errors as (
    select declaration
    from declared
    where not coalesce(is_enforced, 0)
)

select * from validation_errors
{% endtest %}
