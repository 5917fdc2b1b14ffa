import contextlib
import datetime as dt
import hashlib
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given
from hypothesis import strategies as st

from local.aws import cbor, kinesis_shards
from local.aws.cbor import Timestamp
from local.aws.kinesis_log import Log
from local.aws.kinesis_shards import Definition, Placed, SequenceNumberError, Stream, StreamGoneError
from local.aws.kinesis_throughput import LIMIT, Throughput
from local.aws.server import Server
from local.aws.settings import Settings, client

HALF = 1 << 127
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("kinesis") / "state", 0)).start()
    yield started
    started.stop()


@pytest.fixture
def kinesis(server: Server) -> Any:
    return client("kinesis")


_names = (f"stream-{number}" for number in itertools.count())


@pytest.fixture
def stream(kinesis: Any) -> str:
    """A stream of two shards."""
    name = next(_names)
    kinesis.create_stream(StreamName=name, ShardCount=2)
    return name


def put(kinesis: Any, stream: str, data: list[bytes], hash_key: int | None = None) -> list[dict[str, Any]]:
    explicit = {} if hash_key is None else {"ExplicitHashKey": str(hash_key)}
    records = [{"Data": each, "PartitionKey": f"key {each!r}"[:256], **explicit} for each in data]
    answer = kinesis.put_records(StreamName=stream, Records=records)
    assert answer["FailedRecordCount"] == 0
    return answer["Records"]


def shards(kinesis: Any, stream: str, **request: Any) -> list[dict[str, Any]]:
    return kinesis.list_shards(StreamName=stream, **request)["Shards"]


def iterator(kinesis: Any, stream: str, shard: int = 0, kind: str = "TRIM_HORIZON", **request: Any) -> str:
    request |= {"StreamName": stream, "ShardId": f"shardId-{shard:012}", "ShardIteratorType": kind}
    return kinesis.get_shard_iterator(**request)["ShardIterator"]


def read(kinesis: Any, position: str, **request: Any) -> list[bytes]:
    return [record["Data"] for record in kinesis.get_records(ShardIterator=position, **request)["Records"]]


def error(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


# ------------------------------------------------------------------------------------------------------------- streams


def test_a_stream_comes_and_goes(kinesis: Any) -> None:
    name = next(_names)
    kinesis.create_stream(StreamName=name, ShardCount=3, Tags={"team": "web"})
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 0})
    described = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert described["StreamStatus"] == "ACTIVE"
    assert described["StreamARN"] == f"arn:aws:kinesis:us-east-1:123456789012:stream/{name}"
    ranges = [
        (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]))
        for shard in described["Shards"]
    ]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == (1 << 128) - 1
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(ranges))
    summary = kinesis.describe_stream_summary(StreamARN=described["StreamARN"])["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"]) == (3, 24)
    assert name in kinesis.list_streams()["StreamNames"]
    assert error(kinesis.create_stream, StreamName=name, ShardCount=1)[0] == "ResourceInUseException"
    kinesis.delete_stream(StreamName=name)
    assert error(kinesis.describe_stream, StreamName=name)[0] == "ResourceNotFoundException"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    assert read(kinesis, iterator(kinesis, name)) == []


def test_streams_and_shards_are_listed_in_pages(kinesis: Any) -> None:
    names = sorted(f"page-{number}" for number in range(5))
    for name in names:
        kinesis.create_stream(StreamName=name, ShardCount=5)
    pages = list(kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2}))
    assert len(pages) > 2
    assert [name for page in pages for name in page["StreamNames"] if name.startswith("page-")] == names
    first = kinesis.list_shards(StreamName=names[0], MaxResults=3)
    rest = kinesis.list_shards(NextToken=first["NextToken"])
    assert [len(first["Shards"]), len(rest["Shards"])] == [3, 2]
    assert "NextToken" not in rest
    described = kinesis.describe_stream(StreamName=names[0], Limit=4)["StreamDescription"]
    assert described["HasMoreShards"]
    assert described["Shards"][-1]["ShardId"] == "shardId-000000000003"


