{#-
    `dbt run` builds no seeds, and a bare `dbt run && dbt test` must find the feature fields. dbt gives a macro no way to
    read a CSV; but an analysis is text in the graph, so analyses/<seed>_rows.sql is a link to the CSV of the seed.
-#}
{% macro load_missing_seeds() %}
    {%- if execute and flags.WHICH in ('run', 'test', 'retry') -%}
        {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' -%}
            {%- set relation = api.Relation.create(schema=seed.schema, identifier=seed.alias) -%}
            {%- if not table_kind(relation) -%}
                {%- do run_query(create_seed_sql(relation, seed)) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{#- A server may want each table to have a key: the first column of a seed is its own. -#}
{% macro create_empty_seed_sql(relation, names, seed) %}
    create table if not exists {{ relation }} (
    {%- for name in names %}
        {{ name }} {{ seed.config.column_types[name] }},
    {%- endfor %}
        primary key ({{ names[0] }})
    ) {{ table_options() }}
{% endmacro %}


{% macro create_seed_sql(relation, seed) %}
    {%- set lines = graph.nodes['analysis.' ~ project_name ~ '.' ~ seed.name ~ '_rows'].raw_code.splitlines() -%}
    {%- set names = lines[0].split(',') -%}
    {{ create_empty_seed_sql(relation, names, seed) }}
    {%- for line in lines[1:] if line %}
    {{ 'union all ' if not loop.first }}select
        {%- for value in line.split(',') %}
        '{{ value | replace("'", "''") }}' as {{ names[loop.index0] }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- endfor %}
{% endmacro %}
