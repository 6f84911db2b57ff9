{#-
    A table `t` has up to three kinds of generation: `t` is published, `t__next` is being built, and `t__old_<n>`
    was replaced. InnoDB's foreign keys follow a table that is renamed, so a child that was not rebuilt yet keeps its
    parent in `parent__old_<n>`; that generation goes when nothing refers to it any more.
-#}
{% macro generation_of(relation, suffix) %}
    {{ return(api.Relation.create(schema=relation.schema, identifier=relation.identifier ~ '__' ~ suffix, type='table')) }}
{% endmacro %}


{% macro published_tables() %}
    {%- set tables = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'table' -%}
        {%- do tables.append({
            'node': node, 'relation': api.Relation.create(schema=node.schema, identifier=node.alias, type='table')
        }) -%}
    {%- endfor -%}
    {{ return(tables) }}
{% endmacro %}


{#- Names of the tables in the schema of `relation` that are its replaced generations, lowest number first. -#}
{% macro replaced_generations(relation) %}
    {%- set found = run_query(
        "select table_name as name from information_schema.tables where table_schema = '" ~ relation.schema
        ~ "' and table_type = 'BASE TABLE' and table_name regexp '^" ~ relation.identifier ~ "__old_[0-9]+$' order by 1"
    ) -%}
    {{ return(found.columns['name'].values() | list) }}
{% endmacro %}


{% macro swap_in(next_relation, target_relation) %}
    {#- Off, the server would leave the children's foreign keys pointing at a name instead of at their rows' parents. -#}
    {%- do run_query("set session unique_checks = 1, session foreign_key_checks = 1") -%}
    {%- if table_kind(target_relation) -%}
        {%- set taken = replaced_generations(target_relation) -%}
        {%- set free = [] -%}
        {%- for number in range(1, taken | length + 2) -%}
            {%- do free.append(generation_of(target_relation, 'old_' ~ number)) -%}
        {%- endfor -%}
        {%- set old_relation = free | rejectattr('identifier', 'in', taken) | first -%}
        {%- do run_ddl(
            "rename table " ~ target_relation ~ " to " ~ old_relation ~ ", " ~ next_relation ~ " to " ~ target_relation
        ) -%}
        {#-
            Only its own, and a parent's only when no child holds it; the hooks see to the others, for while other threads
            rename their tables MariaDB may not show all foreign keys.
        -#}
        {%- if foreign_keys_to(old_relation) | length == 0 -%}
            {%- do run_ddl("drop table if exists " ~ old_relation) -%}
        {%- endif -%}
    {%- else -%}
        {%- do run_ddl("rename table " ~ next_relation ~ " to " ~ target_relation) -%}
    {%- endif -%}
{% endmacro %}


{#- Drops every replaced generation that no foreign key refers to; children first, then the parents they held. -#}
{% macro drop_replaced_generations() %}
    {%- for round in range(3) -%}
        {%- for table in published_tables() -%}
            {%- for name in replaced_generations(table.relation) -%}
                {%- set relation = api.Relation.create(schema=table.relation.schema, identifier=name) -%}
                {%- if foreign_keys_to(relation) | length == 0 -%}
                    {%- do run_ddl("drop table if exists " ~ relation) -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endfor -%}
{% endmacro %}


{% macro foreign_keys_to(relation) %}
    {{ return(foreign_keys_where("referenced_table_schema = '" ~ relation.schema
        ~ "' and referenced_table_name = '" ~ relation.identifier ~ "'")) }}
{% endmacro %}


{% macro foreign_keys_of(relation) %}
    {{ return(foreign_keys_where("table_schema = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier
        ~ "' and referenced_table_name is not null")) }}
{% endmacro %}


{% macro foreign_keys_where(condition) %}
    {%- set found = run_query(
        "select constraint_name as name, table_name as child, column_name as child_column, "
        ~ "referenced_table_name as parent, referenced_column_name as parent_column "
        ~ "from information_schema.key_column_usage where " ~ condition ~ " order by 1"
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


{% macro refuse_other_kind(relation) %}
    {%- if table_kind(relation) not in ('', 'BASE TABLE') -%}
        {{ exceptions.raise_compiler_error(relation ~ " is a view; drop it, then run dbt again") }}
    {%- endif -%}
{% endmacro %}


{#-
    One builder a name: a run that was killed may leave a statement running on the server, which must not meet a new
    generation of the same name. The server frees the name when that connection ends.
-#}
{% macro hold_name(relation) %}
    {%- set name = lock_name(relation) -%}
    {%- set held = run_query("select get_lock('" ~ name ~ "', 0) as held, is_used_lock('" ~ name ~ "') as holder") -%}
    {%- if held.rows[0]['held'] != 1 -%}
        {{ log("Waiting for connection " ~ held.rows[0]['holder'] ~ ", which is building " ~ relation
            ~ "; if its dbt has ended, `kill " ~ held.rows[0]['holder'] ~ "` ends it", info=True) }}
        {%- set held = run_query("select get_lock('" ~ name ~ "', 86400) as held") -%}
        {%- if held.rows[0]['held'] != 1 -%}
            {{ exceptions.raise_compiler_error("Another connection has been building " ~ relation ~ " for a day") }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{% macro release_name(relation) %}
    {%- do run_query("select release_lock('" ~ lock_name(relation) ~ "')") -%}
{% endmacro %}


{#-
    What stands for a child's foreign key to a parent. The child's build holds it from the search for orphans until the key
    is there, the parent's while it is replaced; two children of one parent do not wait for each other.
-#}
{% macro link_between(child, parent) %}
    {{ return(api.Relation.create(schema=parent.schema, identifier=child.identifier ~ ' to ' ~ parent.identifier)) }}
{% endmacro %}


{% macro links_to(parent) %}
    {%- set links = [] -%}
    {%- for table in published_tables() -%}
        {%- for foreign_key in contract_of(table.node).foreign_keys
            if foreign_key.parent.identifier == parent.identifier -%}
            {%- do links.append(link_between(table.relation, parent)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(links) }}
{% endmacro %}


{#-
    A change of the schema, one at a time: MySQL also updates every view that depends on the table or view, and two threads
    at it end in a deadlock.
-#}
{% macro run_ddl(sql, name='ddl') %}
    {%- set lock = lock_name(api.Relation.create(schema=target.schema, identifier='')) -%}
    {%- do run_query("select get_lock('" ~ lock ~ "', 86400)") -%}
    {%- call statement(name, auto_begin=False) -%}{{ sql }}{%- endcall -%}
    {%- do run_query("select release_lock('" ~ lock ~ "')") -%}
{% endmacro %}


{#- A lock's name has at most 64 characters. -#}
{% macro lock_name(relation) %}
    {{ return('dbt:' ~ local_md5(relation.schema ~ '.' ~ relation.identifier)) }}
{% endmacro %}
