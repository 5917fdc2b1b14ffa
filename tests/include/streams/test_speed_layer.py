"""The speed layer over the wire: streams, mappings, functions of a zip, tables, topic and queue."""

import io
import json
import time
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from itertools import islice

import boto3
import pytest

from include.streams import alarms, orders_to_history, state_items
from local.data import clickstream, order_lines
from local.data.order_lines import Burst
from tests.conftest import REPOSITORY
from tests.streams import client, contents, create_table, encoded

PATIENCE_SECONDS = 60
START = datetime.now(UTC) - timedelta(minutes=1)


def deployed_zip():
    """`include/streams`, as a deploy packs it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in [REPOSITORY / "include" / "__init__.py", *(REPOSITORY / "include" / "streams").glob("*.py")]:
            archive.write(file, file.relative_to(REPOSITORY))
    return packed.getvalue()


@pytest.fixture
def name(stack):
    return f"speed-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def resources(name):
    """Streams, tables, topic and queue; the functions' environment and the URL of the queue."""
    kinesis, dynamodb, sns, sqs = map(client, ("kinesis", "dynamodb", "sns", "sqs"))
    for stream in ("clicks", "orders"):
        kinesis.create_stream(StreamName=f"{name}-{stream}", ShardCount=2)
    tables = {"windows": state_items.KEYS, "history": orders_to_history.KEYS, "alarms": alarms.KEYS}
    for table, keys in tables.items():
        create_table(f"{name}-{table}", keys)
    topic, queue = sns.create_topic(Name=name)["TopicArn"], sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    yield (
        {
            **{f"{table.upper()}_TABLE": f"{name}-{table}" for table in tables},
            "ALARMS_TOPIC_ARN": topic,
            "QUARANTINE": f"s3://vitrine-lake/quarantine/{name}/",
            "RATE_COOLDOWN_SECONDS": "600",
        },
        queue,
    )
    for table in tables:
        dynamodb.delete_table(TableName=f"{name}-{table}")
    for stream in ("clicks", "orders"):
        kinesis.delete_stream(StreamName=f"{name}-{stream}", EnforceConsumerDeletion=True)
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)


@pytest.fixture
def functions(name, resources):
    """The four functions, each reading its stream."""
    environment, _ = resources
    lambda_, iam = client("lambda"), client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = deployed_zip()
    mappings = []
    sources = {"sessions": "clicks", "visitors": "clicks", "orders_to_history": "orders", "rate_alarm": "orders"}
    for function, stream in sources.items():
        lambda_.create_function(
            FunctionName=f"{name}-{function}",
            Runtime="python3.12",
            Role=role,
            Handler=f"include.streams.{function}.handler",
            Code={"ZipFile": code},
            Timeout=60,
            MemorySize=512,
            Environment={"Variables": environment},
        )
        mapping = lambda_.create_event_source_mapping(
            FunctionName=f"{name}-{function}",
            EventSourceArn=f"arn:aws:kinesis:us-east-1:123456789012:stream/{name}-{stream}",
            StartingPosition="TRIM_HORIZON",
            BatchSize=100,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            BisectBatchOnFunctionError=True,
        )
        mappings.append(mapping["UUID"])
    yield
    for uuid_ in mappings:
        lambda_.delete_event_source_mapping(UUID=uuid_)
    for function in sources:
        lambda_.delete_function(FunctionName=f"{name}-{function}")
    iam.delete_role(RoleName=name)


def put(stream, records, key):
    entries = [{"Data": data, "PartitionKey": key(json.loads(data))} for data in records]
    answer = client("kinesis").put_records(StreamName=stream, Records=entries)
    assert answer["FailedRecordCount"] == 0


def eventually(found, wanted):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, last
        time.sleep(0.1)


def test_what_is_put_to_the_streams_is_in_the_tables_and_the_queue(name, resources, functions):
    clicks = list(islice(clickstream.clicks(9, 0, START, timedelta(milliseconds=20)), 240))
    burst = Burst(order_lines.BLOCK, 15)
    lines = list(islice(order_lines.lines(9, 0, START, timedelta(milliseconds=200), burst), 100))
    environment, queue = resources
    for _ in range(2):  # A producer whose answers got lost.
        put(f"{name}-clicks", [*encoded(clicks), b'{"custid": "seventeen"}'], lambda one: str(one["custid"]))
        put(f"{name}-orders", encoded(lines), lambda one: one["Customer"] or one["InvoiceNo"])

    def total(rule, column):
        items = contents(environment["WINDOWS_TABLE"])
        return sum(int(item[column]["N"]) for item in items if item["window"]["S"].startswith(f"{rule}#"))

    eventually(lambda: total("sessions", "events"), len(clicks))
    eventually(lambda: total("sources_1m", "events"), len(clicks))
    for rule, seconds in (("visitors_15s", 15), ("visitors_1m", 60)):
        seen = {
            (
                datetime.fromisoformat(one["trans_timestamp"]).replace(tzinfo=UTC).timestamp() // seconds,
                one["url"],
                one["custid"],
            )
            for one in clicks
        }
        eventually(lambda rule=rule: total(rule, "visitors"), len(seen))
    eventually(lambda: len(contents(environment["HISTORY_TABLE"])), len(lines))
    eventually(lambda: ["sent" in item for item in contents(environment["ALARMS_TABLE"])], [True])
    (message,) = client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["count"] == 11
    quarantined = boto3.resource("s3").Bucket("vitrine-lake").objects.filter(Prefix=f"quarantine/{name}/")
    eventually(lambda: len({item.key for item in quarantined}), 4)  # Two copies, for two functions.
