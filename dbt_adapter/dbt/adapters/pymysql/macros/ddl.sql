{#-
    A change of the schema, one at a time: MySQL also updates every view that depends on the table or view, and two threads
    at it end in a deadlock. The result has the name under which dbt keeps it.
-#}
{% macro run_ddl(sql, name='ddl') %}
    {%- set lock = lock_name(schema_itself()) -%}
    {%- do run_query("select get_lock('" ~ lock ~ "', 86400)") -%}
    {%- call statement(name, auto_begin=(name == 'main')) -%}{{ sql }}{%- endcall -%}
    {%- do run_query("select release_lock('" ~ lock ~ "')") -%}
{% endmacro %}


{#- What stands for all changes of the schema. -#}
{% macro schema_itself() %}
    {{ return(api.Relation.create(schema=target.schema, identifier='')) }}
{% endmacro %}


{#- A lock's name has at most 64 characters. -#}
{% macro lock_name(relation) %}
    {{ return('dbt:' ~ local_md5(relation.schema ~ '.' ~ relation.identifier)) }}
{% endmacro %}


{% macro pymysql__drop_relation(relation) -%}
    {%- do run_ddl("drop " ~ relation.type ~ " if exists " ~ relation) -%}
{%- endmacro %}


{#- dbt does not always know the kind of what it replaces, which dbt-mysql names. -#}
{% macro pymysql__rename_relation(from_relation, to_relation) -%}
    {%- do run_ddl("drop " ~ (to_relation.type or 'table') ~ " if exists " ~ to_relation) -%}
    {%- do run_ddl("rename table " ~ from_relation ~ " to " ~ to_relation) -%}
{%- endmacro %}
