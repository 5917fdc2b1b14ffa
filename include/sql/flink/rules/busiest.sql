-- The rule `busiest`: of a minute's sources, the one with the most events; of equal ones, the first in the alphabet.
INSERT INTO busiest_sources
SELECT
    window_start,
    trafficfrom,
    events
FROM (
    SELECT
        window_start,
        trafficfrom,
        events,
        ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY events DESC, trafficfrom ASC) AS place
    FROM source_events
) AS ranked
WHERE place = 1;
