{#- The side that a source file describes, from the file names of the published archives. -#}
{% macro side_of(source_file) -%}
    case
        when {{ source_file }} like 'sample\_skeleton\_%' then 'sample'
        when {{ source_file }} like 'common\_features\_%' then 'common'
    end
{%- endmacro %}


{#- The partitions that the staging tables were filled from. -#}
{% macro current_load() -%}
    (select * from {{ ref('stg_load_partition') }} where state <> 'superseded')
{%- endmacro %}