def test_retention_tags_mode_and_record_size(kinesis: Any, stream: str) -> None:
    kinesis.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=48)
    code, message = error(kinesis.decrease_stream_retention_period, StreamName=stream, RetentionPeriodHours=72)
    assert code == "InvalidArgumentException"
    assert "RetentionPeriodHours 72" in message
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "b": "2", "c": "3"})
    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["b"])
    tags = kinesis.list_tags_for_stream(StreamName=stream, Limit=1)
    assert (tags["Tags"], tags["HasMoreTags"]) == ([{"Key": "a", "Value": "1"}], True)
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.tag_resource(ResourceARN=arn, Tags={"d": "4"})
    assert [tag["Key"] for tag in kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"]] == ["a", "c", "d"]
    too_large = {"StreamName": stream, "Data": b"x" * (1 << 20), "PartitionKey": "k"}
    assert "1024 KiB" in error(kinesis.put_record, **too_large)[1]
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    kinesis.put_record(**too_large)
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert (summary["RetentionPeriodHours"], summary["MaxRecordSizeInKiB"]) == (48, 2048)


@pytest.mark.parametrize(
    ("action", "request_", "named"),
    [
        (
            "register_stream_consumer",
            {"StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/x", "ConsumerName": "c"},
            "RegisterStreamConsumer",
        ),
        (
            "start_stream_encryption",
            {"StreamName": "x", "EncryptionType": "KMS", "KeyId": "k"},
            "StartStreamEncryption",
        ),
        ("create_stream", {"StreamName": "x", "ShardCount": 1, "WarmThroughputMiBps": 1}, "WarmThroughputMiBps"),
    ],
)
def test_what_is_not_done_is_refused_by_name(kinesis: Any, action: str, request_: dict[str, Any], named: str) -> None:
    code, message = error(getattr(kinesis, action), **request_)
    assert code == "NotImplemented"
    assert named in message


# ------------------------------------------------------------------------------------------------------------- putting


def test_records_go_to_the_shard_of_the_md5_of_their_key(kinesis: Any, stream: str) -> None:
    for number in range(20):
        key = f"customer {number}"
        expected = int(hashlib.md5(key.encode()).hexdigest(), 16) >= HALF
        answer = kinesis.put_record(StreamName=stream, Data=b"", PartitionKey=key)
        assert answer["ShardId"] == f"shardId-{expected:012}"
    assert put(kinesis, stream, [b""], hash_key=HALF - 1)[0]["ShardId"].endswith("0")
    assert put(kinesis, stream, [b""], hash_key=HALF)[0]["ShardId"].endswith("1")


def test_sequence_numbers_rise_strictly_in_the_order_of_the_batch(kinesis: Any, stream: str) -> None:
    answers = [answer for _ in range(3) for answer in put(kinesis, stream, [b"%d" % number for number in range(50)])]
    for shard in range(2):
        numbers = [int(answer["SequenceNumber"]) for answer in answers if answer["ShardId"].endswith(str(shard))]
        assert len(numbers) > 10
        assert numbers == sorted(set(numbers))
        records = kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard))["Records"]
        assert [int(record["SequenceNumber"]) for record in records] == numbers
    assert len({answer["SequenceNumber"] for answer in answers}) == 150


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"Data": b"", "PartitionKey": "k"}] * 501, "1 to 500"),
        ([{"Data": b"x" * (1 << 20), "PartitionKey": "k"}], "1024 KiB"),
        ([{"Data": b"x" * 1_000_000, "PartitionKey": "k"}] * 11, "takes 10485760"),
        ([{"Data": b"", "PartitionKey": "k" * 257}], "PartitionKey must be 1 to 256"),
        ([{"Data": b"", "PartitionKey": "k", "ExplicitHashKey": str(1 << 128)}], "a hash key is a number"),
    ],
)
def test_a_batch_over_the_limits_is_refused_whole(
    kinesis: Any, stream: str, records: list[dict[str, Any]], message: str
) -> None:
    assert message in error(kinesis.put_records, StreamName=stream, Records=records)[1]
    assert [read(kinesis, iterator(kinesis, stream, shard)) for shard in range(2)] == [[], []]


