-- Events from each source of traffic in a minute.
CREATE TABLE sources (
    window_start TIMESTAMP(3),
    trafficfrom STRING,
    events BIGINT
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-flink-sources',
    'aws.region' = '${region}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);
