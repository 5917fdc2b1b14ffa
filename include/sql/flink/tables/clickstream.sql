-- Clicks, as they are put to the stream.
-- `rowtime` is the epoch where they break the schema of `rules.parse_click`: they neither count nor move the watermark.
-- `event_time` always has six digits of a second, so that its text sorts as time does.
-- A window of `rules.py` is closed by an event of two minutes after its end. Flink closes one a millisecond earlier:
-- hence the millisecond.
CREATE TABLE clickstream (
    custid BIGINT,
    trafficfrom STRING,
    url STRING,
    device STRING,
    touchproduct INT,
    trans_timestamp STRING,
    event_time AS RPAD(
        CASE WHEN CHAR_LENGTH(trans_timestamp) = 19 THEN CONCAT(trans_timestamp, '.') ELSE trans_timestamp END, 26, '0'
    ),
    rowtime AS CASE
        WHEN
            custid >= 0
            AND trafficfrom <> ''
            AND url <> ''
            AND device IN ('app_mobile', 'app_tablet', 'browser')
            AND touchproduct BETWEEN 0 AND 250
            AND REGEXP(trans_timestamp, '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\z')
            AND SUBSTRING(trans_timestamp FROM 1 FOR 4) BETWEEN '1970' AND '2999'
            AND DATE_FORMAT(TRY_CAST(REPLACE(trans_timestamp, 'T', ' ') AS TIMESTAMP(3)), 'yyyy-MM-dd''T''HH:mm:ss')
            = SUBSTRING(trans_timestamp FROM 1 FOR 19)
            THEN TRY_CAST(REPLACE(trans_timestamp, 'T', ' ') AS TIMESTAMP(3))
        ELSE TIMESTAMP '1970-01-01 00:00:00'
    END,
    WATERMARK FOR rowtime AS rowtime - INTERVAL '2' MINUTE - INTERVAL '0.001' SECOND
) WITH (
    'connector' = 'kinesis',
    'stream.arn' = '${stream_arn_prefix}vitrine-clickstream',
    'aws.region' = '${region}',
    'source.init.position' = 'TRIM_HORIZON',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true'
);
