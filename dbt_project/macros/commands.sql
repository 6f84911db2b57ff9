{#- Commands as messages advise them; pipeline/commands.py has the same for Python. -#}
{% macro make_command(goal) %}
    {{ return("make " ~ goal ~ (" DATASET=" ~ target.name if target.name != 'train' or env_var('DATASET', '') not in ('', 'train'))
        ~ (" MODE=" ~ run_mode() if run_mode() != 'development')
        ~ (" SOURCE='" ~ env_var('SOURCE') ~ "'" if env_var('SOURCE', ''))) }}
{% endmacro %}


{% macro dbt_command(arguments) %}
    {{ return(("MODE=" ~ run_mode() ~ " " if run_mode() != 'development')
        ~ ("dbt " if '.venv/bin' in env_var('PATH', '') else ".venv/bin/dbt ")
        ~ arguments ~ (" --target " ~ target.name if target.name != 'train')) }}
{% endmacro %}
