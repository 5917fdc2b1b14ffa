-- How delivered orders arrived, by month of the purchase and state of the customer: an order counts once.
CREATE OR REPLACE VIEW vitrine.delivery_performance AS
WITH orders AS (
    SELECT
        order_id,
        order_month,
        delivery_days,
        delay_days,
        is_late,
        coalesce(customer_state, 'unknown') AS customer_state,
        max(distance_km) AS distance_km
    FROM vitrine.wide_sales
    WHERE delivered_at IS NOT NULL AND order_status NOT IN ('canceled', 'unavailable')
    GROUP BY order_id, order_month, customer_state, delivery_days, delay_days, is_late
)

SELECT
    order_month,
    customer_state,
    count(*) AS orders,
    round(avg(cast(delivery_days AS double)), 2) AS delivery_days,
    max(delivery_days) AS longest_delivery_days,
    round(avg(cast(delay_days AS double)), 2) AS delay_days,
    count_if(is_late) AS late_orders,
    round(cast(count_if(is_late) AS double) / count(*), 4) AS late_share,
    round(avg(distance_km), 1) AS distance_km
FROM orders
GROUP BY order_month, customer_state
