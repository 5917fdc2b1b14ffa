-- The rule `visitors_15s`: distinct customers of each page in a quarter of a minute, all of them counted exactly.
INSERT INTO visitors
SELECT
    window_start,
    15 AS window_seconds,
    url,
    COUNT(DISTINCT custid) AS visitors,
    TRUE AS exact
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR (rowtime), INTERVAL '15' SECOND))
GROUP BY window_start, window_end, url;
