-- Lines of orders, as they are put to the stream: what the rate of orders needs of them.
-- Those without a sound `EventTime`, which our producers always send, are at the epoch, where they count for nothing.
CREATE TABLE orders (
    `InvoiceNo` STRING,
    `EventTime` STRING,
    rowtime AS COALESCE(TRY_CAST(REPLACE(`EventTime`, 'T', ' ') AS TIMESTAMP(3)), TIMESTAMP '1970-01-01 00:00:00'),
    WATERMARK FOR rowtime AS rowtime - INTERVAL '2' MINUTE - INTERVAL '0.001' SECOND
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-orders',
    'aws.region' = '${region}',
    'source.init.position' = 'TRIM_HORIZON',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);
