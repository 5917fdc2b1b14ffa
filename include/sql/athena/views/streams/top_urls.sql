-- The 500 paths of each day with the most requests; of equal ones, the first in the alphabet comes first.
CREATE OR REPLACE VIEW vitrine.top_urls AS
WITH days AS (
    SELECT
        dt,
        path,
        sum(requests) AS requests,
        sum(errors) AS errors,
        sum(bytes) AS bytes
    FROM vitrine.page_requests
    GROUP BY dt, path
),

ranked AS (
    SELECT
        dt,
        path,
        requests,
        errors,
        bytes,
        row_number() OVER (PARTITION BY dt ORDER BY requests DESC, path ASC) AS place
    FROM days
)

SELECT
    dt,
    place,
    path,
    requests,
    errors,
    bytes
FROM ranked
WHERE place <= 500
