-- Clicks that keep the schema, duplicates and all.
CREATE VIEW clicks AS
SELECT
    custid,
    trafficfrom,
    url,
    device,
    touchproduct,
    event_time,
    rowtime
FROM clickstream
WHERE rowtime > TIMESTAMP '1970-01-01 00:00:00';
