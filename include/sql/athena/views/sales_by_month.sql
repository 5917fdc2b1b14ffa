-- Sales of each month, without orders that were canceled or unavailable; revenue is without freight.
CREATE OR REPLACE VIEW vitrine.sales_by_month AS
SELECT
    order_month,
    count(DISTINCT order_id) AS orders,
    count(*) AS items,
    count(DISTINCT customer_unique_id) AS customers,
    count(DISTINCT seller_id) AS sellers,
    sum(price) AS revenue,
    sum(freight_value) AS freight,
    round(cast(sum(price) AS double) / count(DISTINCT order_id), 2) AS revenue_per_order
FROM vitrine.wide_sales
WHERE order_status NOT IN ('canceled', 'unavailable')
GROUP BY order_month
