{%- set load = ti.xcom_pull("plan_snowflake")[ti.map_index] -%}
CREATE TABLE IF NOT EXISTS retail.vitrine.{{ load["target"] }} (
    {%- for column in load["columns"] %}
    {{ column["name"] }} {{ column["type"] }}{{ " NOT NULL" if column["required"] }},
    {%- endfor %}
    PRIMARY KEY ({{ load["key"] | join(", ") }})
)
