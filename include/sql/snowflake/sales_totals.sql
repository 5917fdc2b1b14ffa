{%- set roles = ti.xcom_pull("resolve_contract", key="roles") -%}
{%- set view = ti.xcom_pull("resolve_contract", key="view") | join(".") -%}
SELECT
    COUNT(*) AS "rows",
    COALESCE(SUM(CAST({{ roles["amount"] }} AS NUMBER(18, 4))), 0) AS "amount",
    (SELECT MAX(CAST({{ roles["sale_date"] }} AS TIMESTAMP_NTZ)) FROM {{ view }}) AS "latest_sale"
FROM {{ view }}
WHERE
    ({{ roles["sale_date"] }}) >= CAST('{{ ti.xcom_pull("resolve_contract", key="start") }}' AS TIMESTAMP_NTZ)
    AND ({{ roles["sale_date"] }}) < CAST('{{ ti.xcom_pull("resolve_contract", key="end") }}' AS TIMESTAMP_NTZ)
