-- At each line of an order: how many distinct orders there were in the second that ends with it.
CREATE VIEW order_counts AS
SELECT
    rowtime,
    CAST(rowtime AS TIMESTAMP(3)) AS moment,
    COUNT(DISTINCT `InvoiceNo`) OVER (
        ORDER BY rowtime RANGE BETWEEN INTERVAL '0.999' SECOND PRECEDING AND CURRENT ROW
    ) AS orders
FROM orders
WHERE `InvoiceNo` <> '' AND rowtime > TIMESTAMP '1970-01-01 00:00:00';
