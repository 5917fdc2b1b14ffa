SELECT
    count(*) AS "rows",
    count_if(coalesce(trim(product_id), '') = '' OR coalesce(trim(order_id), '') = '') AS keyless,
    sum(amount) AS amount,
    min(sale_date) AS first_sale,
    max(sale_date) AS last_sale
FROM vitrine.sales_extract
WHERE
    client = '{{ ti.xcom_pull("resolve_contract", key="client") }}'
    AND version = '{{ ti.xcom_pull("extract.register")["version"] }}'