def test_a_limited_shard_fails_a_part_of_a_batch(kinesis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "10")
    name = next(_names)
    kinesis.create_stream(StreamName=name, ShardCount=2)
    records = [
        {"Data": b"%d" % number, "PartitionKey": "k", "ExplicitHashKey": str(HALF * (number % 2))}
        for number in range(60)
    ]
    first = kinesis.put_records(StreamName=name, Records=records)
    assert first["FailedRecordCount"] >= 30
    done: list[bytes] = []
    while records:
        answers = kinesis.put_records(StreamName=name, Records=records)["Records"]
        for record, answer in zip(records, answers, strict=True):
            if "ErrorCode" in answer:
                assert answer["ErrorCode"] == "ProvisionedThroughputExceededException"
                assert f"stream {name}" in answer["ErrorMessage"]
            else:
                done.append(record["Data"])
        records = [record for record, answer in zip(records, answers, strict=True) if "ErrorCode" in answer][:15]
        time.sleep(0.2)
    stored = [data for shard in range(2) for data in read(kinesis, iterator(kinesis, name, shard))]
    accepted = sum("ErrorCode" not in answer for answer in first["Records"])
    assert len(stored) == accepted + len(done)


def test_throughput_is_refilled_and_counts_bytes() -> None:
    throughput = Throughput(100)
    assert sum(throughput.take(1, now=0.0) for _ in range(150)) == 100
    assert sum(throughput.take(1, now=0.5) for _ in range(150)) == 50
    assert throughput.take(100 << 10, now=2.0)
    assert not throughput.take(10 << 10, now=2.0)


def test_a_wrong_limit_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(LIMIT, "fast")
    with pytest.raises(ValueError, match=f"{LIMIT}=fast: write records per second"):
        Stream.create(tmp_path / "s", 1, Definition(created=0))


# ------------------------------------------------------------------------------------------------------------- reading


