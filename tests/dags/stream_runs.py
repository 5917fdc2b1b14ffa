"""The deployed streams in tests: records are put, arrive in the speed layer and the lake, and DAGs run for an hour."""

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.streams import client

PATIENCE_SECONDS = 90
MINUTE = timedelta(minutes=10)
HOUR = timedelta(hours=1)


def put(stream: str, records: Iterable[tuple[str, bytes]]) -> None:
    """Puts records, partition key and content of each, in the order in which they come."""
    entries = [{"PartitionKey": key, "Data": data} for key, data in records]
    for first in range(0, len(entries), 500):
        answer = client("kinesis").put_records(StreamName=f"vitrine-{stream}", Records=entries[first : first + 500])
        assert answer["FailedRecordCount"] == 0


def deliver(stream: str) -> list[str]:
    """Has Firehose deliver what was put; the keys of the objects."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/_local/firehose/vitrine-{stream}/flush"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
        return json.load(answer)["Objects"]


def eventually(found: Callable[[], Any], wanted: Any) -> None:
    """Waits until something is found."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, (last, wanted)
        time.sleep(0.05)


def this_hour() -> datetime:
    """The start of the hour, UTC."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def after(hour: datetime) -> datetime:
    """The logical date with whose interval a run covers an hour of arrival."""
    return hour + HOUR + MINUTE


def partitions(tables: Iterable[tuple[str, str]]) -> dict[str, dict[tuple[str, ...], str]]:
    """Where the partitions of tables, database and name of each, point."""
    pages = {
        name: client("glue").get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name)
        for database, name in tables
    }
    return {
        name: {
            tuple(part["Values"]): part["StorageDescriptor"]["Location"]
            for page in those
            for part in page["Partitions"]
        }
        for name, those in pages.items()
    }
