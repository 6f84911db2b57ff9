{% materialization table, adapter='pymysql' %}
    {%- if not is_published(model) -%}{{ return(context['materialization_table_default']()) }}{%- endif -%}
    {%- set target_relation, next_relation = this.incorporate(type='table'), generation_of(this, 'next') -%}
    {%- set contract, is_replacement = contract_of(graph.nodes[model.unique_id]), table_kind(this) != '' -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- do prepare_build_session() -%}
    {%- do hold_name(this) -%}
    {%- do assert_columns_match_contract(sql, contract) -%}

    {#- Other tables read the four, which stay as they are while this run holds the lock of a build. -#}
    {%- set load_id = current_load_id() if is_core(model) else load_of(this_sample()) -%}
    {%- if is_core(model) -%}{%- do require_current_load(load_id) -%}{%- endif -%}
    {%- do run_query("drop table if exists " ~ next_relation) -%}
    {%- do run_query(create_from_contract_sql(next_relation, contract, load_id)) -%}
    {%- if config.get('list_repeated_keys') -%}{%- do refuse_repeated_keys(sql, contract) -%}{%- endif -%}
    {#-
        With both checks off MariaDB loads an empty table in bulk, with one undo record for the whole of it. The primary
        key is checked all the same, and the table has no foreign key yet.
    -#}
    {%- do run_query("set session unique_checks = 0, session foreign_key_checks = 0") -%}
    {%- call statement('main') -%}
        {{ fill_table_sql(next_relation, contract, sql) }}
    {%- endcall -%}
    {%- do add_indexes(next_relation, config.get('indexes', [])) -%}
    {%- do add_foreign_keys(next_relation, contract.foreign_keys) -%}
    {%- if is_core(model) -%}{%- do require_current_load(load_id) -%}{%- endif -%}
    {%- do swap_in(next_relation, target_relation) -%}
    {%- do release_name(this) -%}
    {#- Grants are to a name, and stay where a table takes it over from another. -#}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=is_replacement) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- dbt's own, which with --full-refresh would put a view of another data set in the place of a table. -#}
{% materialization clone, adapter='pymysql' %}
    {%- if is_published(model) and table_kind(this) == 'BASE TABLE' and flags.FULL_REFRESH -%}
        {{ exceptions.raise_compiler_error(this ~ " is a table of this data set, and a clone would be a view of another: it stays") }}
    {%- endif -%}
    {{ return(context['materialization_clone_default']()) }}
{% endmaterialization %}


{% macro prepare_build_session() %}
    {#- `insert ... select` then locks none of the rows it reads. -#}
    {%- do run_query("set session transaction isolation level read committed") -%}
    {#- A reader who never ends may keep a table from being replaced, but not for ever. -#}
    {%- do run_query("set session lock_wait_timeout = 300") -%}
    {#- MySQL sorts the rows of a new index in pieces of 1 MiB by default. MariaDB has no such setting of a session. -#}
    {%- if run_query("show variables like 'innodb_ddl_buffer_size'") | length > 0 -%}
        {%- do run_query("set session innodb_ddl_buffer_size = 67108864") -%}
    {%- endif -%}
{% endmacro %}


{% macro fill_table_sql(relation, contract, sql) %}
    {%- set column_names = contract.columns | map(attribute='name') | join(', ') -%}
    insert into {{ relation }} ({{ column_names }})
    select {{ column_names }} from (
        {{ sql }}
    ) as model_rows
{% endmacro %}


{% macro refuse_repeated_keys(sql, contract) %}
    {%- set key = contract.primary_key | join(', ') -%}
    {#- Whether there is one at all is a tenth of the work of listing them. -#}
    {%- set any_repeated -%}
        select 1 from ({{ sql }}) as model_rows
        group by {{ key }}
        having count(*) > 1
        limit 1
    {%- endset -%}
    {%- if run_query(any_repeated) | length == 0 -%}{{ return('') }}{%- endif -%}
    {%- set others = contract.columns | map(attribute='name') | reject('in', contract.primary_key) | list -%}
    {%- set repeated -%}
        select
            concat_ws(' ', {{ key }}) as key_value,
            group_concat(concat_ws(' ', {{ others | join(', ') }}) order by {{ others | join(', ') }} separator ' and ') as names,
            count(*) over () as num_keys
        from (
            {{ sql }}
        ) as model_rows
        group by {{ key }}
        having count(*) > 1
        order by {{ key }}
        limit 5
    {%- endset -%}
    {%- set found = run_query(repeated) -%}
    {%- if found | length > 0 -%}
        {%- set examples = [] -%}
        {%- for row in found.rows -%}
            {%- do examples.append(contract.primary_key | join(', ') ~ " " ~ row['key_value'] ~ " stands under " ~ row['names']) -%}
        {%- endfor -%}
        {{ exceptions.raise_compiler_error(
            this ~ " was not replaced: " ~ found.rows[0]['num_keys'] ~ " values of "
            ~ contract.primary_key | join(', ') ~ " have more than one " ~ others | join(', ') ~ " in staging: "
            ~ examples | join('; ') ~ (". Only the first five are listed." if found.rows[0]['num_keys'] > 5 else ".")
        ) }}
    {%- endif -%}
{% endmacro %}


{% macro add_indexes(relation, indexes) %}
    {%- for index in indexes -%}
        {%- set columns = index.columns | map('trim') | map('string') | list -%}
        {%- do run_query(
            "alter table " ~ relation ~ " add index " ~ columns | join('_') ~ " (" ~ columns | join(', ') ~ ")"
        ) -%}
    {%- endfor -%}
{% endmacro %}


{% macro add_foreign_keys(relation, foreign_keys) %}
    {%- for foreign_key in foreign_keys -%}
        {%- set orphans = describe_orphans(relation, foreign_key) -%}
        {%- if orphans -%}
            {{ exceptions.raise_compiler_error(
                this ~ " was not replaced: " ~ orphans ~ ". The published table stays as it was."
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if foreign_keys -%}
        {#- The search above is the check; letting the server check again would copy the whole table. -#}
        {%- do run_query("set session foreign_key_checks = 0") -%}
        {%- set clauses = [] -%}
        {%- for foreign_key in foreign_keys -%}
            {%- do clauses.append("add " ~ foreign_key_sql(foreign_key)) -%}
        {%- endfor -%}
        {%- do run_ddl("alter table " ~ relation ~ " " ~ clauses | join(', ') ~ ", algorithm = inplace") -%}
    {%- endif -%}
{% endmacro %}


{% macro describe_orphans(relation, foreign_key) %}
    {%- set column = foreign_key.column -%}
    {%- set orphans -%}
        select
            child.{{ column }} as key_value,
            count(*) over () as num_keys
        from (select distinct {{ column }} from {{ relation }}) as child
        left join {{ foreign_key.parent }} as parent
            on child.{{ column }} = parent.{{ foreign_key.parent_column }}
        where parent.{{ foreign_key.parent_column }} is null
        order by child.{{ column }}
        limit 5
    {%- endset -%}
    {%- set found = run_query(orphans) -%}
    {%- if found | length > 0 -%}
        {{ return(
            found.rows[0]['num_keys'] ~ " values of " ~ column ~ " are not in " ~ foreign_key.parent ~ ", the first of them "
            ~ found.columns['key_value'].values() | join(', ')
        ) }}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}
