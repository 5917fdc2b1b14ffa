{%- set load = ti.xcom_pull("plan_redshift")[ti.map_index] -%}
SELECT
    COUNT(*) AS total_rows
    {%- for column in load["money"] %},
    SUM({{ column }}) AS total_{{ column }}
    {%- endfor %}
FROM gold.{{ load["table"] }}_staging
