{#- What dbt's own macros write in the SQL of other servers. -#}
{% macro pymysql__concat(fields) -%}
    concat({{ fields | join(', ') }})
{%- endmacro %}


{#- In characters, where the server's own counts bytes. -#}
{% macro pymysql__length(expression) -%}
    char_length({{ expression }})
{%- endmacro %}


{% macro pymysql__escape_single_quotes(expression) -%}
    {{ expression | replace("\\", "\\\\") | replace("'", "''") }}
{%- endmacro %}


{#- MySQL 9.6 and later have no md5(). -#}
{% macro pymysql__hash(field) -%}
    sha2(cast({{ field }} as char), 256)
{%- endmacro %}


{#- Empty beyond the last part; a negative number counts from the end. -#}
{% macro pymysql__split_part(string_text, delimiter_text, part_number) -%}
    {%- set within = "char_length(" ~ string_text ~ ") - char_length(replace(" ~ string_text ~ ", " ~ delimiter_text ~ ", ''))" -%}
    if(
        {{ within }} < {{ part_number | abs - 1 }} * char_length({{ delimiter_text }}), '',
        substring_index(
            substring_index({{ string_text }}, {{ delimiter_text }}, {{ part_number }}),
            {{ delimiter_text }}, {{ -1 if part_number > 0 else 1 }}
        )
    )
{%- endmacro %}


{% macro pymysql__listagg(measure, delimiter_text, order_by_clause, limit_num) -%}
    {%- set all = "group_concat(" ~ measure ~ " " ~ (order_by_clause or "") ~ " separator " ~ delimiter_text ~ ")" -%}
    {{ "substring_index(" ~ all ~ ", " ~ delimiter_text ~ ", " ~ limit_num ~ ")" if limit_num else all }}
{%- endmacro %}


{#- MariaDB has no any_value(). -#}
{% macro pymysql__any_value(expression) -%}
    min({{ expression }})
{%- endmacro %}


{% macro pymysql__bool_or(expression) -%}
    max({{ expression }})
{%- endmacro %}


{% macro pymysql__cast_bool_to_text(field) -%}
    case when {{ field }} then 'true' when not {{ field }} then 'false' end
{%- endmacro %}


{% macro pymysql__date(year, month, day) -%}
    cast('{{ modules.datetime.date(year, month, day) }}' as date)
{%- endmacro %}


{% macro pymysql__dateadd(datepart, interval, from_date_or_timestamp) -%}
    {%- set in_microseconds = datepart == 'millisecond' -%}
    date_add(
        {{ from_date_or_timestamp }},
        interval {{ "1000 * " if in_microseconds }}({{ interval }}) {{ "microsecond" if in_microseconds else datepart }}
    )
{%- endmacro %}


{#- How often the part has changed between the two: weeks begin on Sunday, as in dbt's own. -#}
{% macro pymysql__datediff(first_date, second_date, datepart) -%}
    {%- if datepart == 'microsecond' -%}
        timestampdiff(microsecond, {{ first_date }}, {{ second_date }})
    {%- elif datepart == 'millisecond' -%}
        (
            timestampdiff(microsecond, {{ first_date }}, {{ second_date }})
            + microsecond({{ first_date }}) % 1000 - microsecond({{ second_date }}) % 1000
        ) div 1000
    {%- elif datepart == 'week' -%}
        (to_days({{ second_date }}) - 1) div 7 - (to_days({{ first_date }}) - 1) div 7
    {%- else -%}
        timestampdiff(
            {{ datepart }},
            {{ pymysql__date_trunc(datepart, first_date) }},
            {{ pymysql__date_trunc(datepart, second_date) }}
        )
    {%- endif -%}
{%- endmacro %}


{#- Weeks begin on Monday, as in date_trunc elsewhere. -#}
{% macro pymysql__date_trunc(datepart, date) -%}
    {%- set forms = {'second': '%Y-%m-%d %H:%i:%s', 'minute': '%Y-%m-%d %H:%i:00', 'hour': '%Y-%m-%d %H:00:00',
        'day': '%Y-%m-%d', 'month': '%Y-%m-01', 'year': '%Y-01-01'} -%}
    {%- if datepart in forms -%}
        cast(date_format({{ date }}, '{{ forms[datepart] }}') as datetime)
    {%- elif datepart == 'quarter' -%}
        cast(makedate(year({{ date }}), 1) + interval quarter({{ date }}) - 1 quarter as datetime)
    {%- elif datepart == 'week' -%}
        cast(date({{ date }}) - interval weekday({{ date }}) day as datetime)
    {%- else -%}
        {{ exceptions.raise_compiler_error("date_trunc knows no " ~ datepart) }}
    {%- endif -%}
{%- endmacro %}


{% macro pymysql__date_spine(datepart, start_date, end_date) -%}
    select {{ dateadd(datepart, 'generated_number - 1', start_date) }} as date_{{ datepart }}
    from ({{ generate_series(get_intervals_between(start_date, end_date, datepart)) }}) as numbers
{%- endmacro %}


{% macro pymysql__current_timestamp_backcompat() -%}
    current_timestamp()
{%- endmacro %}
