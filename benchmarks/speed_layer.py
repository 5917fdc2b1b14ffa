"""The handlers of the streams on the local stack: records in a second, and from a put to the item. See `streams`."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched, islice
from pathlib import Path
from statistics import quantiles
from typing import Any

import boto3
import psutil

from benchmarks.local_streams import serving
from include.streams import alarms, aws, orders_to_history, rate_alarm, sessions, state_items, visitors
from include.streams.fields import iso
from include.streams.state_items import key_text, window_key
from local.data import clickstream, order_lines

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "arn:aws:kinesis:us-east-1:123456789012:stream"
TABLES = {"windows": state_items.KEYS, "history": orders_to_history.KEYS, "alarms": alarms.KEYS}
BATCH = 500
EVENTS_PER_SECOND = 50
"""Of event time: how many a producer sends at its usual pace."""

_START = datetime(2026, 3, 1, 10, tzinfo=UTC)


class Worker:
    """What Lambda tells a handler: that it has time."""

    def get_remaining_time_in_millis(self) -> int:
        """A minute."""
        return 60_000


@contextmanager
def stack() -> Iterator[psutil.Process]:
    """A stack with tables, topic and bucket, named in the environment; its process."""
    with serving() as (endpoint, server):
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "QUARANTINE": "s3://bench-lake/quarantine/",
            **{f"{name.upper()}_TABLE": f"bench-{name}" for name in TABLES},
        }
        aws.client.cache_clear()
        boto3.client("s3").create_bucket(Bucket="bench-lake")
        os.environ["ALARMS_TOPIC_ARN"] = boto3.client("sns").create_topic(Name="bench")["TopicArn"]
        for name, keys in TABLES.items():
            boto3.client("dynamodb").create_table(
                TableName=f"bench-{name}",
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        yield server


def throughput(records: int, batch: int) -> None:
    """Prints what one worker of each handler does in a second, with a new stream and with one that it knows."""
    pace = timedelta(seconds=1 / EVENTS_PER_SECOND)
    clicks = _encoded(islice(clickstream.clicks(1, 0, _START, pace), records))
    lines = _encoded(islice(order_lines.lines(1, 0, _START, pace), records))
    work: dict[str, tuple[Callable[..., Any], list[str]]] = {
        "sessions": (sessions.handler, clicks),
        "visitors": (visitors.handler, clicks),
        "orders_to_history": (orders_to_history.handler, lines),
        "rate_alarm": (rate_alarm.handler, lines),
    }
    print(f"{records:,} records, in batches of {batch}\n")
    print("| handler | records/s | replayed records/s | CPU of the worker, µs a record | of the stack |")
    print("|---|--:|--:|--:|--:|")
    with stack() as server:
        for name, (handler, data) in work.items():
            events = [_event(part, batch * number) for number, part in enumerate(batched(data, batch))]
            cpu, served = time.process_time(), server.cpu_times()
            first = _timed(handler, events)
            mine = time.process_time() - cpu
            theirs = sum(server.cpu_times()[:2]) - sum(served[:2])
            again = _timed(handler, events)
            print(
                f"| {name} | {records / first:,.0f} | {records / again:,.0f} |"
                f" {mine / records * 1e6:,.0f} | {theirs / records * 1e6:,.0f} |",
                flush=True,
            )


def latency(probes: int, rate: int) -> None:
    """Prints how long it takes from before a put of a click until its session's item, or its line in S3, can be read.

    Firehose's buffer has an interval of 0, so that what is measured is the way and not the waiting.

    Args:
        probes: clicks that are waited for, one after the other.
        rate: clicks a second that others send meanwhile.
    """
    with stack():
        kinesis, dynamodb = boto3.client("kinesis"), boto3.client("dynamodb")
        kinesis.create_stream(StreamName="bench", ShardCount=2)
        _map("sessions", "bench")
        _deliver("bench")
        done = threading.Event()
        others = threading.Thread(target=_send, args=(rate, done))
        others.start()
        try:
            ways = {"a session in DynamoDB": partial(_in_table, dynamodb), "a line in S3": _Lines()}
            found = {}
            for place, (way, there) in enumerate(ways.items()):
                first = place * (probes + 1)
                _wait_for(kinesis, there, first)  # The first worker of the function starts.
                found[way] = sorted(_wait_for(kinesis, there, first + number) for number in range(1, probes + 1))
        finally:
            done.set()
            others.join()
    print(f"{probes} clicks beside {rate} others a second\n")
    print("| from a put to | p50 ms | p99 ms | most ms |\n|---|--:|--:|--:|")
    for way, seconds in found.items():
        cuts = quantiles(seconds, n=100)
        print(f"| {way} | {cuts[49] * 1000:.0f} | {cuts[98] * 1000:.0f} | {seconds[-1] * 1000:.0f} |")


def _in_table(dynamodb: Any, click: dict[str, Any], now: int) -> bool:
    """Whether the click's session is in the table."""
    start = now - now % sessions.RULES[0].assigner.size
    place = window_key("sessions", start), key_text((click["custid"], str(click["device"])))
    key = {name: {"S": value} for name, value in zip(state_items.KEYS, place, strict=True)}
    return "Item" in dynamodb.get_item(TableName="bench-windows", Key=key, ConsistentRead=True)


