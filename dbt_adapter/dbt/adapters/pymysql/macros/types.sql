{#- The types of `cast` are not those of tables: it has no `int unsigned` and no `varchar`. -#}
{% macro castable_type(data_type) %}
    {%- set name = data_type | lower | trim -%}
    {%- set word = name.split('(')[0].split(' ')[0] -%}
    {%- if word in ('tinyint', 'smallint', 'mediumint', 'int', 'integer', 'bigint', 'bool', 'boolean') -%}
        {{ return('unsigned' if 'unsigned' in name else 'signed') }}
    {%- elif word in ('float', 'double', 'real') -%}
        {{ return('double') }}
    {%- elif word in ('decimal', 'numeric') -%}
        {{ return('decimal' ~ name.replace(word, '', 1).replace('unsigned', '')) }}
    {%- elif word == 'timestamp' -%}
        {{ return(name.replace(word, 'datetime', 1)) }}
    {%- elif word in ('date', 'datetime', 'time', 'json') -%}
        {{ return(name) }}
    {%- elif 'blob' in word or 'binary' in word -%}
        {{ return('binary') }}
    {%- endif -%}
    {{ return('char') }}
{% endmacro %}


{% macro pymysql__cast(field, type) -%}
    cast({{ field }} as {{ castable_type(type) }})
{%- endmacro %}


{% macro pymysql__safe_cast(field, type) -%}
    {{ pymysql__cast(field, type) }}
{%- endmacro %}


{#- What packages write into a `cast`. -#}
{% macro pymysql__type_string() -%} char {%- endmacro %}
{% macro pymysql__type_timestamp() -%} datetime {%- endmacro %}
{% macro pymysql__type_float() -%} double {%- endmacro %}
{% macro pymysql__type_numeric() -%} decimal(28, 6) {%- endmacro %}
{% macro pymysql__type_bigint() -%} signed {%- endmacro %}
{% macro pymysql__type_int() -%} signed {%- endmacro %}
{% macro pymysql__type_boolean() -%} unsigned {%- endmacro %}


{#- For the empty query that a contract is compared with. -#}
{% macro mysql__get_phony_data_for_type(data_type) -%}
    {{ pymysql__cast('null', data_type) }}
{%- endmacro %}


{#- MySQL 9.6 and later have no md5(). -#}
{% macro pymysql__snapshot_hash_arguments(args) -%}
    sha2(concat_ws('|'
    {%- for arg in args %}, coalesce(cast({{ arg }} as char), ''){% endfor -%}
    ), 256)
{%- endmacro %}
