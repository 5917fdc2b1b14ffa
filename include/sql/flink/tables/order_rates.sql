-- Moments with more than ten distinct orders in the second that ends with them.
CREATE TABLE order_rates (
    `moment` TIMESTAMP(3),
    orders BIGINT
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-flink-order-rates',
    'aws.region' = '${region}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);