class _Lines:
    """Reads what is delivered to S3, object by object."""

    def __init__(self) -> None:
        self._s3 = boto3.client("s3")
        self._read: set[str] = set()
        self._customers: set[int] = set()

    def __call__(self, click: dict[str, Any], now: int) -> bool:
        """Whether the click is there."""
        # Keys have the arrival of their oldest record, to the second: those before are not looked at again.
        since = f"raw/{datetime.fromtimestamp(now / 1e6 - 2, UTC):%Y/%m/%d/%H/bench-1-%Y-%m-%d-%H-%M-%S}"
        listed = self._s3.get_paginator("list_objects_v2")
        pages = listed.paginate(Bucket="bench-lake", Prefix="raw/", StartAfter=since)
        for key in {one["Key"] for page in pages for one in page.get("Contents", [])} - self._read:
            body = self._s3.get_object(Bucket="bench-lake", Key=key)["Body"].read()
            self._customers |= {json.loads(line)["custid"] for line in body.splitlines()}
            self._read.add(key)
        return click["custid"] in self._customers


def _wait_for(kinesis: Any, there: Callable[[dict[str, Any], int], bool], number: int) -> float:
    """Puts a click of a customer of its own, and waits until it is there; the seconds."""
    custid, now = 1_000_000 + number, time.time_ns() // 1000
    click = next(clickstream.clicks(1, 0, _START, timedelta(0)))
    record = {**click, "custid": custid, "trans_timestamp": iso(now)}
    began = time.perf_counter()
    kinesis.put_record(StreamName="bench", Data=json.dumps(record).encode(), PartitionKey=str(custid))
    while not there(record, now):
        if time.perf_counter() - began > 60:
            raise SystemExit(f"the click {record} has not come after a minute")
        time.sleep(0.002)
    return time.perf_counter() - began


def _send(rate: int, done: threading.Event) -> None:
    kinesis = boto3.client("kinesis")
    clicks = clickstream.clicks(2, 0, datetime.now(UTC), timedelta(seconds=1 / rate))
    for part in batched(clicks, max(rate // 10, 1)):
        entries = [{"Data": json.dumps(click).encode(), "PartitionKey": str(click["custid"])} for click in part]
        kinesis.put_records(StreamName="bench", Records=entries)
        if done.wait(len(part) / rate):
            return


def _map(function: str, stream: str) -> None:
    """Deploys a handler, and lets it read a stream."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in [ROOT / "include" / "__init__.py", *(ROOT / "include" / "streams").glob("*.py")]:
            archive.write(file, file.relative_to(ROOT))
    names = {f"{name.upper()}_TABLE" for name in TABLES} | {"ALARMS_TOPIC_ARN", "QUARANTINE"}
    role = boto3.client("iam").create_role(RoleName="bench", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    lambda_ = boto3.client("lambda")
    lambda_.create_function(
        FunctionName=function,
        Runtime="python3.12",
        Role=role,
        Handler=f"include.streams.{function}.handler",
        Code={"ZipFile": packed.getvalue()},
        Timeout=60,
        MemorySize=512,
        Environment={"Variables": {name: os.environ[name] for name in names}},
    )
    lambda_.create_event_source_mapping(
        FunctionName=function,
        EventSourceArn=f"{ACCOUNT}/{stream}",
        StartingPosition="TRIM_HORIZON",
        BatchSize=BATCH,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )


def _deliver(stream: str) -> None:
    """Lets Firehose write a stream to S3 as it comes."""
    role = "arn:aws:iam::123456789012:role/bench"
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName=stream,
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": f"{ACCOUNT}/{stream}", "RoleARN": role},
        ExtendedS3DestinationConfiguration={
            "RoleARN": role,
            "BucketARN": "arn:aws:s3:::bench-lake",
            "Prefix": "raw/",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},
            "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
        },
    )


def _timed(handler: Callable[..., Any], events: list[dict[str, Any]]) -> float:
    began = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        failed = [item for event in events for item in handler(event, Worker())["batchItemFailures"]]
    if failed:
        raise SystemExit(f"{len(failed)} records failed")
    return time.perf_counter() - began


def _encoded(records: Iterator[dict[str, Any]]) -> list[str]:
    return [base64.b64encode(json.dumps(record).encode()).decode() for record in records]


def _event(data: tuple[str, ...], first: int) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventID": f"shardId-000000000000:{first + number:020}",
                "kinesis": {
                    "partitionKey": "bench",
                    "sequenceNumber": f"{first + number:020}",
                    "data": one,
                    "approximateArrivalTimestamp": time.time(),
                },
            }
            for number, one in enumerate(data)
        ]
    }
