{%- set load = ti.xcom_pull("plan_redshift")[ti.map_index] -%}
DROP TABLE IF EXISTS gold.{{ load["table"] }}
