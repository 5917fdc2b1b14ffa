-- Events from each source of traffic in a minute, each event once.
CREATE VIEW source_events AS
SELECT
    window_start,
    window_end,
    trafficfrom,
    COUNT(*) AS events
FROM (
    SELECT
        window_start,
        window_end,
        trafficfrom
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR (rowtime), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, custid, device, url, event_time, trafficfrom, touchproduct
) AS distinct_events
GROUP BY window_start, window_end, trafficfrom;