def test_iterators_of_all_types(kinesis: Any, stream: str) -> None:
    numbers = [put(kinesis, stream, [data], hash_key=0)[0]["SequenceNumber"] for data in (b"a", b"b")]
    latest = iterator(kinesis, stream, kind="LATEST")
    time.sleep(0.005)
    middle = dt.datetime.now(dt.UTC)
    put(kinesis, stream, [b"c"], hash_key=0)
    assert read(kinesis, iterator(kinesis, stream)) == [b"a", b"b", b"c"]
    assert read(kinesis, latest) == [b"c"]
    assert read(kinesis, iterator(kinesis, stream, kind="AT_TIMESTAMP", Timestamp=middle)) == [b"c"]
    at, after = "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"
    assert read(kinesis, iterator(kinesis, stream, kind=at, StartingSequenceNumber=numbers[1])) == [b"b", b"c"]
    assert read(kinesis, iterator(kinesis, stream, kind=after, StartingSequenceNumber=numbers[1])) == [b"c"]
    starting = shards(kinesis, stream)[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    assert read(kinesis, iterator(kinesis, stream, kind=at, StartingSequenceNumber=starting)) == [b"a", b"b", b"c"]
    foreign = {"StreamName": stream, "ShardId": "shardId-000000000001", "ShardIteratorType": at}
    code, message = error(kinesis.get_shard_iterator, **foreign, StartingSequenceNumber=numbers[0])
    assert code == "InvalidArgumentException"
    assert "is not a sequence number of shardId-000000000001" in message


def test_a_page_says_how_far_it_is_behind(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, [b"%d" % number for number in range(5)], hash_key=0)
    time.sleep(0.01)
    page = kinesis.get_records(ShardIterator=iterator(kinesis, stream), Limit=3)
    assert [record["Data"] for record in page["Records"]] == [b"0", b"1", b"2"]
    assert page["MillisBehindLatest"] >= 10
    age = dt.datetime.now(dt.UTC) - page["Records"][0]["ApproximateArrivalTimestamp"]
    assert dt.timedelta(0) <= age < dt.timedelta(minutes=1)
    rest = kinesis.get_records(ShardIterator=page["NextShardIterator"])
    assert ([record["Data"] for record in rest["Records"]], rest["MillisBehindLatest"]) == ([b"3", b"4"], 0)
    empty = kinesis.get_records(ShardIterator=rest["NextShardIterator"])
    assert (empty["Records"], empty["MillisBehindLatest"]) == ([], 0)


def test_a_page_is_at_most_ten_mebibytes(kinesis: Any, stream: str) -> None:
    for number in range(3):
        put(kinesis, stream, [b"%d" % number * 900_000] * 5, hash_key=0)
    page = kinesis.get_records(ShardIterator=iterator(kinesis, stream))
    assert len(page["Records"]) == 11
    assert len(read(kinesis, page["NextShardIterator"])) == 4


def test_an_iterator_expires_and_goes_with_its_stream(
    kinesis: Any, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = iterator(kinesis, stream)
    monkeypatch.setattr("local.aws.kinesis.ITERATOR_SECONDS", -1)
    assert error(kinesis.get_records, ShardIterator=position)[0] == "ExpiredIteratorException"
    monkeypatch.undo()
    kinesis.delete_stream(StreamName=stream)
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    assert error(kinesis.get_records, ShardIterator=position)[0] == "ResourceNotFoundException"
    assert error(kinesis.get_records, ShardIterator="nonsense")[0] == "InvalidArgumentException"


# ---------------------------------------------------------------------------------------------------------- resharding


def drain(kinesis: Any, stream: str) -> list[bytes]:
    """All records, children after their parents, by following ChildShards."""
    todo = [shard["ShardId"] for shard in shards(kinesis, stream) if "ParentShardId" not in shard]
    parents: dict[str, set[str]] = {}
    data: list[bytes] = []
    closed: set[str] = set()
    while todo:
        shard = todo.pop(0)
        position: str | None = iterator(kinesis, stream, int(shard[-12:]))
        while position:
            page = kinesis.get_records(ShardIterator=position)
            data += [record["Data"] for record in page["Records"]]
            position = page.get("NextShardIterator") if page["Records"] or "ChildShards" in page else None
        closed.add(shard)
        for child in page.get("ChildShards", []):
            parents[child["ShardId"]] = set(child["ParentShards"])
            if parents[child["ShardId"]] <= closed and child["ShardId"] not in todo:
                todo.append(child["ShardId"])
    return data


def test_split_and_merge_keep_every_record_in_order(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, [b"0 a", b"0 b"], hash_key=0)
    kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey="1000")
    put(kinesis, stream, [b"1 a"], hash_key=0)
    put(kinesis, stream, [b"1 b"], hash_key=1000)
    kinesis.merge_shards(
        StreamName=stream, ShardToMerge="shardId-000000000002", AdjacentShardToMerge="shardId-000000000003"
    )
    put(kinesis, stream, [b"2 a"], hash_key=1000)
    known = {shard["ShardId"]: shard for shard in shards(kinesis, stream)}
    assert known["shardId-000000000002"]["ParentShardId"] == "shardId-000000000000"
    merged = known["shardId-000000000004"]
    assert (merged["ParentShardId"], merged["AdjacentParentShardId"]) == (
        "shardId-000000000002",
        "shardId-000000000003",
    )
    assert merged["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(HALF - 1)}
    ending = [shard for shard, facts in known.items() if "EndingSequenceNumber" in facts["SequenceNumberRange"]]
    assert ending == ["shardId-000000000000", "shardId-000000000002", "shardId-000000000003"]
    numbers = [
        int(record["SequenceNumber"])
        for shard in (0, 2, 4)
        for record in kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard))["Records"]
    ]
    assert numbers == sorted(numbers)
    assert [data[:1] for data in drain(kinesis, stream)] == [b"0", b"0", b"1", b"1", b"2"]
    for request, message in (
        ({"ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "5"}, "is closed"),
        ({"ShardToSplit": "shardId-000000000004", "NewStartingHashKey": "0"}, "must be above 0"),
    ):
        assert message in error(kinesis.split_shard, StreamName=stream, **request)[1]


def test_the_shard_count_is_updated_to_equal_shares(kinesis: Any, stream: str) -> None:
    data = [b"%d" % number for number in range(40)]
    for count, batch in ((4, data[:10]), (3, data[10:20]), (2, data[20:30]), (1, data[30:])):
        put(kinesis, stream, batch)
        answer = kinesis.update_shard_count(StreamName=stream, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        assert answer["TargetShardCount"] == count
        now = shards(kinesis, stream, ShardFilter={"Type": "AT_LATEST"})
        starts = sorted(int(shard["HashKeyRange"]["StartingHashKey"]) for shard in now)
        assert starts == [(1 << 128) * number // count for number in range(count)]
    assert sorted(drain(kinesis, stream)) == sorted(data)
    code, message = error(
        kinesis.update_shard_count, StreamName=stream, TargetShardCount=3, ScalingType="UNIFORM_SCALING"
    )
    assert code == "LimitExceededException"
    assert "at most double the 1 shards" in message


def test_shards_are_filtered_by_time(kinesis: Any, stream: str) -> None:
    time.sleep(0.002)
    before = dt.datetime.now(dt.UTC)
    time.sleep(0.002)
    kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey="7")

    def ids(**wanted: Any) -> list[int]:
        return [int(shard["ShardId"][-12:]) for shard in shards(kinesis, stream, ShardFilter=wanted)]

    assert ids(Type="AT_LATEST") == [1, 2, 3]
    assert ids(Type="AT_TIMESTAMP", Timestamp=before) == [0, 1]
    assert ids(Type="FROM_TIMESTAMP", Timestamp=before) == [0, 1, 2, 3]
    assert ids(Type="AT_TRIM_HORIZON") == [0, 1]
    assert ids(Type="AFTER_SHARD_ID", ShardId="shardId-000000000001") == [2, 3]


# ------------------------------------------------------------------------------------------------- protocols, metrics


def test_cbor_as_other_sdks_speak_it(server: Server, kinesis: Any, stream: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=30)

    def ask(action: str, request: dict[str, Any]) -> tuple[int, Any]:
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, Signature=b",
            "Content-Type": "application/x-amz-cbor-1.1",
            "X-Amz-Target": f"Kinesis_20131202.{action}",
        }
        connection.request("POST", "/", cbor.encode(request, ticks=1000), headers)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/x-amz-cbor-1.1"
        return response.status, cbor.decode(response.read(), ticks=1000)

    status, placed = ask("PutRecord", {"StreamName": stream, "Data": b"\x00\xff", "PartitionKey": "é"})
    assert status == 200
    where = {"StreamName": stream, "ShardId": placed["ShardId"], "ShardIteratorType": "AT_TIMESTAMP"}
    _, found = ask("GetShardIterator", {**where, "Timestamp": Timestamp(time.time() - 60)})
    _, page = ask("GetRecords", {"ShardIterator": found["ShardIterator"]})
    (record,) = page["Records"]
    assert (record["Data"], record["PartitionKey"]) == (b"\x00\xff", "é")
    assert isinstance(record["ApproximateArrivalTimestamp"], Timestamp)
    assert abs(record["ApproximateArrivalTimestamp"] - time.time()) < 60
    status, refusal = ask("DescribeStream", {"StreamName": "missing"})
    assert (status, refusal["__type"]) == (400, "ResourceNotFoundException")
    connection.close()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_cbor_reads_what_it_wrote(value: Any) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(values, st.data())
def test_cbor_that_ends_early_is_an_error(value: Any, data: st.DataObject) -> None:
    written = cbor.encode([value])
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(ValueError, match="end in the middle"):
        cbor.decode(written[:cut])


def statistics(namespace: str, metric: str, name: str, **request: Any) -> dict[str, float]:
    now = dt.datetime.now(dt.UTC)
    dimension = "StreamName" if namespace == "AWS/Kinesis" else "DeliveryStreamName"
    points = client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": dimension, "Value": name}],
        StartTime=now - dt.timedelta(minutes=10),
        EndTime=now + dt.timedelta(seconds=1),
        Period=3600,
        Statistics=["Sum", "Maximum", "SampleCount"],
    )["Datapoints"]
    return {
        "sum": sum(point["Sum"] for point in points),
        "maximum": max((point["Maximum"] for point in points), default=-1.0),
    }


def test_metrics_count_what_was_put(kinesis: Any, stream: str) -> None:
    put(kinesis, stream, [b"12345"] * 7)
    kinesis.put_record(StreamName=stream, Data=b"123", PartitionKey="k")
    assert statistics("AWS/Kinesis", "IncomingRecords", stream)["sum"] == 8
    assert statistics("AWS/Kinesis", "IncomingBytes", stream)["sum"] == 38
    answer = client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": "records",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/Kinesis",
                        "MetricName": "IncomingRecords",
                        "Dimensions": [{"Name": "StreamName", "Value": stream}],
                    },
                    "Period": 86400,
                    "Stat": "Sum",
                },
            }
        ],
        StartTime=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1),
        EndTime=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1),
    )["MetricDataResults"]
    assert [(result["Id"], sum(result["Values"]), result["StatusCode"]) for result in answer] == [
        ("records", 8.0, "Complete")
    ]
    listed = client("cloudwatch").list_metrics(Namespace="AWS/Kinesis", MetricName="IncomingRecords")["Metrics"]
    assert {"Name": "StreamName", "Value": stream} in [metric["Dimensions"][0] for metric in listed]


