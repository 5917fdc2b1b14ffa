-- Distinct customers of each page in 15 and in 60 seconds.
CREATE TABLE visitors (
    window_start TIMESTAMP(3),
    window_seconds INT,
    url STRING,
    visitors BIGINT,
    exact BOOLEAN
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-flink-visitors',
    'aws.region' = '${region}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);
