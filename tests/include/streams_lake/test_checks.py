"""The checks of a stream, on streams of the stack, whose figures are those of what was really put."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.streams_lake import checks, hours
from include.streams_lake.checks import CheckError, Figures
from tests.include.streams_lake.conftest import LAKE

NAME = "checked"
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def stream(streams):
    """A stream that nobody delivers, with ten records of this hour, of which one was read; the hour, and the next."""
    kinesis, name = boto3.client("kinesis"), checks.resource(NAME)
    kinesis.create_stream(StreamName=name, ShardCount=1)
    records = [{"Data": b"a", "PartitionKey": "a"}] * 10
    began = hours.at(datetime.now(UTC))
    assert not kinesis.put_records(StreamName=name, Records=records)["FailedRecordCount"]
    shard = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(StreamName=name, **shard)["ShardIterator"], Limit=1)
    yield began, hours.at(hours.start(began) + timedelta(hours=2))
    kinesis.delete_stream(StreamName=name)


@pytest.fixture(scope="module")
def cloudwatch(stack):
    return boto3.client("cloudwatch")


def test_periods_within_a_time_and_those_that_touch_it():
    found = Figures(5 * MINUTE, {NOON + number * 5 * MINUTE: 10.0**number for number in range(4)})
    assert found.within(NOON, NOON + 20 * MINUTE) == found.touching(NOON, NOON + 20 * MINUTE) == 1111
    assert found.within(NOON + MINUTE, NOON + 19 * MINUTE) == 110
    assert found.touching(NOON + 6 * MINUTE, NOON + 15 * MINUTE) == 110


def test_a_stream_must_be_there_and_be_delivered(stream):
    kinesis, firehose = boto3.client("kinesis"), boto3.client("firehose")
    assert "is ACTIVE with 2 shards" in checks.active(kinesis, firehose, "clickstream")
    for name in ("nowhere", NAME):
        with pytest.raises(CheckError, match=f"vitrine-{name}: .* deploy include/infra/vitrine.yaml"):
            checks.active(kinesis, firehose, name)


def test_a_reader_that_is_behind_is_told(cloudwatch, stream):
    assert "readers of the stream" in checks.iterator_age(cloudwatch, NAME, *stream, timedelta(hours=1))
    with pytest.raises(CheckError, match=r"readers of the stream \d+\.\d s behind at the end of .*; at most -1 s"):
        checks.iterator_age(cloudwatch, NAME, *stream, timedelta(seconds=-1))


def test_what_came_in_must_be_delivered(cloudwatch, streams, stream):
    with pytest.raises(
        CheckError, match=r"10 records came in, 0 were delivered, 0 failed .*: 10 are missing 2 min after"
    ):
        checks.delivered(cloudwatch, streams.s3, LAKE, NAME, *stream, 2 * MINUTE)


def test_files_must_come_as_long_as_records_do(cloudwatch, streams, stream):
    with pytest.raises(CheckError, match=r"raw/checked/ has no file of .*, but the stream took 10 records"):
        checks.newest_file(cloudwatch, streams.s3, LAKE, NAME, *stream, MINUTE)
    dt, of_day = hours.values(stream[0])
    key = f"raw/{NAME}/dt={dt}/hour={of_day}/a.gz"
    streams.s3.put_object(Bucket=LAKE, Key=key, Body=b"")
    assert "1 files, the newest of" in checks.newest_file(cloudwatch, streams.s3, LAKE, NAME, *stream, MINUTE)
    with pytest.raises(CheckError, match=f"1 of 1 files can't be read: {key} is empty"):
        checks.readable(streams.s3, LAKE, NAME, *stream)
    streams.s3.delete_object(Bucket=LAKE, Key=key)


@pytest.mark.parametrize(
    ("rows", "rejected", "complaint"),
    [
        (8, 0, "8 records in the files, 0 of them poison; vitrine-checked took from 10 to 10: 2 are missing"),
        (12, 0, "vitrine-checked took from 10 to 10: 2 are there twice"),
        (10, 3, r"10 records in the files, 3 of them poison \(url: 3\); at most 20.00% may be"),
    ],
)
def test_the_files_must_have_what_came_in_and_little_poison(cloudwatch, stream, rows, rejected, complaint):
    def report(rows, rejected):
        return [{"at": stream[0], "rows_in": rows, "rejected": rejected, "reasons": {"url": rejected}}]

    bounds = timedelta(0), 0.2
    assert "10 records in the files" in checks.loaded(cloudwatch, NAME, report(10, 2), *stream, *bounds)
    with pytest.raises(CheckError, match=complaint):
        checks.loaded(cloudwatch, NAME, report(rows, rejected), *stream, *bounds)


def test_hours_that_cloudwatch_has_forgotten_are_no_fault(cloudwatch, streams):
    since, until = "2020-03-01T10", "2020-03-01T11"
    assert "0 records came in" in checks.delivered(cloudwatch, streams.s3, LAKE, NAME, since, until, MINUTE)
    assert "nothing came in" in checks.newest_file(cloudwatch, streams.s3, LAKE, NAME, since, until, MINUTE)
    report = [{"at": since, "rows_in": 5, "rejected": 0, "reasons": {}}]
    assert "5 records in the files" in checks.loaded(cloudwatch, NAME, report, since, until, MINUTE, 0.0)