def test_the_iterator_age_is_that_of_the_consumer_that_is_furthest_behind(kinesis: Any, stream: str) -> None:
    placed = put(kinesis, stream, [b"a"], hash_key=0)[0]
    time.sleep(0.05)
    name = "GetRecords.IteratorAgeMilliseconds"
    assert statistics("AWS/Kinesis", name, stream)["maximum"] == -1.0  # there is no consumer
    consumer = kinesis_shards.open_stream(stream).checkpoints("consumer")
    consumer.put("shardId-000000000001", shards(kinesis, stream)[1]["SequenceNumberRange"]["StartingSequenceNumber"])
    assert statistics("AWS/Kinesis", name, stream)["maximum"] >= 50
    consumer.put("shardId-000000000000", placed["SequenceNumber"])
    assert statistics("AWS/Kinesis", name, stream)["maximum"] == 0


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"Namespace": "AWS/EC2"}, "AWS/EC2"),
        ({"MetricName": "Nonsense"}, "Nonsense"),
        ({"ExtendedStatistics": ["p99"]}, "ExtendedStatistics"),
        ({"Dimensions": []}, "StreamName"),
    ],
)
def test_unknown_metrics_are_refused_by_name(server: Server, request_: dict[str, Any], named: str) -> None:
    plain: dict[str, Any] = {
        "Namespace": "AWS/Kinesis",
        "MetricName": "IncomingRecords",
        "Dimensions": [{"Name": "StreamName", "Value": "x"}],
        "StartTime": dt.datetime(2026, 1, 1),
        "EndTime": dt.datetime(2026, 1, 2),
        "Period": 60,
        "Statistics": ["Sum"],
    }
    code, message = error(client("cloudwatch").get_metric_statistics, **{**plain, **request_})
    assert code == "NotImplemented"
    assert named in message


