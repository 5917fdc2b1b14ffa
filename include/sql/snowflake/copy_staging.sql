{%- set load = ti.xcom_pull("plan_snowflake")[ti.map_index] -%}
COPY INTO retail.vitrine.{{ load["staging"] }}
FROM '@retail.vitrine.{{ load["stage"] }}/{{ load["files"] }}'
PATTERN = '.*[.]parquet'
FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
FORCE = TRUE
