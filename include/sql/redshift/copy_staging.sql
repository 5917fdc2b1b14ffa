{%- set load = ti.xcom_pull("plan_redshift")[ti.map_index] -%}
COPY gold.{{ load["table"] }}_staging
FROM '{{ load["version"] }}'
IAM_ROLE DEFAULT
FORMAT AS PARQUET
