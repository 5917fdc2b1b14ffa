-- Customers by fifths of recency, frequency and money; 5 is best. Equal values share a fifth, so fifths differ in size:
-- most customers of a marketplace buy once, and those all have the same frequency.
CREATE OR REPLACE VIEW vitrine.customer_segments AS
WITH ranked AS (
    SELECT
        customer_unique_id,
        as_of,
        recency_days,
        frequency,
        monetary,
        percent_rank() OVER (ORDER BY recency_days DESC) AS recency_rank,
        percent_rank() OVER (ORDER BY frequency) AS frequency_rank,
        percent_rank() OVER (ORDER BY monetary) AS monetary_rank
    FROM vitrine.customer_rfm
),

scored AS (
    SELECT
        customer_unique_id,
        as_of,
        recency_days,
        frequency,
        monetary,
        least(5, 1 + cast(floor(5 * recency_rank) AS integer)) AS recency_score,
        least(5, 1 + cast(floor(5 * frequency_rank) AS integer)) AS frequency_score,
        least(5, 1 + cast(floor(5 * monetary_rank) AS integer)) AS monetary_score
    FROM ranked
)

SELECT
    customer_unique_id,
    as_of,
    recency_days,
    frequency,
    monetary,
    recency_score,
    frequency_score,
    monetary_score,
    CASE
        WHEN frequency > 1 AND recency_score >= 4 AND monetary_score >= 4 THEN 'champion'
        WHEN frequency > 1 AND recency_score >= 3 THEN 'loyal'
        WHEN frequency > 1 THEN 'at risk'
        WHEN recency_score >= 4 AND monetary_score >= 4 THEN 'promising'
        WHEN recency_score >= 4 THEN 'new'
        WHEN monetary_score >= 4 THEN 'big spender gone quiet'
        WHEN recency_score = 1 THEN 'lost'
        ELSE 'one-time'
    END AS segment
FROM scored
