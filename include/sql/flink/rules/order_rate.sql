-- The rule of the rate alarm, without its cooldown: the moments t with more than ten distinct orders in (t - 1 s, t].
-- Flink's event time has milliseconds, so that is [t - 999 ms, t]. Each moment once, however many lines it has.
INSERT INTO order_rates
SELECT
    moment,
    orders
FROM TABLE(TUMBLE(TABLE order_counts, DESCRIPTOR (rowtime), INTERVAL '1' SECOND))
WHERE orders > 10
GROUP BY window_start, window_end, moment, orders;
