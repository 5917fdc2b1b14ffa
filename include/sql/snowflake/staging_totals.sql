{%- set load = ti.xcom_pull("plan_snowflake")[ti.map_index] -%}
SELECT
    COUNT(*) AS total_rows
    {%- for column in load["money"] %},
    CAST(SUM(CAST({{ column }} AS NUMBER(38, 4))) AS VARCHAR) AS total_{{ column }}
    {%- endfor %}
FROM retail.vitrine.{{ load["staging"] }}
