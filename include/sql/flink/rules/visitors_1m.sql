-- The rule `visitors_1m`: distinct customers of each page in a minute, all of them counted exactly.
INSERT INTO visitors
SELECT
    window_start,
    60 AS window_seconds,
    url,
    COUNT(DISTINCT custid) AS visitors,
    TRUE AS exact
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR (rowtime), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, url;
