-- Sessions up to now: the batch layer's, and the speed layer's of the hours that the batch layer has not.
-- Every hour is one layer's alone, and both are read as they were when the query began.
CREATE OR REPLACE VIEW vitrine.sessions_now AS
WITH settled AS (
    SELECT DISTINCT
        dt,
        hour
    FROM vitrine_silver.sessions
)

SELECT
    batch.session_id,
    batch.window_start,
    batch.custid,
    batch.device,
    batch.events,
    batch.first_url,
    batch.last_url,
    batch."begin",
    batch."end",
    batch.duration,
    batch.dt,
    batch.hour,
    'batch' AS layer
FROM vitrine_silver.sessions AS batch
UNION ALL
SELECT
    speed.session_id,
    speed.window_start,
    speed.custid,
    speed.device,
    speed.events,
    speed.first_url,
    speed.last_url,
    speed."begin",
    speed."end",
    speed.duration,
    speed.dt,
    speed.hour,
    'speed' AS layer
FROM vitrine_silver.speed_sessions AS speed
LEFT JOIN settled ON speed.dt = settled.dt AND speed.hour = settled.hour
WHERE settled.dt IS NULL
