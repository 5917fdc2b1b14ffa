{%- set load = ti.xcom_pull("plan_redshift")[ti.map_index] -%}
ALTER TABLE gold.{{ load["table"] }}_staging RENAME TO {{ load["table"] }}
