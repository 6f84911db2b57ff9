{#-
    A condition that holds where the load has no more structures than so many: above, a view that reads all of them is left
    to those who can wait for it.
-#}
{% macro is_small_enough(up_to_structures) -%}
    (select coalesce(sum(num_structures), 0) from {{ current_load() }} as load_size) <= {{ up_to_structures }}
{%- endmacro %}
