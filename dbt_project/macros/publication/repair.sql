{% macro clean_publication() %}
    {%- if execute and builds_models() -%}
        {%- do prepare_build_session() -%}
        {%- do drop_unfinished_generations() -%}
        {%- do drop_replaced_generations() -%}
    {%- endif -%}
{% endmacro %}


{% macro repair_publication() %}
    {%- if execute and builds_models() -%}
        {%- do prepare_build_session() -%}
        {%- do drop_unfinished_generations() -%}
        {%- set problems = [] -%}
        {%- for table in published_tables() if table_kind(table.relation) -%}
            {%- for foreign_key in foreign_keys_of(table.relation)
                if '__old_' in foreign_key['parent'] or foreign_key['name'].endswith('__next') -%}
                {%- set problem = point_at_published_parent(table.relation, foreign_key) -%}
                {%- if problem -%}{%- do problems.append(problem) -%}{%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- do drop_replaced_generations() -%}
        {%- if problems -%}{{ exceptions.raise_compiler_error(problems | join('\n')) }}{%- endif -%}
    {%- endif -%}
{% endmacro %}


{#- `dbt test` and `dbt seed` run the same hooks, and `dbt compile` and `dbt docs generate` render them. -#}
{% macro builds_models() %}
    {{ return(flags.WHICH in ('run', 'build', 'retry')) }}
{% endmacro %}


{#- What a failed or killed build left. A name that another connection holds is that connection's business. -#}
{% macro drop_unfinished_generations() %}
    {%- for table in published_tables() if table_kind(generation_of(table.relation, 'next')) -%}
        {%- set name = lock_name(table.relation) -%}
        {%- if run_query("select get_lock('" ~ name ~ "', 0) as held").rows[0]['held'] == 1 -%}
            {%- do run_query("drop table if exists " ~ generation_of(table.relation, 'next')) -%}
            {%- do release_name(table.relation) -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}


{#-
    The parent was replaced and this child was not rebuilt: its foreign key still names the old parent. Gives back a
    sentence when rows of the child have no parent in the new table, and then leaves the key as it is.

    The servers refuse to drop and add a key of one name in one statement, and two would leave a moment without the key.
    So the key takes the name `<key>__next` on its way; a run that was killed between the two is carried on from there.
-#}
{% macro point_at_published_parent(child, found) %}
    {%- set parent_name = found['parent'].split('__old_')[0] -%}
    {%- set key_name = found['name'].split('__next')[0] -%}
    {%- set foreign_key = {
        'column': found['child_column'], 'parent_column': found['parent_column'],
        'parent': api.Relation.create(schema=child.schema, identifier=parent_name),
    } -%}
    {%- set orphans = describe_orphans(child, foreign_key) if '__old_' in found['parent'] -%}
    {%- if orphans -%}
        {{ return(child ~ " still belongs to the former " ~ parent_name ~ ": " ~ orphans ~ ". Run: dbt run -s "
            ~ parent_name ~ "+") }}
    {%- endif -%}
    {%- if found['name'] == key_name -%}
        {%- do replace_foreign_key(child, key_name, key_name ~ '__next', foreign_key) -%}
    {%- endif -%}
    {%- do replace_foreign_key(child, key_name ~ '__next', key_name, foreign_key) -%}
    {{ return('') }}
{% endmacro %}


{% macro replace_foreign_key(relation, old_name, new_name, foreign_key) %}
    {#- foreign_key_checks off: the rows were searched before, and the server would copy the table to search again. -#}
    {%- do run_query("set session foreign_key_checks = 0") -%}
    {%- do run_ddl(
        "alter table " ~ relation ~ " drop foreign key " ~ adapter.quote(old_name) ~ ", add constraint "
        ~ adapter.quote(new_name) ~ " " ~ foreign_key_sql(foreign_key) ~ ", algorithm = inplace"
    ) -%}
    {%- do run_query("set session foreign_key_checks = 1") -%}
{% endmacro %}
