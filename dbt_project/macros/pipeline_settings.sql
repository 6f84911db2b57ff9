{#-
    What pipeline.yml says of the tests. dbt gives a macro no way to read a file; but an analysis is text in the graph, so
    analyses/pipeline_settings.sql is a link to pipeline.yml. The graph is there when a command executes, not while it
    parses.
-#}
{% macro setting_of_tests(name) %}
    {%- set declared = fromyaml(graph.nodes['analysis.' ~ project_name ~ '.pipeline_settings'].raw_code, {}) -%}
    {{ return(((declared or {}).get('tests') or {}).get(name)) }}
{% endmacro %}


{% macro orphan_sample_severity() -%}
    {%- if execute -%}
        {%- set severity = (setting_of_tests('orphan_samples') or {}).get(run_mode()) -%}
        {%- if severity not in ('warn', 'error') -%}
            {{ exceptions.raise_compiler_error(
                "pipeline.yml: tests.orphan_samples." ~ run_mode() ~ " is " ~ severity ~ ", expected warn or error"
            ) }}
        {%- endif -%}
        {{ severity }}
    {%- endif -%}
{%- endmacro %}


{% macro max_reject_share() -%}
    {%- if execute -%}
        {%- set share = setting_of_tests('max_reject_share') -%}
        {%- if share is boolean or share is not number or share < 0 or share > 1 -%}
            {{ exceptions.raise_compiler_error(
                "pipeline.yml: tests.max_reject_share is " ~ share ~ ", expected a number from 0 to 1 such as 0.001"
            ) }}
        {%- endif -%}
        {{ share }}
    {%- else -%}
        0
    {%- endif -%}
{%- endmacro %}
