{%- set types = {"sale_date": "TIMESTAMP_NTZ", "quantity": "FLOAT", "amount": "NUMBER(18, 4)"} -%}
{%- set roles = ti.xcom_pull("resolve_contract", key="roles") -%}
COPY INTO {{ task.target }}
FROM (
    SELECT
        {%- for role, expression in roles.items() %}
        CAST({{ expression }} AS {{ types.get(role, "VARCHAR") }}) AS "{{ role }}"{{ "," if not loop.last }}
        {%- endfor %}
    FROM {{ ti.xcom_pull("resolve_contract", key="view") | join(".") }}
    WHERE
        ({{ roles["sale_date"] }}) >= CAST('{{ ti.xcom_pull("resolve_contract", key="start") }}' AS TIMESTAMP_NTZ)
        AND ({{ roles["sale_date"] }}) < CAST('{{ ti.xcom_pull("resolve_contract", key="end") }}' AS TIMESTAMP_NTZ)
)
PARTITION BY ('month=' || TO_CHAR("sale_date", 'YYYY-MM'))
FILE_FORMAT = (TYPE = PARQUET)
HEADER = TRUE
MAX_FILE_SIZE = 134217728
