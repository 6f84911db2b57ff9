{#- Hook at the start: a mistake in a variable ends the command before it does anything. -#}
{% macro check_variables() %}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'retry') -%}
        {%- set share = var('max_reject_share') -%}
        {%- if share is boolean or share is not number or not 0 <= share <= 1 -%}
            {%- do refuse("The variable max_reject_share is " ~ share ~ ", expected a number from 0 to 1 such as 0.001") -%}
        {%- endif -%}
        {%- if orphan_sample_severity() not in ('warn', 'error') -%}
            {%- do refuse("The variable orphan_samples." ~ run_mode() ~ " is " ~ orphan_sample_severity()
                ~ ", expected warn or error") -%}
        {%- endif -%}
        {%- set most = var('max_view_test_structures') -%}
        {%- if most is boolean or most is not number or not 0 <= most <= 10 ** 18 -%}
            {%- do refuse("The variable max_view_test_structures is " ~ most ~ ", expected a number of structures such as 500000") -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{% macro orphan_sample_severity() -%}
    {%- set severities = var('orphan_samples') -%}
    {{ return(severities.get(run_mode()) if severities is mapping else severities) }}
{%- endmacro %}
