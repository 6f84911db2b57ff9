{#- The contract of a table, read from the YAML of its model: the one place where its keys are declared. -#}
{% macro contract_of(node) %}
    {%- set contract = namespace(primary_key=[]) -%}
    {%- set columns, checks, foreign_keys = [], [], [] -%}
    {%- for column in node.columns.values() -%}
        {%- set not_null = column.constraints | selectattr('type', 'equalto', 'not_null') | list | length > 0 -%}
        {%- do columns.append({
            'name': column.name, 'data_type': column.data_type, 'not_null': not_null,
            'comment': column.description if node.config.persist_docs.get('columns'),
        }) -%}
    {%- endfor -%}
    {%- for constraint in all_constraints(node) -%}
        {%- if constraint.type == 'primary_key' -%}
            {%- set contract.primary_key = constraint.columns -%}
        {%- elif constraint.type == 'check' -%}
            {%- do checks.append(constraint.expression) -%}
        {%- elif constraint.type == 'foreign_key' -%}
            {%- do foreign_keys.append(parse_foreign_key(node, constraint)) -%}
        {%- elif constraint.type != 'not_null' -%}
            {{ exceptions.raise_compiler_error(
                node.name ~ ": a table takes primary_key, not_null, check and foreign_key constraints, not "
                ~ constraint.type
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if not contract.primary_key -%}
        {{ exceptions.raise_compiler_error(node.name ~ ": a table needs a primary_key constraint in its YAML") }}
    {%- endif -%}
    {{ return({
        'columns': columns, 'primary_key': contract.primary_key, 'checks': checks, 'foreign_keys': foreign_keys,
        'comment': ': ' ~ node.description if node.config.persist_docs.get('relation') else '',
    }) }}
{% endmacro %}


{% macro all_constraints(node) %}
    {%- set found = [] -%}
    {%- for column in node.columns.values() -%}
        {%- for constraint in column.constraints -%}
            {%- do found.append(dict(constraint, type=constraint.type | string, columns=[column.name])) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for constraint in node.constraints -%}
        {%- do found.append(dict(constraint, type=constraint.type | string)) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}


{#- A model that is compiled names a relation in the place of the ref, with --defer one elsewhere: ours is meant. -#}
{% macro parse_foreign_key(node, constraint) %}
    {%- set parents, to = [], (constraint.to or '') -%}
    {%- for parent in graph.nodes.values() if parent.unique_id in node.depends_on.nodes -%}
        {%- if to.endswith(".`" ~ parent.alias ~ "`") or to in ("ref('" ~ parent.name ~ "')", 'ref("' ~ parent.name ~ '")') -%}
            {%- do parents.append(api.Relation.create(schema=parent.schema, identifier=parent.alias)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not parents or constraint.columns | length != 1 or constraint.to_columns | length != 1 -%}
        {{ exceptions.raise_compiler_error(
            node.name ~ ": a foreign_key constraint has one column, `to: ref('model')` and one of `to_columns`"
        ) }}
    {%- endif -%}
    {{ return({'column': constraint.columns[0], 'parent': parents[0], 'parent_column': constraint.to_columns[0]}) }}
{% endmacro %}


{% macro column_definitions(contract) %}
    {%- for column in contract.columns -%}
        {{ column.name }} {{ column.data_type }}{{ ' not null' if column.not_null }}
        {%- if column.comment %} comment {{ quoted_comment(column.comment, 1024) }}{% endif -%}
        {{ ', ' if not loop.last }}
    {%- endfor -%}
{% endmacro %}


{% macro create_from_contract_sql(relation, contract, load_id) %}
    create table {{ relation }} (
        {{ column_definitions(contract) }},
        primary key ({{ contract.primary_key | join(', ') }})
        {%- for expression in contract.checks %},
        check ({{ expression }})
        {%- endfor %}
    ) {{ table_options() }} {{ compression_of_staging() }} comment = {{ quoted_comment('built' ~ (' from load ' ~ load_id if load_id) ~ contract.comment, 2048) }}
{% endmacro %}


{#- Whatever a server takes by default. -#}
{% macro table_options() -%}
    engine = InnoDB row_format = dynamic character set utf8mb4 collate utf8mb4_bin
{%- endmacro %}


{#- A server that cannot compress pages has been found out when staging was made; where it puts tables may change since. -#}
{% macro compression_of_staging() %}
    {%- set found = run_query(
        "select create_options as options from information_schema.tables where table_schema = '" ~ target.schema ~ "_staging'"
        ~ " and table_name = 'sample_feature' and @@innodb_file_per_table"
    ) -%}
    {{ return("compression = 'lz4'" if 'COMPRESSION="lz4"' in found.columns['options'].values() | join else '') }}
{% endmacro %}


{% macro foreign_key_sql(foreign_key) -%}
    foreign key ({{ foreign_key.column }}) references {{ foreign_key.parent }} ({{ foreign_key.parent_column }})
{%- endmacro %}


{% macro assert_columns_match_contract(sql, contract) %}
    {%- set selected = get_columns_in_query(sql) | map('lower') | list -%}
    {%- set declared = contract.columns | map(attribute='name') | map('lower') | list -%}
    {%- if selected != declared -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ " selects " ~ selected | join(', ') ~ " but its contract declares " ~ declared | join(', ')
            ~ ": the two must agree, in the same order"
        ) }}
    {%- endif -%}
{% endmacro %}
