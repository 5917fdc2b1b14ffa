-- Distinct customers and clicks of each day: counted, for those of the hours can't be added up.
CREATE OR REPLACE VIEW vitrine.visitors_by_day AS
SELECT
    dt,
    count(DISTINCT custid) AS visitors,
    sum(events) AS accesses
FROM vitrine_silver.sessions
GROUP BY dt
