{#- Hook at the end: what became of the tests of this command goes into staging, where `make status` reads it. -#}
{% macro record_test_run(results) %}
    {%- if execute and flags.WHICH in ('test', 'build', 'retry') -%}
        {%- set tests = results | selectattr('node') | selectattr('node.resource_type', 'equalto', 'test') | list -%}
        {%- set test_run = staging_table('test_run') -%}
        {%- if tests and table_kind(test_run) -%}
            {%- set passed = tests | selectattr('status', 'equalto', 'pass') | list | length -%}
            {%- set warned = tests | selectattr('status', 'equalto', 'warn') | list | length -%}
            {%- set is_selection = invocation_args_dict.get('select') or invocation_args_dict.get('exclude')
                or invocation_args_dict.get('selector') or flags.WHICH == 'retry' -%}
            {%- do run_query(
                "insert into " ~ test_run ~ " (run_id, load_id, num_passed, num_warned, num_failed, is_selection, ended_at)"
                ~ " values ('" ~ invocation_id ~ "', " ~ (load_of(this_sample()) or 'null') ~ ", " ~ passed ~ ", " ~ warned
                ~ ", " ~ (tests | length - passed - warned) ~ ", " ~ (1 if is_selection else 0) ~ ", utc_timestamp(6))"
            ) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#- The published table that every load has rows for. -#}
{% macro this_sample() %}
    {{ return(api.Relation.create(schema=target.schema, identifier='sample')) }}
{% endmacro %}
