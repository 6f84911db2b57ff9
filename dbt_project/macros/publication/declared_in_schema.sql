{#- One `select '<declaration>', <is it in the schema>` for each declaration of a contract. -#}
{% macro declared_in_schema_sql(relation, contract, indexes) %}
    {%- set here = "table_schema = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier ~ "'" -%}
    {%- set index_columns = "(select group_concat(column_name order by seq_in_index separator ', ')"
        ~ " from information_schema.statistics where " ~ here ~ " and index_name = '" -%}
    {%- set selects = [] -%}
    {%- for column in contract.columns -%}
        {%- set parts = column.data_type.split(' character set ') -%}
        {#- MariaDB prints int(10) unsigned. -#}
        {%- set matches = "regexp_replace(column_type, 'int[(][0-9]+[)]', 'int') = '" ~ parts[0] ~ "'"
            ~ (" and collation_name = '" ~ parts[1].split(' collate ')[1] ~ "'" if parts | length > 1)
            ~ (" and is_nullable = 'NO'" if column.not_null) -%}
        {%- do selects.append(
            "select '" ~ column.name ~ " " ~ column.data_type ~ (" not null" if column.not_null)
            ~ "', (select " ~ matches ~ " from information_schema.columns where " ~ here
            ~ " and column_name = '" ~ column.name ~ "')"
        ) -%}
    {%- endfor -%}
    {%- do selects.append(
        "select 'primary key (" ~ contract.primary_key | join(', ') ~ ")', " ~ index_columns ~ "PRIMARY') = '"
        ~ contract.primary_key | join(', ') ~ "'"
    ) -%}
    {%- for index in indexes -%}
        {%- do selects.append(
            "select 'index (" ~ index.columns | join(', ') ~ ")', " ~ index_columns ~ index.columns | join('_') ~ "') = '"
            ~ index.columns | join(', ') ~ "'"
        ) -%}
    {%- endfor -%}
    {#- MySQL can have a check and not enforce it. -#}
    {%- set in_force = " and t.enforced = 'YES'" if run_query(
        "select 1 from information_schema.columns where table_schema = 'information_schema'"
        ~ " and table_name = 'TABLE_CONSTRAINTS' and column_name = 'ENFORCED'"
    ) | length > 0 -%}
    {%- for expression in contract.checks -%}
        {#- The servers differ in parentheses, quotes and blanks. -#}
        {%- set plain = modules.re.sub('[ ()`]', '', expression) -%}
        {%- do selects.append(
            "select 'check (" ~ expression | replace("'", "''") ~ ")', exists (select 1 from information_schema.table_constraints as t"
            ~ " inner join information_schema.check_constraints as c on t.constraint_schema = c.constraint_schema"
            ~ " and t.constraint_name = c.constraint_name where t." ~ here | replace(' and ', ' and t.')
            ~ in_force ~ " and regexp_replace(c.check_clause, '[ ()`]', '') = '" ~ plain | replace("'", "''") ~ "')"
        ) -%}
    {%- endfor -%}
    {%- for foreign_key in contract.foreign_keys -%}
        {%- do selects.append(
            "select '" ~ foreign_key_sql(foreign_key) ~ "', exists (select 1 from information_schema.key_column_usage where "
            ~ here ~ " and column_name = '" ~ foreign_key.column ~ "' and referenced_table_schema = '"
            ~ foreign_key.parent.schema ~ "' and referenced_table_name = '" ~ foreign_key.parent.identifier
            ~ "' and referenced_column_name = '" ~ foreign_key.parent_column ~ "')"
        ) -%}
    {%- endfor -%}
    {{ return(selects) }}
{% endmacro %}
