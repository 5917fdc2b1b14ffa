-- What a customer did on a device within a minute. `begin` and `end` are ISO 8601 text with microseconds, as in clicks.
CREATE TABLE sessions (
    session_id STRING,
    window_start TIMESTAMP(3),
    custid BIGINT,
    device STRING,
    events BIGINT,
    first_url STRING,
    last_url STRING,
    `begin` STRING,
    `end` STRING,
    duration BIGINT
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-flink-sessions',
    'aws.region' = '${region}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);
