-- Visitors up to now: the batch layer's, and the speed layer's of the hours that the batch layer has not.
-- Every hour is one layer's alone, and both are read as they were when the query began.
CREATE OR REPLACE VIEW vitrine.visitors_now AS
WITH settled AS (
    SELECT DISTINCT
        dt,
        hour
    FROM vitrine_silver.visitors
)

SELECT
    batch.window_start,
    batch.window_seconds,
    batch.url,
    batch.visitors,
    batch.exact,
    batch.dt,
    batch.hour,
    'batch' AS layer
FROM vitrine_silver.visitors AS batch
UNION ALL
SELECT
    speed.window_start,
    speed.window_seconds,
    speed.url,
    speed.visitors,
    speed.exact,
    speed.dt,
    speed.hour,
    'speed' AS layer
FROM vitrine_silver.speed_visitors AS speed
LEFT JOIN settled ON speed.dt = settled.dt AND speed.hour = settled.hour
WHERE settled.dt IS NULL
