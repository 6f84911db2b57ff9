{#-
    A table `t` has up to four generations: `t` is published; `t__next` is being built; `t__old_1` was replaced by the run
    that is on its way, which puts it back if it fails, or which the next run puts back; `t__dropped` has had its day.
    InnoDB's foreign keys follow a table that is renamed, so that a child keeps the parent that it was built with.
-#}
{% macro generation_of(relation, suffix) %}
    {{ return(api.Relation.create(schema=relation.schema, identifier=relation.identifier ~ '__' ~ suffix, type='table')) }}
{% endmacro %}


{#- A table of another package, or one that declares no key, is built in the adapter's way. -#}
{% macro is_published(node) %}
    {{ return(
        node.resource_type == 'model' and node.package_name == project_name and node.config.materialized == 'table'
        and node.config.contract.enforced and 'primary_key' in all_constraints(node) | map(attribute='type')
    ) }}
{% endmacro %}


{#- Whether a table is one of the four, which are of one load: all others are made from what these hold. -#}
{% macro is_core(node) %}
    {{ return(node.fqn[1] == 'core') }}
{% endmacro %}


{% macro published_tables() %}
    {%- set tables = [] -%}
    {%- for node in graph.nodes.values() if node.config.materialized == 'table' and is_published(node) -%}
        {%- do tables.append({
            'node': node, 'relation': api.Relation.create(schema=node.schema, identifier=node.alias, type='table')
        }) -%}
    {%- endfor -%}
    {{ return(tables) }}
{% endmacro %}


{#- The generations with a suffix that are there. -#}
{% macro generations(suffix) %}
    {%- set found = [] -%}
    {%- for table in published_tables() -%}
        {%- set generation = generation_of(table.relation, suffix) -%}
        {%- if table_kind(generation) -%}{%- do found.append(generation) -%}{%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}


{#- The number of the load that a table was built from, as its comment says; none if there is no such table or comment. -#}
{% macro load_of(relation) %}
    {%- set found = run_query(
        "select table_comment as text from information_schema.tables where table_schema = '" ~ relation.schema
        ~ "' and table_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {%- set load = modules.re.match('built from load (\\d+)(:|$)', found.rows[0]['text']) if found | length > 0 -%}
    {{ return(load.group(1) | int if load else none) }}
{% endmacro %}


{#- The replaced table stays until the run has ended: until then nobody knows whether all four will be of one load. -#}
{% macro swap_in(next_relation, target_relation) %}
    {%- set old = target_relation ~ " to " ~ generation_of(target_relation, 'old_1') ~ ", " if table_kind(target_relation) -%}
    {%- do run_rename("rename table " ~ (old or '') ~ next_relation ~ " to " ~ target_relation) -%}
{% endmacro %}


{% macro run_rename(sql) %}
    {#- Off, the server would leave the children's foreign keys pointing at a name instead of at their rows' parents. -#}
    {%- do run_query("set session unique_checks = 1, session foreign_key_checks = 1") -%}
    {%- do run_ddl(sql) -%}
{% endmacro %}


{#- All at once, whichever of them refer to one another. A view that stood in the place of a table was one too. -#}
{% macro drop_generations(suffix) %}
    {%- set found = generations(suffix) -%}
    {%- if found -%}
        {%- do run_query("set session foreign_key_checks = 0") -%}
        {%- do run_ddl("drop table if exists " ~ found | join(', ')) -%}
        {%- for relation in generations(suffix) -%}{%- do run_ddl("drop view if exists " ~ relation) -%}{%- endfor -%}
        {%- do run_query("set session foreign_key_checks = 1") -%}
    {%- endif -%}
{% endmacro %}


{% macro foreign_keys_of(relation) %}
    {%- set found = run_query(
        "select constraint_name as name, table_name as child, column_name as child_column, "
        ~ "referenced_table_name as parent, referenced_column_name as parent_column "
        ~ "from information_schema.key_column_usage where table_schema = '" ~ relation.schema ~ "' and table_name = '"
        ~ relation.identifier ~ "' and referenced_table_name is not null order by 1"
    ) -%}
    {{ return(found.rows) }}
{% endmacro %}


{#- 'BASE TABLE', 'VIEW' or '' if there is none. Asked of the server: dbt's cache knows nothing of a rename. -#}
{% macro table_kind(relation) %}
    {%- set found = run_query(
        "select table_type as kind from information_schema.tables where table_schema = '" ~ relation.schema
        ~ "' and table_name = '" ~ relation.identifier ~ "'"
    ) -%}
    {{ return(found.rows[0]['kind'] if found | length > 0 else '') }}
{% endmacro %}


{#-
    A run that was killed may leave a statement running on the server, which must not meet a new generation of the same
    name. The server frees the name when that connection ends.
-#}
{% macro hold_name(relation) %}
    {%- set name = lock_name(relation) -%}
    {%- set held = run_query("select get_lock('" ~ name ~ "', 0) as held, is_used_lock('" ~ name ~ "') as holder") -%}
    {%- if held.rows[0]['held'] != 1 -%}
        {%- do tell_of_waiting(held.rows[0]['holder'], "is building " ~ relation) -%}
        {%- set held = run_query("select get_lock('" ~ name ~ "', 86400) as held") -%}
        {%- if held.rows[0]['held'] != 1 -%}
            {{ exceptions.raise_compiler_error("Another connection has been building " ~ relation ~ " for a day") }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{% macro tell_of_waiting(holder, what) %}
    {{ log("Waiting for connection " ~ holder ~ ", which " ~ what ~ "; if its dbt has ended, `kill " ~ holder
        ~ "` ends it", info=True) }}
{% endmacro %}


{% macro release_name(relation) %}
    {%- do run_query("select release_lock('" ~ lock_name(relation) ~ "')") -%}
{% endmacro %}
