{#-
    Hook at the start: what is selected can be read. Another data set is no stand-in for this one, so that `--defer`, which
    reads elsewhere what is not here, is refused where it would.
-#}
{% macro require_parents() %}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'retry', 'snapshot') -%}
        {%- if invocation_args_dict.get('empty') -%}
            {%- do refuse("--empty builds tables without rows, which would take the place of good ones: leave it out, or build "
                ~ "into a schema of your own") -%}
        {%- endif -%}
        {%- set favors_state = invocation_args_dict.get('defer') and invocation_args_dict.get('favor_state') -%}
        {%- set present, wanting, remedy = relations_in_schemas(), {}, namespace(command='build -s marts') -%}
        {%- for id in selected_resources if id in graph.nodes and graph.nodes[id].package_name == project_name -%}
            {%- for parent_id in graph.nodes[id].depends_on.nodes if parent_id not in selected_resources -%}
                {%- set parent = graph.nodes.get(parent_id) -%}
                {%- if parent and parent.resource_type in ('model', 'snapshot') and parent.config.materialized != 'ephemeral'
                    and (favors_state or (parent.schema ~ '.' ~ parent.alias) not in present) -%}
                    {%- do wanting.update({parent.name: graph.nodes[id].name}) -%}
                    {%- if 'marts' not in parent.fqn -%}{%- set remedy.command = 'run' -%}{%- endif -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if wanting and invocation_args_dict.get('defer') -%}
            {%- do refuse("--defer would have " ~ wanting.values() | first ~ " read " ~ wanting.keys() | first ~ " of another "
                ~ "data set" ~ (" (and " ~ (wanting | length - 1) ~ " more)" if wanting | length > 1) ~ ": leave it out, and run "
                ~ dbt_command('run') ~ " first") -%}
        {%- elif wanting -%}
            {%- do refuse(wanting.keys() | sort | join(', ') ~ (" is" if wanting | length == 1 else " are") ~ " not built for "
                ~ run_data_set() ~ ", and " ~ wanting.values() | first ~ " reads " ~ ("it" if wanting | length == 1 else "them")
                ~ ": run " ~ dbt_command(remedy.command)) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#- `schema.name` of all tables and views in the schemas of this project's models. -#}
{% macro relations_in_schemas() %}
    {%- set schemas = graph.nodes.values() | selectattr('resource_type', 'in', ['model', 'snapshot']) | map(attribute='schema') | unique -%}
    {{ return(run_query(
        "select concat(table_schema, '.', table_name) as name from information_schema.tables where table_schema in ('"
        ~ schemas | join("', '") ~ "')"
    ).columns['name'].values() | list) }}
{% endmacro %}
