-- The source of traffic with the most events in a minute.
CREATE TABLE busiest_sources (
    window_start TIMESTAMP(3),
    trafficfrom STRING,
    events BIGINT
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-flink-busiest-sources',
    'aws.region' = '${region}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);
