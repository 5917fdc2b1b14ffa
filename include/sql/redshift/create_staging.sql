{%- set load = ti.xcom_pull("plan_redshift")[ti.map_index] -%}
CREATE TABLE gold.{{ load["table"] }}_staging (
    {%- for column in load["columns"] %}
    {{ column["name"] }} {{ column["type"] }}{{ " NOT NULL" if column["required"] }}{{ "," if not loop.last }}
    {%- endfor %}
)
