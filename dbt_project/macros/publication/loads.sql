{#- Refuse to build from staging that does not hold a whole load. -#}
{% macro require_complete_load() %}
    {%- set staging = target.schema ~ '_staging' -%}
    {%- set remedy = "run `" ~ make_command('extract') ~ "`" -%}
    {%- set tables = graph.sources.values() | selectattr('schema', 'equalto', staging) | map(attribute='identifier') | list -%}
    {%- set present = run_query(
        "select table_name as name from information_schema.tables where table_schema = '" ~ staging ~ "'"
    ).columns['name'].values() | list -%}
    {%- set missing = tables | reject('in', present) | sort -%}
    {%- if missing | length == tables | length -%}
        {%- do refuse("Nothing is staged for " ~ run_data_set() ~ ": " ~ remedy) -%}
    {%- elif missing -%}
        {%- do refuse(staging ~ " lacks " ~ missing | join(', ') ~ ": " ~ remedy) -%}
    {%- endif -%}
    {%- set load_id = current_load_id() -%}
    {%- if load_id is none -%}
        {%- do refuse("Nothing is staged for " ~ run_data_set() ~ ": " ~ remedy) -%}
    {%- endif -%}
    {%- set unfinished = what_a_load_lacks(load_id) -%}
    {%- if unfinished -%}
        {%- do refuse("The load of " ~ run_data_set() ~ " is not complete: " ~ unfinished ~ ". To finish it, " ~ remedy) -%}
    {%- endif -%}
{% endmacro %}


{#-
    Refuse to replace good tables by less: by a load of which too many records were rejected, by one that would empty a
    table, and by a part of one that is newer than the other tables.
-#}
{% macro require_publishable_load() %}
    {%- set load_id, problems, limit = current_load_id(), [], var('max_reject_share') -%}
    {%- set files = run_query(
        "select source_file, record_kind, sum(num_lines - num_non_records) as records, sum(num_rejects) as rejects,"
        ~ " sum(num_rows) as num_rows, sum(num_structures) as structures from " ~ source('staging', 'load_partition')
        ~ " where load_id = " ~ load_id ~ " group by source_file, record_kind order by source_file"
    ).rows -%}
    {%- set rows = {'feature': run_query(
        "select num_features from " ~ source('staging', 'feature_load') ~ " where load_id = " ~ load_id
    ).rows[0][0]} -%}
    {%- for file in files -%}
        {%- if file['rejects'] | float > limit * (file['records'] | float) -%}
            {%- do problems.append(
                (file['rejects'] | int) ~ " of the " ~ (file['records'] | int) ~ " records of " ~ file['source_file']
                ~ " are rejected, " ~ '%.4g' % (100 * (file['rejects'] | float) / (file['records'] | float))
                ~ " %, and the limit is " ~ '%.4g' % (100 * limit) ~ " % (rejected_record in " ~ target.schema
                ~ "_staging has them with their reasons)"
            ) -%}
        {%- endif -%}
        {%- if file['record_kind'] == 'sample' -%}
            {%- do rows.update({'sample': file['num_rows'], 'sample_feature': file['structures']}) -%}
        {%- else -%}
            {%- do rows.update({'common_feature_group': file['structures']}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for table in published_tables() if table_kind(table.relation) -%}
        {%- set is_selected = table.node.unique_id in selected_resources -%}
        {%- if limit < 1 and is_selected and load_of(table.relation) and rows.get(table.node.name) == 0
            and run_query("select 1 from " ~ table.relation ~ " limit 1") | length > 0 -%}
            {%- do problems.append("it has no row for " ~ table.relation ~ ", which has some") -%}
        {%- endif -%}
        {%- if not is_selected and is_core(table.node) and load_of(table.relation) != load_id -%}
            {%- do refuse(
                "Load " ~ load_id ~ " of " ~ run_data_set() ~ " is newer than " ~ table.relation ~ ", which is not among what "
                ~ "is to be built: the four tables are built together, by " ~ dbt_command('run')
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if problems -%}
        {%- do refuse(
            "Load " ~ load_id ~ " of " ~ run_data_set() ~ " is not published, and the tables stay as they are: "
            ~ problems | join('; ') ~ ". To publish it all the same: "
            ~ dbt_command(flags.WHICH ~ " --vars '{max_reject_share: 1}'")
        ) -%}
    {%- endif -%}
{% endmacro %}


{#- The number of the load that is in staging, complete or not; none if there is none. -#}
{% macro current_load_id() %}
    {%- set found = run_query(
        "select max(load_id) as load_id from " ~ staging_table('load_partition') ~ " where state <> 'superseded'"
    ).rows[0]['load_id'] -%}
    {{ return(found | int if found is not none else none) }}
{% endmacro %}


{#- A table of staging, which a model that reads it may name without being ordered after it. -#}
{% macro staging_table(name) %}
    {{ return(api.Relation.create(schema=target.schema ~ '_staging', identifier=name)) }}
{% endmacro %}


{#- What a load has not landed yet, as a clause; empty if it is whole. -#}
{% macro what_a_load_lacks(load_id) %}
    {%- set load = run_query(
        "select count(*) as planned, coalesce(sum(state <> 'loaded'), 0) as unfinished from "
        ~ staging_table('load_partition') ~ " where load_id = " ~ load_id
    ).rows[0] -%}
    {%- if load['unfinished'] > 0 -%}
        {{ return(load['unfinished'] | int ~ " of " ~ load['planned'] ~ " partitions are missing") }}
    {%- endif -%}
    {%- set features = run_query("select 1 from " ~ staging_table('feature_load') ~ " where load_id = " ~ load_id) -%}
    {{ return('' if features | length > 0 else "its features are missing") }}
{% endmacro %}


{#-
    Whether a load is no longer what staging holds, as a sentence; empty if it still is. A load that was superseded is never
    current again, so that what was read before this look was of that load.
-#}
{% macro what_replaced_load(load_id) %}
    {%- if current_load_id() != load_id or what_a_load_lacks(load_id) -%}
        {{ return("A make extract has begun another load in staging while this run read it: the published tables stay as "
            ~ "they were. Run the same command again when it has ended") }}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}


{% macro require_current_load(load_id) %}
    {%- set problem = what_replaced_load(load_id) -%}
    {%- if problem -%}{{ exceptions.raise_compiler_error(problem) }}{%- endif -%}
{% endmacro %}


{% macro run_data_set() %}
    {{ return(target.name ~ " in " ~ run_mode() ~ " mode") }}
{% endmacro %}


{% macro run_mode() %}
    {{ return(env_var('DEEPCVR_MODE', '') or env_var('MODE', '') or 'development') }}
{% endmacro %}
