-- The rule `sources_1m`: events from each source of traffic in a minute.
INSERT INTO sources
SELECT
    window_start,
    trafficfrom,
    events
FROM source_events;
