{#-
    Whether the load has no more structures than the variable max_view_test_structures says: a test of a view that reads
    all of them asks so first, and above it the server reads nothing else.
-#}
{% macro is_small_enough() -%}
    (select coalesce(sum(num_structures), 0) from {{ current_load() }} as load_size) <= {{ var('max_view_test_structures') }}
{%- endmacro %}
