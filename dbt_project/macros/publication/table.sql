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
    {%- do fill_table(next_relation, contract, sql, config.get('fill_by')) -%}
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
    {%- for statement in build_session() -%}{%- do run_query(statement) -%}{%- endfor -%}
{% endmacro %}


{#- What a connection says that builds a table, as statements. -#}
{% macro build_session() %}
    {%- set threads = [target.threads, 4] | max -%}
    {%- set settings = {
        'innodb_ddl_threads': threads, 'innodb_parallel_read_threads': threads, 'innodb_ddl_buffer_size': 16777216 * threads,
    } -%}
    {#- `insert ... select` then locks none of the rows it reads; and a reader who never ends keeps no table for ever. -#}
    {%- set statements = [
        "set session transaction isolation level read committed",
        "set session lock_wait_timeout = 300",
    ] -%}
    {#- MySQL sorts the rows of a new index in pieces of 1 MiB by default. MariaDB has no such settings of a session. -#}
    {%- for row in run_query("show session variables where variable_name in ('" ~ settings | join("', '") ~ "')") -%}
        {%- do statements.append("set session " ~ row[0] ~ " = " ~ settings[row[0]]) -%}
    {%- endfor -%}
    {{ return(statements) }}
{% endmacro %}


{#-
    With both checks off MariaDB loads an empty table in bulk, with one undo record for the whole of it, which ranges would
    forgo. The primary key is checked all the same, and the table has no foreign key yet.
-#}
{% macro fill_table(relation, contract, sql, by) %}
    {%- set fill, unchecked = fill_table_sql(relation, contract, sql), "set session unique_checks = 0, session foreign_key_checks = 0" -%}
    {#- As a statement, not a query: dbt expects a transaction. -#}
    {%- call statement('unchecked') -%}{{ unchecked }}{%- endcall -%}
    {%- if by and 'mariadb' not in run_query('select version() as version').rows[0]['version'] | lower -%}
        {%- set num_rows = adapter.run_by_ranges(
            statement=fill, table=relation | string, keys=staging_table(by.keys_of) | string, key=contract.primary_key[0],
            keys_per_range=by.keys_per_range, session=build_session() + [unchecked],
        ) | sum(attribute='num_rows') -%}
        {%- call noop_statement('main', 'SUCCESS ' ~ num_rows, 'SUCCESS', num_rows) -%}{{ fill }}{%- endcall -%}
    {%- else -%}
        {%- call statement('main') -%}{{ fill }}{%- endcall -%}
    {%- endif -%}
{% endmacro %}


{#- `/* range */ true` is where the adapter puts the condition of a range. -#}
{% macro fill_table_sql(relation, contract, sql) %}
    {%- set column_names = contract.columns | map(attribute='name') | join(', ') -%}
    insert into {{ relation }} ({{ column_names }})
    select {{ column_names }} from (
        {{ sql }}
    ) as model_rows
    where /* range */ true
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


{#- By ranges, so that no server keeps all of the keys, and each connection looks up its own. -#}
{% macro describe_orphans(relation, foreign_key) %}
    {%- set column = foreign_key.column -%}
    {%- set orphans -%}
        select
            child.{{ column }} as key_value,
            count(*) over () as num_keys
        from (select distinct {{ column }} from {{ relation }} where /* range */ true) as child
        left join {{ foreign_key.parent }} as parent
            on child.{{ column }} = parent.{{ foreign_key.parent_column }}
        where parent.{{ foreign_key.parent_column }} is null
        order by child.{{ column }}
        limit 5
    {%- endset -%}
    {#- Other connections are to see the rows. -#}
    {%- do run_query("commit") -%}
    {%- set found = adapter.run_by_ranges(
        statement=orphans, table=relation | string, key=column, keys_per_range=250000, session=build_session(),
        keys="(select " ~ foreign_key.parent_column ~ " as " ~ column ~ " from " ~ foreign_key.parent ~ ") as parent",
    ) | map(attribute='rows') | select | list -%}
    {%- if found -%}
        {%- set num_keys = found | map(attribute=0) | sum(attribute=1) -%}
        {%- set first = (found | sum(start=()) | map(attribute=0) | sort(case_sensitive=true))[:5] -%}
        {{ return(
            num_keys ~ " values of " ~ column ~ " are not in " ~ foreign_key.parent ~ ", the first of them " ~ first | join(', ')
        ) }}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}
