-- The ten products of each day with the most accesses; of equal ones the lesser product comes first.
CREATE OR REPLACE VIEW vitrine.top_products AS
WITH days AS (
    SELECT
        dt,
        product,
        sum(accesses) AS accesses
    FROM vitrine.product_accesses
    GROUP BY dt, product
),

ranked AS (
    SELECT
        dt,
        product,
        accesses,
        row_number() OVER (PARTITION BY dt ORDER BY accesses DESC, product ASC) AS place
    FROM days
)

SELECT
    dt,
    place,
    product,
    accesses
FROM ranked
WHERE place <= 10
