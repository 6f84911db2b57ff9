{#- Users as grants name them: `reader`, from everywhere, or `reader@host`. -#}
{% macro quoted_user(name) -%}
    {%- set user, _, host = name.rpartition('@') if '@' in name else (name, '', '%') -%}
    '{{ user | replace("'", "''") }}'@'{{ host | replace("'", "''") }}'
{%- endmacro %}


{% macro pymysql__get_show_grant_sql(relation) -%}
    select lower(privilege_type) as privilege_type, replace(replace(grantee, "'", ''), '@%', '') as grantee
    from information_schema.table_privileges
    where table_schema = '{{ relation.schema }}' and table_name = '{{ relation.identifier }}'
{%- endmacro %}


{% macro pymysql__get_grant_sql(relation, privilege, grantees) -%}
    grant {{ privilege }} on {{ relation }} to {{ quoted_users(grantees) }}
{%- endmacro %}


{% macro pymysql__get_revoke_sql(relation, privilege, grantees) -%}
    revoke {{ privilege }} on {{ relation }} from {{ quoted_users(grantees) }}
{%- endmacro %}


{% macro quoted_users(names) -%}
    {%- for name in names %}{{ quoted_user(name) }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}


{#- MariaDB would make a user that there is not, without a password. -#}
{% macro pymysql__call_dcl_statements(dcl_statement_list) %}
    {%- do run_query("set @@session.sql_mode = concat(@@sql_mode, '' /*M!100600 , ',NO_AUTO_CREATE_USER' */)") -%}
    {%- for dcl_statement in dcl_statement_list -%}
        {%- do run_query(dcl_statement) -%}
    {%- endfor -%}
{% endmacro %}


{#- A comment in quotes, as long as the server takes one. -#}
{% macro quoted_comment(text, length) -%}
    '{{ (text | trim)[:length] | replace("\\", "\\\\") | replace("'", "''") }}'
{%- endmacro %}


{#- Views, and the columns of views, have no comments. -#}
{% macro pymysql__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- if not relation.is_view -%}
        {{ default__persist_docs(relation, model, for_relation, for_columns) }}
    {%- endif -%}
{% endmacro %}


{% macro pymysql__alter_relation_comment(relation, relation_comment) -%}
    alter table {{ relation.render() }} comment = {{ quoted_comment(relation_comment, 2048) }}
{%- endmacro %}


{#- A comment is set by the whole definition of its column. -#}
{% macro pymysql__alter_column_comment(relation, column_dict) -%}
    {%- set clauses = [] -%}
    {%- for column in run_query("show full columns from " ~ relation.render()) if column['Field'] in column_dict -%}
        {%- set default = "" if column['Default'] is none else " default '" ~ column['Default'] | replace("'", "''") ~ "'" -%}
        {%- do clauses.append("modify column " ~ adapter.quote(column['Field']) ~ " " ~ column['Type']
            ~ (" collate " ~ column['Collation'] if column['Collation']) ~ (" not null" if column['Null'] == 'NO' else " null")
            ~ default ~ " " ~ column['Extra'] ~ " comment " ~ quoted_comment(column_dict[column['Field']]['description'], 1024)) -%}
    {%- endfor -%}
    {%- if clauses -%}alter table {{ relation.render() }} {{ clauses | join(', ') }}{%- endif -%}
{%- endmacro %}
