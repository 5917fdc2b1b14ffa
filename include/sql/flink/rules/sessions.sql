-- The rule `sessions`: what a customer did on a device within a minute, each event once.
-- First and last are found by time; of events of the same microsecond by url, as Flink has no digest of identities.
INSERT INTO sessions
SELECT
    CONCAT_WS('.', CAST(custid AS STRING), device, CAST(EXTRACT(EPOCH FROM window_start) AS STRING)) AS session_id,
    window_start,
    custid,
    device,
    COUNT(*) AS events,
    SUBSTRING(MIN(CONCAT(event_time, url)) FROM 27) AS first_url,
    SUBSTRING(MAX(CONCAT(event_time, url)) FROM 27) AS last_url,
    MIN(event_time) AS `begin`,
    MAX(event_time) AS `end`,
    MAX(microsecond) - MIN(microsecond) AS duration
FROM (
    SELECT
        window_start,
        window_end,
        custid,
        device,
        url,
        event_time,
        CAST(SUBSTRING(event_time FROM 18 FOR 2) AS BIGINT) * 1000000
        + CAST(SUBSTRING(event_time FROM 21 FOR 6) AS BIGINT) AS microsecond
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR (rowtime), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, custid, device, url, event_time, trafficfrom, touchproduct
) AS distinct_events
GROUP BY window_start, window_end, custid, device;