# ------------------------------------------------------------------------------------------- consumers inside the stack


def make(folder: Path, shard_count: int = 1, **options: Any) -> Stream:
    Stream.create(folder, shard_count, Definition(created=time.time())).close()
    return Stream(folder, **options)


def entries(*data: bytes, hash_key: int = 0) -> list[tuple[bytes, bytes, int]]:
    return [(b"key", each, hash_key) for each in data]


def test_a_consumer_waits_for_records_and_sees_each_once(tmp_path: Path) -> None:
    stream = make(tmp_path / "s", 2)
    seen: list[bytes] = []
    checkpoints = stream.checkpoints("reader")

    def consume() -> None:
        while len(seen) < 200:
            change = stream.change
            for shard in stream.shards():
                while records := stream.read(shard.shard_id, checkpoints.get(shard.shard_id), limit=7):
                    seen.extend(record.data for record in records)
                    checkpoints.put(shard.shard_id, records[-1].sequence_number)
            if len(seen) < 200:
                stream.wait(change, 10)

    reader = threading.Thread(target=consume)
    reader.start()
    for number in range(100):
        stream.put(entries(b"low %d" % number) + entries(b"high %d" % number, hash_key=HALF))
    stream.wake()
    reader.join(30)
    assert sorted(seen) == sorted(b"%s %d" % (side, number) for side in (b"low", b"high") for number in range(100))
    for side in (b"low", b"high"):
        assert [data for data in seen if data.startswith(side)] == [b"%s %d" % (side, number) for number in range(100)]
    assert Stream(tmp_path / "s").checkpoints("reader").get("shardId-000000000000") == checkpoints.get(
        "shardId-000000000000"
    )


