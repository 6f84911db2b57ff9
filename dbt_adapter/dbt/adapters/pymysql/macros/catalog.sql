{#- dbt-mysql's leaves out comments, and of a type what follows its name. One broken view does not empty the catalog. -#}
{% macro pymysql__get_catalog(information_schema, schemas) -%}
    {%- call statement('catalog', fetch_result=True, auto_begin=False) -%}
        select
            null as table_database,
            t.table_schema as table_schema,
            t.table_name as table_name,
            case t.table_type when 'BASE TABLE' then 'table' when 'VIEW' then 'view' else t.table_type end as table_type,
            nullif(if(t.table_type = 'VIEW', '', t.table_comment), '') as table_comment,
            null as table_owner,
            c.column_name as column_name,
            c.ordinal_position as column_index,
            cast(c.column_type as char) as column_type,
            nullif(c.column_comment, '') as column_comment
        from information_schema.tables as t
        inner join information_schema.columns as c on t.table_schema = c.table_schema and t.table_name = c.table_name
        where t.table_schema in ('{{ schemas | join("', '") }}')
        order by t.table_schema, t.table_name, c.ordinal_position
    {%- endcall -%}
    {{ return(load_result('catalog').table) }}
{%- endmacro %}
