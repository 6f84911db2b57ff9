{#- dbt-mysql's wraps the query in parentheses, which MariaDB refuses when it begins with `with`. -#}
{% macro pymysql__create_view_as(relation, sql) -%}
    {%- if config.get('contract').enforced -%}{{ get_assert_columns_equivalent(sql) }}{%- endif -%}
    {%- do run_header() %}
    create or replace view {{ relation }} as
    {{ sql }}
{%- endmacro %}


{#- A header is a statement of its own, and the server takes one at a time. -#}
{% macro run_header() -%}
    {%- set header = config.get('sql_header') or '' -%}
    {%- if header -%}{%- do run_query(header) -%}{%- endif -%}
    {{ return(header) }}
{%- endmacro %}


{#- Of the table of a unit test the types alone are looked at, and a server may want each table to have a key. -#}
{% macro pymysql__create_table_as(temporary, relation, sql) -%}
    {%- if model.resource_type == 'unit_test' -%}
        {{ return("create temporary table " ~ relation ~ " (unit_test_key int auto_increment primary key) as " ~ sql) }}
    {%- endif -%}
    {%- set header = run_header() -%}
    {{ mysql__create_table_as(temporary, relation, sql) | replace(header, '', 1) }}
{%- endmacro %}


{% macro pymysql__get_empty_subquery_sql(select_sql, select_sql_header) -%}
    {%- if select_sql_header -%}{%- do run_query(select_sql_header) -%}{%- endif -%}
    {{ default__get_empty_subquery_sql(select_sql) }}
{%- endmacro %}


{#- dbt's own makes another view and renames it, which takes three statements; this replaces a view in one. -#}
{% materialization view, adapter='pymysql' %}
    {%- set target_relation, existing = this.incorporate(type='view'), load_cached_relation(this) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if existing and not existing.is_view -%}{%- do adapter.drop_relation(existing) -%}{%- endif -%}
    {%- do run_ddl(get_create_view_as_sql(target_relation, sql), name='main') -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing)) -%}
    {%- do persist_docs(target_relation, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- dbt-mysql's takes the server's default character set, which may be anything. -#}
{% macro pymysql__create_schema(relation) -%}
    {%- call statement('create_schema') -%}
        create schema if not exists {{ relation.without_identifier() }} character set utf8mb4 collate utf8mb4_bin
    {%- endcall -%}
{% endmacro %}


{% macro pymysql__get_create_index_sql(relation, index_dict) -%}
    alter table {{ relation }} add {{ 'unique ' if index_dict.unique }}index ({{ index_dict.columns | join(', ') }})
{%- endmacro %}


{#- Temporary tables too. With --empty a relation is written as a query, and its own name is asked for. MariaDB appends
    comments to some types. -#}
{% macro pymysql__get_columns_in_relation(relation) -%}
    {%- set columns = [] -%}
    {%- for row in run_query("show columns from " ~ relation.render()) -%}
        {%- do columns.append(api.Column(row[0], row[1].partition(' /*')[0])) -%}
    {%- endfor -%}
    {{ return(columns) }}
{% endmacro %}


{% macro pymysql__alter_column_type(relation, column_name, new_column_type) -%}
    {%- call statement('alter_column_type') -%}
        alter table {{ relation.render() }} modify column {{ adapter.quote(column_name) }} {{ new_column_type }}
    {%- endcall -%}
{% endmacro %}


{#- dbt's own takes the database of the model, which there is not. -#}
{% macro pymysql__get_or_create_relation(database, schema, identifier, type) %}
    {{ return(default__get_or_create_relation(none, schema, identifier, type)) }}
{% endmacro %}
