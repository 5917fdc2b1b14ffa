-- Sales of each category, its share of all revenue, and what buyers thought of the orders that had it.
CREATE OR REPLACE VIEW vitrine.category_performance AS
WITH sales AS (
    SELECT
        order_id,
        price,
        freight_value,
        is_late,
        review_score_mean,
        coalesce(category_english, 'unknown') AS category
    FROM vitrine.wide_sales
    WHERE order_status NOT IN ('canceled', 'unavailable')
)

SELECT
    category,
    count(*) AS items,
    count(DISTINCT order_id) AS orders,
    sum(price) AS revenue,
    sum(freight_value) AS freight,
    round(cast(sum(price) AS double) / sum(cast(sum(price) AS double)) OVER (), 4) AS revenue_share,
    round(avg(review_score_mean), 2) AS review_score,
    round(avg(CASE WHEN is_late THEN 1.0E0 WHEN NOT is_late THEN 0.0E0 END), 4) AS late_share
FROM sales
GROUP BY category
