{#- The adapter wraps the query in parentheses, which MariaDB refuses when it begins with `with`. -#}
{% macro mysql__create_view_as(relation, sql) -%}
    create or replace view {{ relation }} as
    {{ sql }}
{%- endmacro %}


{#- The adapter takes the server's default character set, which may be anything. -#}
{% macro mysql__create_schema(relation) -%}
    {%- call statement('create_schema') -%}
        create schema if not exists {{ relation.without_identifier() }} character set utf8mb4 collate utf8mb4_bin
    {%- endcall -%}
{% endmacro %}


{#- The adapter's table of a seed has no key, and the server's own form. -#}
{% macro mysql__create_csv_table(model, agate_table) %}
    {%- if agate_table.column_names | reject('in', model.config.column_types) | list -%}
        {{ return(default__create_csv_table(model, agate_table)) }}
    {%- endif -%}
    {%- call statement('_') -%}
        {{ create_empty_seed_sql(this.render(), agate_table.column_names, model) }}
    {%- endcall -%}
    {{ return('') }}
{% endmacro %}


{#- The adapter's `show columns` fails on a view that lost its table, and then the whole catalog comes out empty. -#}
{% macro mysql__get_columns_in_relation(relation) -%}
    {%- set found = run_query(
        "select column_name as name, cast(column_type as char) as data_type from information_schema.columns "
        ~ "where table_schema = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier
        ~ "' order by ordinal_position"
    ) -%}
    {{ return(sql_convert_columns_in_relation(found)) }}
{% endmacro %}