def test_waiting_ends_with_the_stream(tmp_path: Path) -> None:
    stream = make(tmp_path / "s")
    change = stream.change
    assert stream.wait(change, 0.01) == change
    threading.Timer(0.05, stream.end).start()
    with pytest.raises(StreamGoneError, match="s was deleted"):
        stream.wait(change, 30)
    with pytest.raises(StreamGoneError):
        stream.put(entries(b"late"))


def test_a_closed_shard_is_drained_after_its_last_record(tmp_path: Path) -> None:
    stream = make(tmp_path / "s")
    first, last = stream.put(entries(b"a", b"b"))
    assert isinstance(first, Placed)
    assert isinstance(last, Placed)
    assert not stream.drained(last.shard_id, last.sequence_number)
    stream.split(last.shard_id, 10)
    assert not stream.drained(last.shard_id, first.sequence_number)
    assert stream.drained(last.shard_id, last.sequence_number)
    assert [shard.parents for shard in stream.shards()] == [(), (last.shard_id,), (last.shard_id,)]
    with pytest.raises(SequenceNumberError, match="not a sequence number of shardId-000000000001"):
        stream.read("shardId-000000000001", last.sequence_number)


def test_retention_takes_old_records_files_and_shards(tmp_path: Path) -> None:
    now = [time.time()]
    stream = make(tmp_path / "s", clock=lambda: now[0], segment_bytes=1000)
    stream.put(entries(*[b"old" * 50] * 20))
    stream.put(entries(b"old, same file as the next"))
    now[0] += 3600
    stream.put(entries(b"new"))
    shard = "shardId-000000000000"
    assert len(stream.read(shard, None)) == 22
    now[0] += 23.5 * 3600
    assert [record.data for record in stream.read(shard, None)] == [b"new"]
    stream.split(shard, 10)
    assert len(stream.shards()) == 3
    assert len(list((tmp_path / "s" / shard).glob("*.log"))) == 1
    now[0] += 25 * 3600
    assert [left.parents for left in stream.shards()] == [(), ()]
    assert stream.drained(shard, None)
    assert not (tmp_path / "s" / shard).exists()
    assert len(Stream(tmp_path / "s", clock=lambda: now[0]).shards()) == 2


def test_a_log_cut_short_loses_only_what_was_not_answered(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", segment_bytes=200)
    sizes = []
    for number in range(6):
        log.append([(b"k", b"%d" % number * 60), (b"", b"")], now=float(number))
        last = max((tmp_path / "log").glob("*.log"))
        sizes.append((last, last.stat().st_size))
    log.close()
    file, whole = sizes[-1]
    start = sizes[-2][1] if sizes[-2][0] == file else 0
    for cut in range(start, whole):
        os.truncate(file, whole)
        content = file.read_bytes()
        os.truncate(file, cut)
        reopened = Log(tmp_path / "log", segment_bytes=200)
        assert [entry.data[:1] for entry in reopened.read(1, 100, 1 << 20)][::2] == [b"%d" % n for n in range(5)]
        assert reopened.next == 11
        file.write_bytes(content)
    damaged = bytearray(content)
    damaged[-1] ^= 1
    file.write_bytes(bytes(damaged))
    reopened = Log(tmp_path / "log", segment_bytes=200)
    assert reopened.append([(b"k", b"again")]) == 11
    assert reopened.read(11, 10, 1000)[0].data == b"again"


@given(
    st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(0, 40),
    st.integers(1, 9),
)
def test_a_log_reads_what_was_appended_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], start: int, limit: int
) -> None:
    log = Log(tmp_path_factory.mktemp("log") / "log", segment_bytes=150)
    everything = [data for batch in batches for data in batch]
    for batch in batches:
        log.append([(b"k", data) for data in batch])
    expected = [(number + 1, data) for number, data in enumerate(everything)][max(start - 1, 0) :][:limit]
    assert [(entry.ordinal, entry.data) for entry in log.read(start, limit, 1 << 20)] == expected
    reopened = Log(log.folder, segment_bytes=150)
    assert [entry.data for entry in reopened.read(1, 1000, 1 << 20)] == everything


