{#- dbt-mysql's are those of dbt 1.7, and without grants, changes of columns, or what snapshots have learnt since. The
    server takes one statement at a time and has no `merge`: what comes before the last statement is run by itself. -#}
{% materialization incremental, adapter='pymysql' %}
    {{ return(context['materialization_incremental_default']()) }}
{% endmaterialization %}


{% materialization snapshot, adapter='pymysql' %}
    {{ return(context['materialization_snapshot_default']()) }}
{% endmaterialization %}


{% macro pymysql__get_incremental_default_sql(arguments) -%}
    {{ return((get_incremental_delete_insert_sql if arguments.unique_key else get_incremental_append_sql)(arguments)) }}
{%- endmacro %}


{% macro pymysql__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
    {%- if unique_key -%}
        {%- set keys = ([unique_key] if unique_key is string else unique_key) | join(', ') -%}
        {%- set conditions = ["(" ~ keys ~ ") in (select " ~ keys ~ " from " ~ source ~ ")"] + (incremental_predicates or []) -%}
        {%- call statement('delete') -%}delete from {{ target }} where {{ conditions | join(' and ') }}{%- endcall -%}
    {%- endif -%}
    {{ get_insert_into_sql(target, source, dest_columns) }}
{%- endmacro %}


{#- dbt gives a batch its bounds in UTC, which is the session's time. -#}
{% macro pymysql__get_incremental_microbatch_sql(arguments) -%}
    {%- set conditions = (arguments.incremental_predicates or []) + [
        model.config.event_time ~ " >= '" ~ model.batch.event_time_start.strftime('%Y-%m-%d %H:%M:%S') ~ "'",
        model.config.event_time ~ " < '" ~ model.batch.event_time_end.strftime('%Y-%m-%d %H:%M:%S') ~ "'",
    ] -%}
    {%- call statement('delete') -%}
        delete from {{ arguments.target_relation }} where {{ conditions | join(' and ') }}
    {%- endcall -%}
    {{ get_incremental_append_sql(arguments) }}
{%- endmacro %}


{#- dbt's own has a comment that is none here, since no blank follows its dashes. -#}
{% macro pymysql__snapshot_staging_table(strategy, source_sql, target_relation) -%}
    {{ default__snapshot_staging_table(strategy, source_sql, target_relation) | replace('--avoid', '-- avoid') }}
{%- endmacro %}


{% macro pymysql__snapshot_merge_sql(target, source, insert_cols) -%}
    {%- set columns = config.get('snapshot_table_column_names') or get_snapshot_table_column_names() -%}
    {%- set ends = "target." ~ columns.dbt_valid_to -%}
    {%- set current = config.get('dbt_valid_to_current') -%}
    {%- call statement('end_rows') -%}
        update {{ target }} as target
        inner join {{ source }} as source on target.{{ columns.dbt_scd_id }} = source.{{ columns.dbt_scd_id }}
        set {{ ends }} = source.{{ columns.dbt_valid_to }}
        where
            source.dbt_change_type in ('update', 'delete')
            and ({{ ends }} is null {%- if current %} or {{ ends }} = {{ current }}{% endif %})
    {%- endcall -%}
    insert into {{ target }} ({{ insert_cols | join(', ') }})
    select {{ insert_cols | join(', ') }} from {{ source }} where dbt_change_type = 'insert'
{%- endmacro %}


{#- To the microsecond: two snapshots in a second would give a row the same id twice. -#}
{% macro pymysql__snapshot_get_time() -%}
    current_timestamp(6)
{%- endmacro %}
