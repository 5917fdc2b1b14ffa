{%- set load = ti.xcom_pull("plan_snowflake")[ti.map_index] -%}
CREATE OR REPLACE TRANSIENT TABLE retail.vitrine.{{ load["staging"] }} (
    {%- for column in load["columns"] if column["name"] not in load["scope"] %}
    {{ column["name"] }} {{ column["type"] }}{{ " NOT NULL" if column["required"] }}{{ "," if not loop.last }}
    {%- endfor %}
)
