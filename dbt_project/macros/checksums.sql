{#-
    A checksum of long rows that does not depend on their order, at half the price of a checksum over their text. The
    factors spread the two numbers over the bits. A change of one row flips bits of one term, so it always changes the sum.
-#}
{% macro structure_checksum(key) -%}
    sum(crc32(feature_value) ^ (feature_id * 2654435) ^ ({{ key }} * 40503))
{%- endmacro %}


{#- The same of features. -#}
{% macro feature_checksum() -%}
    sum(crc32(feature_name) ^ (feature_id * 2654435))
{%- endmacro %}