# ---------------------------------------------------------------------------------------------------------- durability


_SERVER = """
import sys, threading
from pathlib import Path
from local.aws.server import Server
from local.aws.settings import Settings
print(Server(Settings(Path(sys.argv[1]), 0)).start().settings.endpoint, flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def endpoint(state: Path) -> Iterator[Any]:
    """A Kinesis client of an endpoint that is killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", _SERVER, str(state)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        yield boto3.client("kinesis", endpoint_url=address, region_name="us-east-1", config=ONCE, **keys)
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.mark.long
def test_an_answered_put_survives_a_kill(tmp_path: Path) -> None:
    answered: dict[str, bytes] = {}

    def produce(kinesis: Any) -> None:
        for batch in itertools.count():
            data = [b"%d %d" % (batch, number) for number in range(100)]
            try:
                answers = put(kinesis, "durable", data)
            except (BotoCoreError, ClientError):  # the endpoint was killed
                return
            answered.update({answer["SequenceNumber"]: each for answer, each in zip(answers, data, strict=True)})

    with endpoint(tmp_path / "state") as kinesis:
        kinesis.create_stream(StreamName="durable", ShardCount=2)
        shard = "shardId-000000000001"
        kinesis.split_shard(StreamName="durable", ShardToSplit=shard, NewStartingHashKey=str(HALF + 9))
        producer = threading.Thread(target=produce, args=(kinesis,))
        producer.start()
        while len(answered) < 2000:
            time.sleep(0.01)
    producer.join(60)
    with endpoint(tmp_path / "state") as kinesis:
        found = {}
        for number in range(4):
            position = iterator(kinesis, "durable", number)
            while (page := kinesis.get_records(ShardIterator=position))["Records"]:
                found.update({record["SequenceNumber"]: record["Data"] for record in page["Records"]})
                position = page.get("NextShardIterator")
        (placed,) = put(kinesis, "durable", [b"after"], hash_key=0)
    assert answered.items() <= found.items()
    assert len(found) <= len(answered) + 100
    assert int(placed["SequenceNumber"]) not in map(int, found)


# ------------------------------------------------------------------------------------------------------ CloudFormation


def deploy(template: dict[str, Any], name: str) -> None:
    client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


def test_a_template_creates_a_stream(kinesis: Any) -> None:
    name = next(_names)
    properties = {
        "Name": name,
        "ShardCount": "2",
        "RetentionPeriodHours": 48,
        "Tags": [{"Key": "team", "Value": "web"}],
    }
    template = {
        "Resources": {"Stream": {"Type": "AWS::Kinesis::Stream", "Properties": properties}},
        "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Stream", "Arn"]}}},
    }
    deploy(template, "streams")
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"]) == (2, 48)
    described = client("cloudformation").describe_stacks(StackName="streams")["Stacks"][0]
    assert described["Outputs"][0]["OutputValue"] == summary["StreamARN"]
    put(kinesis, name, [b"kept"], hash_key=0)
    # A later start of the local stack deploys the same template on what is there, and undoes it when it fails.
    broken = {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": f"{name}-x", "Nonsense": 1}}
    with pytest.raises(ClientError, match="Nonsense"):
        deploy({"Resources": {**template["Resources"], "Wrong": {**broken, "DependsOn": "Stream"}}}, "broken")
    assert read(kinesis, iterator(kinesis, name)) == [b"kept"]
    client("cloudformation").delete_stack(StackName="streams")
    assert name not in kinesis.list_streams(Limit=1000)["StreamNames"]
