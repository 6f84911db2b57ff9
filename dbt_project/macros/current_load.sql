{#- The partitions that the staging tables were filled from. -#}
{% macro current_load() -%}
    (select * from {{ ref('stg_load_partition') }} where state <> 'superseded')
{%- endmacro %}
