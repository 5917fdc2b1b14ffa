-- Sources of traffic up to now: the batch layer's, and the speed layer's of the hours that the batch layer has not.
-- Every hour is one layer's alone, and both are read as they were when the query began.
CREATE OR REPLACE VIEW vitrine.sources_now AS
WITH settled AS (
    SELECT DISTINCT
        dt,
        hour
    FROM vitrine_silver.sources
)

SELECT
    batch.window_start,
    batch.trafficfrom,
    batch.events,
    batch.dt,
    batch.hour,
    'batch' AS layer
FROM vitrine_silver.sources AS batch
UNION ALL
SELECT
    speed.window_start,
    speed.trafficfrom,
    speed.events,
    speed.dt,
    speed.hour,
    'speed' AS layer
FROM vitrine_silver.speed_sources AS speed
LEFT JOIN settled ON speed.dt = settled.dt AND speed.hour = settled.hour
WHERE settled.dt IS NULL
