{#- raise_dependency_error, because dbt 1.7 carries on with the models after any other error of an on-run-start hook. -#}
{% macro require_complete_load() %}
    {%- if execute and builds_models() -%}
        {%- set staging = target.schema ~ '_staging' -%}
        {%- set data_set = target.name ~ " in " ~ run_mode() ~ " mode" -%}
        {%- set remedy = "run `make extract" ~ (" DATASET=" ~ target.name if target.name != 'train')
            ~ (" MODE=production" if run_mode() == 'production') ~ "`" -%}
        {%- set tables = graph.sources.values() | selectattr('schema', 'equalto', staging) | map(attribute='identifier') | list -%}
        {%- set present = run_query(
            "select table_name as name from information_schema.tables where table_schema = '" ~ staging ~ "'"
        ).columns['name'].values() | list -%}
        {%- set missing = tables | reject('in', present) | sort -%}
        {%- if missing | length == tables | length -%}
            {{ exceptions.raise_dependency_error("Nothing is staged for " ~ data_set ~ ": " ~ remedy) }}
        {%- elif missing -%}
            {{ exceptions.raise_dependency_error(staging ~ " lacks " ~ missing | join(', ') ~ ": " ~ remedy) }}
        {%- endif -%}
        {%- set load = run_query(
            "select count(*) as planned, coalesce(sum(state <> 'loaded'), 0) as unfinished from "
            ~ source('staging', 'load_partition') ~ " where state <> 'superseded'"
        ).rows[0] -%}
        {%- if load['planned'] == 0 -%}
            {{ exceptions.raise_dependency_error("Nothing is staged for " ~ data_set ~ ": " ~ remedy) }}
        {%- elif load['unfinished'] > 0 -%}
            {{ exceptions.raise_dependency_error(
                "The load of " ~ data_set ~ " is not complete: " ~ load['unfinished'] | int ~ " of " ~ load['planned']
                ~ " partitions are missing. To finish it, " ~ remedy
            ) }}
        {%- endif -%}
        {%- set with_features = run_query(
            "select 1 from " ~ source('staging', 'feature_load') ~ " where load_id = (select max(load_id) from "
            ~ source('staging', 'load_partition') ~ " where state <> 'superseded')"
        ) -%}
        {%- if with_features | length == 0 -%}
            {{ exceptions.raise_dependency_error(
                "The load of " ~ data_set ~ " is not complete: its features are missing. To finish it, " ~ remedy
            ) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{% macro run_mode() %}
    {{ return('development' if target.schema.startswith('deepcvr_development_') else 'production') }}
{% endmacro %}
