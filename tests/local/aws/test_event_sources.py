import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from local.aws import event_source_batches, event_sources
from local.aws.server import Server
from local.aws.settings import REGION, Settings
from tests.local.aws import functions
from tests.local.aws.functions import Call, Ear, aws, create, new_queue, receive

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("mappings") / "state", 0)).start()
    yield started
    started.stop()


@pytest.fixture
def ear(server: Server) -> Iterator[Ear]:
    listening = Ear()
    yield listening
    listening.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_source_batches, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of the test's own, whose mappings and functions go with it."""
    own = request.node.originalname.removeprefix("test_")[:60]
    yield own
    for mapping in aws("lambda").list_event_source_mappings()["EventSourceMappings"]:
        aws("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    for function in aws("lambda").list_functions()["Functions"]:
        aws("lambda").delete_function(FunctionName=function["FunctionName"])


def new_stream(name: str, shards: int = 1) -> str:
    aws("kinesis").create_stream(StreamName=name, ShardCount=shards)
    aws("kinesis").get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return aws("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]


def put(stream: str, *data: str, key: str | None = None) -> list[dict[str, Any]]:
    records = [{"Data": one.encode(), "PartitionKey": key or one} for one in data]
    return aws("kinesis").put_records(StreamName=stream, Records=records)["Records"]


def mapped(name: str, source: str, ear: Ear, **request: Any) -> dict[str, Any]:
    """A function that asks, and a mapping to it."""
    create(name, environment=ear.environment, Timeout=20)
    start = {"StartingPosition": "TRIM_HORIZON"} if ":kinesis:" in source else {}
    return aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=source, **{**start, **request})


# ------------------------------------------------------------------------------------------------------------- Kinesis


def test_batches_have_the_records_in_order(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put_ = put(name, *"abcde", key="k")
    mapped(name, arn, ear, BatchSize=3)
    first = ear.hear()
    assert first.data == ["a", "b", "c"]
    assert ear.silent(0.1)  # one batch of a shard at a time
    record = first.records[0]
    sequence = put_[0]["SequenceNumber"]
    assert record["kinesis"]["sequenceNumber"] == sequence
    assert record["kinesis"]["partitionKey"] == "k"
    assert abs(record["kinesis"]["approximateArrivalTimestamp"] - time.time()) < 60
    assert record["eventID"] == f"shardId-000000000000:{sequence}"
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:kinesis", arn)
    first.succeed()
    second = ear.hear()
    assert second.data == ["d", "e"]
    second.succeed()
    put(name, "f")
    third = ear.hear()
    assert third.data == ["f"]
    third.succeed()


def test_a_window_waits_for_a_full_batch(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    mapped(name, arn, ear, BatchSize=4, MaximumBatchingWindowInSeconds=1)
    put(name, "a")
    put(name, "b")
    began = time.monotonic()
    call = ear.hear()
    assert call.data == ["a", "b"]
    assert time.monotonic() - began > 0.5
    call.succeed()
    put(name, *"cdef")  # full: nothing to wait for
    call = ear.hear()
    assert call.data == ["c", "d", "e", "f"]
    call.succeed()


def test_latest_begins_with_what_is_put_afterwards(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "before")
    mapped(name, arn, ear, StartingPosition="LATEST")
    put(name, "after")
    call = ear.hear()
    assert call.data == ["after"]
    call.succeed()


def test_at_timestamp_begins_there(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "before")
    time.sleep(0.05)
    moment = time.time()
    time.sleep(0.05)
    put(name, "after")
    mapped(name, arn, ear, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=moment)
    call = ear.hear()
    assert call.data == ["after"]
    call.succeed()


def test_a_batch_that_fails_blocks_its_shard(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "a", "b")
    mapped(name, arn, ear)
    ear.hear().fail()
    put(name, "c")
    for _ in range(3):
        call = ear.hear()
        assert call.data == ["a", "b"]
        call.fail()
    call = ear.hear()
    call.succeed()
    call = ear.hear()
    assert call.data == ["c"]
    call.succeed()


def test_a_worker_that_is_killed_gets_the_batch_again(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "a", "b")
    mapped(name, arn, ear)
    call = ear.hear()
    os.kill(call.pid, signal.SIGKILL)
    again = ear.hear()
    assert again.data == call.data
    assert again.pid != call.pid
    again.succeed()
    assert ear.silent()


def test_a_partial_failure_comes_again_from_the_first_failed_record(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put_ = put(name, *"abcd", key="k")
    mapped(name, arn, ear, FunctionResponseTypes=["ReportBatchItemFailures"])
    ear.hear().report(put_[3]["SequenceNumber"], put_[1]["SequenceNumber"])
    again = ear.hear()
    assert again.data == ["b", "c", "d"]
    again.report()
    put(name, "e")
    call = ear.hear()
    assert call.data == ["e"]
    call.succeed()


def test_bisection_isolates_a_poisonous_record(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    url, queue = new_queue(name)
    put_ = put(name, *"abcdpefg", key="k")
    function = mapped(
        name,
        arn,
        ear,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )["FunctionArn"]
    done: list[str] = []
    poisonous = 0
    while len(done) < 7:
        call = ear.hear()
        if "p" in call.data:
            poisonous += call.data == ["p"]
            call.fail()
        else:
            done += call.data
            call.succeed()
    assert done == list("abcdefg")
    assert poisonous == 2
    told = json.loads(receive(url)["Body"])
    sequence = put_[4]["SequenceNumber"]
    assert told["requestContext"]["functionArn"] == function
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["requestContext"]["approximateInvokeCount"] == 2
    assert told["responseContext"]["functionError"] == "Unhandled"
    info = told["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (sequence, sequence, 1)
    assert (info["shardId"], info["streamArn"]) == ("shardId-000000000000", arn)
    assert ear.silent()


def test_a_bucket_is_given_the_records_too(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    aws("s3").create_bucket(Bucket="given-up")
    put(name, "a")
    mapping = mapped(
        name,
        arn,
        ear,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::given-up"}},
    )
    ear.hear().fail()
    put(name, "b")
    call = ear.hear()
    call.succeed()
    (found,) = aws("s3").list_objects_v2(Bucket="given-up")["Contents"]
    assert found["Key"].startswith(f"aws/lambda/{mapping['UUID']}/shardId-000000000000/")
    told = json.loads(aws("s3").get_object(Bucket="given-up", Key=found["Key"])["Body"].read())
    assert Call({**json.loads(told["payload"])}, 0, None).data == ["a"]  # type: ignore[arg-type]


def test_what_is_given_up_waits_for_a_destination_that_is_gone(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    url, queue = new_queue(name)
    put(name, "a", "b")
    mapped(name, arn, ear, BatchSize=1, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": queue}})
    call = ear.hear()
    aws("sqs").delete_queue(QueueUrl=url)
    call.fail()
    assert ear.silent()
    new_queue(name)
    assert json.loads(receive(url)["Body"])["KinesisBatchInfo"]["batchSize"] == 1
    call = ear.hear()
    assert call.data == ["b"]
    call.succeed()


def test_filters_leave_records_out(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    pattern = json.dumps({"data": {"kind": ["order"], "lines": [{"numeric": [">", 1]}]}})
    put(
        name,
        *(json.dumps(event) for event in ({"kind": "order", "lines": 2}, {"kind": "order", "lines": 1})),
        "no JSON",
    )
    mapped(name, arn, ear, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    call = ear.hear()
    assert [json.loads(data)["lines"] for data in call.data] == [2]
    call.succeed()
    put(name, json.dumps({"kind": "order", "lines": 3}))
    call = ear.hear()
    assert [json.loads(data)["lines"] for data in call.data] == [3]
    call.succeed()


def test_a_partition_key_stays_in_its_lane(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    mapped(name, arn, ear, ParallelizationFactor=4, BatchSize=1)
    records = [{"Data": f"{key}{turn}".encode(), "PartitionKey": key} for turn in range(3) for key in "abcdefgh"]
    aws("kinesis").put_records(StreamName=name, Records=records)
    calls = [ear.hear(), ear.hear()]  # two lanes at a time
    seen: dict[str, list[str]] = {}
    while calls:
        call = calls.pop()
        for data in call.data:
            seen.setdefault(data[0], []).append(data)
        call.succeed()
        if not calls and sum(map(len, seen.values())) < len(records):
            calls.append(ear.hear())
    assert seen == {key: [f"{key}{turn}" for turn in range(3)] for key in "abcdefgh"}


def test_children_are_read_after_their_parents(name: str, ear: Ear) -> None:
    arn = new_stream(name, 2)
    keys = ("a", "bb", "ccc", "0", "zz9", "q")
    mapped(name, arn, ear, BatchSize=2)
    kinesis = aws("kinesis")

    def put_all(turn: int) -> None:
        records = [{"Data": f"{key}:{turn}".encode(), "PartitionKey": key} for key in keys]
        assert kinesis.put_records(StreamName=name, Records=records)["FailedRecordCount"] == 0

    put_all(0)
    for turn, count in ((1, 4), (2, 2), (3, 1)):
        kinesis.update_shard_count(StreamName=name, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        put_all(turn)
    seen: dict[str, list[int]] = {key: [] for key in keys}
    failed: set[str] = set()
    while sum(map(len, seen.values())) < 4 * len(keys):
        call = ear.hear()
        shard = call.records[0]["eventID"].partition(":")[0]
        if shard not in failed:  # each shard's first batch is tried again
            failed.add(shard)
            call.fail()
            continue
        for data in call.data:
            key, _, turn_ = data.partition(":")
            seen[key].append(int(turn_))
        call.succeed()
    assert seen == {key: [0, 1, 2, 3] for key in keys}
    assert len(failed) > 4


def test_a_mapping_rests_and_goes_on(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    uuid = mapped(name, arn, ear, BatchSize=1)["UUID"]
    put(name, "a")
    ear.hear().succeed()
    assert aws("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)["State"] == "Disabled"
    put(name, "b", "c")
    assert ear.silent()
    aws("lambda").update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=10)
    assert aws("lambda").get_event_source_mapping(UUID=uuid)["BatchSize"] == 10
    call = ear.hear()
    assert sorted(call.data) == ["b", "c"]
    call.succeed()


def test_a_mapping_that_was_deleted_begins_anew(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "a")
    mapping = mapped(name, arn, ear)
    with pytest.raises(ClientError, match=mapping["UUID"]) as caught:
        aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn, StartingPosition="LATEST")
    assert caught.value.response["Error"]["Code"] == "ResourceConflictException"
    ear.hear().succeed()
    aws("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    put(name, "b")
    assert ear.silent()
    aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn, StartingPosition="TRIM_HORIZON")
    call = ear.hear()
    assert call.data == ["a", "b"]
    call.succeed()


def test_a_mapping_whose_deployment_failed_leaves_its_position(name: str, ear: Ear) -> None:
    arn = new_stream(name)
    put(name, "a")
    uuid = mapped(name, arn, ear)["UUID"]
    ear.hear().succeed()
    put(name, "b")
    call = ear.hear()
    assert call.data == ["b"]
    event_sources.detach(uuid)
    call.fail()
    assert ear.silent()
    aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn, StartingPosition="TRIM_HORIZON")
    call = ear.hear()
    assert call.data == ["b"]
    call.succeed()


# -------------------------------------------------------------------------------------------- the stack dies at a batch

STACK = """
import signal, sys
from pathlib import Path
from local.aws.server import Server
from local.aws.settings import REGION, Settings
sys.stdin.readline()
server = Server(Settings(Path(sys.argv[1]), 0)).start()
print(server.settings.port, flush=True)
signal.pause()
"""


class Services:
    """The services of a stack in a process of its own, with a function that asks."""

    def __init__(self, process: "subprocess.Popen[str]", ear: Ear) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("start\n")
        process.stdin.flush()
        endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": REGION}
        iam, self.kinesis, self.functions = (
            boto3.client(service, endpoint_url=endpoint, **keys) for service in ("iam", "kinesis", "lambda")
        )
        self.functions.create_function(
            FunctionName="f",
            Runtime="python3.12",
            Role=iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"],
            Handler="module.handler",
            Code={"ZipFile": functions.zipped(module=functions.ASKING)},
            Environment={"Variables": ear.environment},
            Timeout=60,
        )

    def map(self) -> None:
        arn = self.kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
        self.functions.create_event_source_mapping(
            FunctionName="f", EventSourceArn=arn, StartingPosition="LATEST", BatchSize=1
        )


@pytest.mark.long
def test_a_killed_stack_delivers_the_batch_again(tmp_path: Path) -> None:
    ear = Ear()
    command = [sys.executable, "-c", STACK, str(tmp_path / "state")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    # Importing takes longer than all the rest, so both do it at the same time.
    killed, successor = (subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) for _ in range(2))
    try:
        before = Services(killed, ear)
        before.kinesis.create_stream(StreamName="s", ShardCount=1)
        before.kinesis.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1})
        before.map()
        for data in ("a", "b", "c"):
            before.kinesis.put_record(StreamName="s", Data=data.encode(), PartitionKey="k")
        ear.hear().succeed()
        call = ear.hear()
        assert call.data == ["b"]
        worker = psutil.Process(call.pid)
        killed.kill()
        killed.wait()
        gone, _ = psutil.wait_procs([worker], timeout=functions.PATIENCE)
        assert gone, "the worker outlives the stack"
        Services(successor, ear).map()
        for data in ("b", "c"):
            call = ear.hear()
            assert call.data == [data]
            call.succeed()
        assert ear.silent()
    finally:
        for process in (killed, successor):
            process.kill()
            process.communicate()
        ear.close()


# ----------------------------------------------------------------------------------------------------------------- SQS


def test_messages_are_deleted_once_they_are_done(name: str, ear: Ear) -> None:
    url, arn = new_queue(name)
    mapped(name, arn, ear)
    attributes = {"colour": {"DataType": "String", "StringValue": "red"}}
    sent = aws("sqs").send_message(QueueUrl=url, MessageBody="a", MessageAttributes=attributes)
    call = ear.hear()
    (record,) = call.records
    assert (record["messageId"], record["body"], record["md5OfBody"]) == (
        sent["MessageId"],
        "a",
        sent["MD5OfMessageBody"],
    )
    assert record["messageAttributes"]["colour"]["stringValue"] == "red"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:sqs", arn)
    assert counts(url) == (0, 1)
    call.succeed()
    until(lambda: counts(url) == (0, 0))


def test_only_messages_that_failed_come_again(name: str, ear: Ear) -> None:
    dead_url, dead = new_queue(f"{name}-dead")
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
    url, arn = new_queue(name, VisibilityTimeout="1", RedrivePolicy=policy)
    create(name, environment=ear.environment, Timeout=1)
    aws("lambda").create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=arn,
        MaximumBatchingWindowInSeconds=1,
        BatchSize=3,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    for body in "abc":
        aws("sqs").send_message(QueueUrl=url, MessageBody=body)
    call = ear.hear()
    assert sorted(call.bodies) == ["a", "b", "c"]
    call.report(*(record["messageId"] for record in call.records if record["body"] == "b"))
    again = ear.hear()
    assert again.bodies == ["b"]
    assert again.records[0]["attributes"]["ApproximateReceiveCount"] == "2"
    again.fail()
    assert receive(dead_url)["Body"] == "b"
    until(lambda: counts(url) == (0, 0))


def test_messages_that_no_filter_wants_are_deleted(name: str, ear: Ear) -> None:
    url, arn = new_queue(name)
    mapped(name, arn, ear, FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"ok": [True]}})}]})
    for body in ({"ok": False}, {"ok": True}):
        aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    call = ear.hear()
    assert call.bodies == ['{"ok": true}']
    call.succeed()
    until(lambda: counts(url) == (0, 0))


def counts(url: str) -> tuple[int, int]:
    """Messages that are visible, and that are not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(attributes[names[0]]), int(attributes[names[1]])


def until(holds: Any) -> None:
    deadline = time.monotonic() + functions.PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"TumblingWindowInSeconds": 30}, "TumblingWindowInSeconds"),
        ({"StartingPosition": "OLDEST"}, "StartingPosition OLDEST"),
        ({"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp"),
        ({"MaximumRecordAgeInSeconds": 10}, "MaximumRecordAgeInSeconds 10"),
        ({"ParallelizationFactor": 11}, "ParallelizationFactor 11"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:none"}}},
            "does not exist",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:kinesis:us-east-1:123456789012:stream/s"}}},
            "SQS, SNS",
        ),
        ({"FilterCriteria": {"Filters": [{"Pattern": '{"data": [{"like": "x"}]}'}]}}, "the operator like"),
        ({"EventSourceArn": "arn:aws:kinesis:us-east-1:123456789012:stream/none"}, "stream/none does not exist"),
        ({"EventSourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/1"}, "Kinesis streams and SQS"),
        ({"FunctionName": "nobody"}, "Function not found"),
    ],
)
def test_a_mapping_that_would_not_do_as_asked_is_refused(server: Server, request_: dict[str, Any], reason: str) -> None:
    stream = "refusing"
    if stream not in aws("kinesis").list_streams()["StreamNames"]:
        new_stream(stream)
        create("refused")
    arn = aws("kinesis").describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    request = {"FunctionName": "refused", "EventSourceArn": arn, "StartingPosition": "LATEST", **request_}
    with pytest.raises(ClientError, match=reason):
        aws("lambda").create_event_source_mapping(**request)
    assert aws("lambda").list_event_source_mappings()["EventSourceMappings"] == []


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"BatchSize": 11}, "MaximumBatchingWindowInSeconds"),
        ({"BisectBatchOnFunctionError": True}, "BisectBatchOnFunctionError"),
        ({"ScalingConfig": {"MaximumConcurrency": 1001}}, "MaximumConcurrency"),
    ],
)
def test_a_mapping_of_a_queue_that_would_not_do_as_asked_is_refused(
    name: str, request_: dict[str, Any], reason: str
) -> None:
    create(name)
    _, arn = new_queue(name)
    with pytest.raises(ClientError, match=reason):
        aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn, **request_)


def test_a_queue_must_hide_messages_for_as_long_as_the_function_runs(name: str, server: Server) -> None:
    create(name, Timeout=31)
    _, arn = new_queue(name)
    with pytest.raises(ClientError, match="visibility timeout: 30 seconds is less than Function timeout: 31"):
        aws("lambda").create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
