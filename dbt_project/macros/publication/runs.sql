{#- Hook at the start of a run that builds tables. What is raised here must end the run: see `refuse`. -#}
{% macro begin_publication() %}
    {%- if execute and builds_tables() -%}
        {%- do prepare_build_session() -%}
        {%- do hold_build() -%}
        {%- do put_back_replaced_tables() -%}
        {%- if builds_tables(of_core=true) -%}
            {%- do require_complete_load() -%}
            {%- do require_publishable_load() -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#- Hook at the end: all tables of the run are published for good, or none. Not of a run that another hook has kept from beginning. -#}
{% macro finish_publication(results) %}
    {%- if execute and builds_tables() and adapter.holds_lock(build_lock()) -%}
        {%- do prepare_build_session() -%}
        {%- set failed = unbuilt_tables(results) -%}
        {%- set problem = 'failed' if failed else (what_parts_the_tables() if builds_tables(of_core=true)) -%}
        {%- if problem -%}
            {%- do put_back_replaced_tables() -%}
            {#- A hook at the end fails by its statement: what it raises dbt takes for Ctrl-C. A signal has 128 characters. -#}
            {%- if not failed -%}
                {%- do log(problem, info=True) -%}
                signal sqlstate '45000' set message_text = 'nothing was replaced, and the line above says why'
            {%- endif -%}
        {%- else -%}
            {%- do point_at_published_parents() -%}
            {%- do part_with_replaced_tables() -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#-
    Whether the command builds published tables, or those of the four. `dbt test` and `dbt seed` run the same hooks, and
    `dbt compile` and `dbt docs generate` render them.
-#}
{% macro builds_tables(of_core=false) %}
    {%- set selected = [] -%}
    {%- for table in published_tables() if table.node.unique_id in selected_resources and (is_core(table.node) or not of_core) -%}
        {%- do selected.append(table) -%}
    {%- endfor -%}
    {{ return(flags.WHICH in ('run', 'build', 'retry') and selected | length > 0) }}
{% endmacro %}


{#- End the command from a hook at its start, in one line: other errors come with the macros that have led to them. -#}
{% macro refuse(reason) %}
    {{ exceptions.raise_dependency_error(reason) }}
{% endmacro %}


{% macro build_lock() %}
    {{ return('deepcvr:build:' ~ target.schema ~ '_staging') }}
{% endmacro %}


{#-
    One run at a time builds in a schema, and the four from a staging database that nobody loads into. The locks are held by
    a connection of their own until dbt has ended. `make extract` waits for them (pipeline/registry.py has the same names).
-#}
{% macro hold_build() %}
    {%- set staging = target.schema ~ '_staging' -%}
    {%- set held, holder = adapter.hold_lock(build_lock(), 0) -%}
    {%- if not held -%}
        {%- do tell_of_waiting(holder, "is building in " ~ target.schema) -%}
        {%- set held, holder = adapter.hold_lock(build_lock(), 86400) -%}
        {%- if not held -%}{%- do refuse("Another connection has been building in " ~ target.schema ~ " for a day") -%}{%- endif -%}
    {%- endif -%}
    {%- if builds_tables(of_core=true) -%}
        {%- set held, holder = adapter.hold_lock('deepcvr:' ~ staging, 10) -%}
        {%- if not held -%}
            {%- do refuse("make extract is loading into " ~ staging ~ " (connection " ~ holder ~ "): run the same command "
                ~ "again when it has ended") -%}
        {%- endif -%}
    {%- endif -%}
    {#- What a killed run has left running on the server ends first. -#}
    {%- for relation in published_tables() | map(attribute='relation') | list + [schema_itself()] -%}
        {%- do hold_name(relation) -%}
        {%- do release_name(relation) -%}
    {%- endfor -%}
{% endmacro %}


{#-
    Give back their names to the tables that an unfinished run has replaced, all at once, and drop what it has made: the
    four are then those of the last run that was finished.
-#}
{% macro put_back_replaced_tables() %}
    {%- do drop_generations('next') -%}
    {%- do drop_generations('dropped') -%}
    {%- set renames, loads = [], [] -%}
    {%- for table in published_tables() if is_core(table.node) and table_kind(generation_of(table.relation, 'old_1')) -%}
        {%- do loads.append(load_of(generation_of(table.relation, 'old_1'))) -%}
    {%- endfor -%}
    {%- if generations('old_1') -%}
        {%- for table in published_tables() -%}
            {%- set old, next = generation_of(table.relation, 'old_1'), generation_of(table.relation, 'next') -%}
            {%- set is_replaced = table_kind(old) != '' -%}
            {#- Where there was none of the four before, what the run has made goes too. -#}
            {%- set is_new = loads and is_core(table.node) and load_of(table.relation) not in loads -%}
            {%- if table_kind(table.relation) and (is_replaced or is_new) -%}
                {%- do renames.append(table.relation ~ " to " ~ next) -%}
            {%- endif -%}
            {%- if is_replaced -%}{%- do renames.append(old ~ " to " ~ table.relation) -%}{%- endif -%}
        {%- endfor -%}
        {%- do run_rename("rename table " ~ renames | join(', ')) -%}
        {%- do point_at_published_parents() -%}
        {%- do drop_generations('next') -%}
        {#- A view that stood in the place of a table is of no load. -#}
        {%- set told = loads | select('number') | unique | join(', ') -%}
        {{ log("The tables " ~ ("of load " ~ told ~ " " if told) ~ "are published again, for the run that replaced them "
            ~ "was not finished", info=True) }}
    {%- endif -%}
{% endmacro %}


{#- From this one statement on the run is finished, and nothing is put back. -#}
{% macro part_with_replaced_tables() %}
    {%- set renames = [] -%}
    {%- for table in published_tables() if table_kind(generation_of(table.relation, 'old_1')) -%}
        {%- do renames.append(generation_of(table.relation, 'old_1') ~ " to " ~ generation_of(table.relation, 'dropped')) -%}
    {%- endfor -%}
    {%- if renames -%}
        {%- do run_rename("rename table " ~ renames | join(', ')) -%}
        {%- do drop_generations('dropped') -%}
    {%- endif -%}
{% endmacro %}


{#- The published tables of the run that were not built. -#}
{% macro unbuilt_tables(results) %}
    {%- set ids = published_tables() | map(attribute='node.unique_id') | list -%}
    {%- set built = results | selectattr('status', 'equalto', 'success') | map(attribute='node.unique_id') | list -%}
    {{ return(ids | select('in', selected_resources) | reject('in', built) | list) }}
{% endmacro %}


{#- Why the published tables are not of one load, whole; empty if they are. -#}
{% macro what_parts_the_tables() %}
    {%- set load_id = current_load_id() -%}
    {%- set other_load = what_replaced_load(load_id) -%}
    {%- if other_load -%}{{ return(other_load) }}{%- endif -%}
    {%- for table in published_tables() if table_kind(table.relation) -%}
        {%- if is_core(table.node) and load_of(table.relation) != load_id -%}
            {{ return(table.relation ~ " is of load " ~ load_of(table.relation) ~ ", and what was built is of load " ~ load_id
                ~ ": nothing was replaced. Run: " ~ dbt_command('run')) }}
        {%- endif -%}
        {%- for foreign_key in foreign_keys_of(table.relation) if '__' in foreign_key['parent'] -%}
            {%- set declared = published_foreign_key(table.relation, foreign_key) -%}
            {%- set orphans = describe_orphans(table.relation, declared) -%}
            {%- if orphans -%}
                {{ return(table.relation ~ " still belongs to the former " ~ declared.parent.identifier ~ ": " ~ orphans
                    ~ ". Nothing was replaced. Run: " ~ dbt_command('run -s ' ~ declared.parent.identifier ~ '+ --exclude marts')) }}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return('') }}
{% endmacro %}


{#-
    A parent was replaced, or put back, and a child was not: its foreign key still names the other parent. Its rows have
    been searched for orphans.

    The servers refuse to drop and add a key of one name in one statement, and two would leave a moment without the key.
    So the key takes the name `<key>__next` on its way; a run that was killed between the two is carried on from there.
-#}
{% macro point_at_published_parents() %}
    {%- for table in published_tables() if table_kind(table.relation) -%}
        {%- for foreign_key in foreign_keys_of(table.relation)
            if '__' in foreign_key['parent'] or foreign_key['name'].endswith('__next') -%}
            {%- set key_name = foreign_key['name'].split('__next')[0] -%}
            {%- set declared = published_foreign_key(table.relation, foreign_key) -%}
            {%- if foreign_key['name'] == key_name -%}
                {%- do replace_foreign_key(table.relation, key_name, key_name ~ '__next', declared) -%}
            {%- endif -%}
            {%- do replace_foreign_key(table.relation, key_name ~ '__next', key_name, declared) -%}
        {%- endfor -%}
    {%- endfor -%}
{% endmacro %}


{#- A foreign key as it should be, from one that names another generation of its parent. -#}
{% macro published_foreign_key(child, found) %}
    {{ return({
        'column': found['child_column'], 'parent_column': found['parent_column'],
        'parent': api.Relation.create(schema=child.schema, identifier=found['parent'].split('__')[0]),
    }) }}
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
