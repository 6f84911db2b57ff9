{#-
    `dbt run` builds no seeds, and a bare `dbt run && dbt test` must find the feature fields. dbt lets nobody but a seed
    itself read its CSV, so the adapter does.
-#}
{% macro load_missing_seeds() %}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'retry') -%}
        {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' and seed.package_name == project_name
            and seed.unique_id not in selected_resources -%}
            {%- set relation = api.Relation.create(schema=seed.schema, identifier=seed.alias) -%}
            {#- One without rows was left by a run that was killed between its two statements. -#}
            {%- if not table_kind(relation) or not run_query("select 1 from " ~ relation ~ " limit 1") | length -%}
                {%- set lines = adapter.read_seed(seed) -%}
                {%- do adapter.create_schema(relation) -%}
                {%- do run_query(create_seed_sql(relation, lines[0], seed)) -%}
                {%- set row = "(" ~ (["%s"] * lines[0] | length) | join(", ") ~ ")" -%}
                {%- do adapter.add_query(
                    "insert ignore into " ~ relation ~ " values " ~ ([row] * (lines | length - 1)) | join(", "),
                    auto_begin=False, bindings=lines[1:] | sum(start=[])
                ) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{#- A server may want each table to have a key: the first column of a seed is its own. -#}
{% macro create_seed_sql(relation, names, seed) %}
    create table if not exists {{ relation }} (
    {%- for name in names %}
        {{ name }} {{ seed.config.column_types[name] }},
    {%- endfor %}
        primary key ({{ names[0] }})
    ) {{ table_options() }}
{% endmacro %}


{#- dbt's own has no key, and the server's form of a table. -#}
{% macro pymysql__create_csv_table(model, agate_table) %}
    {%- if model.package_name != project_name -%}{{ return(default__create_csv_table(model, agate_table)) }}{%- endif -%}
    {%- do run_query(create_seed_sql(this.render(), agate_table.column_names, model)) -%}
    {{ return('') }}
{% endmacro %}
