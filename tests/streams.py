"""The streams' handlers in tests: events as a mapping hands them over, tables, and what is in them."""

import base64
import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import boto3

ARRIVED = 1_772_359_800.0
"""2026-03-01T10:10:00: when a record arrives that says nothing else."""


def client(service: str) -> Any:
    """A client of the stack; making one takes longer than most calls."""
    return _client(service, os.environ["AWS_ENDPOINT_URL"])


@cache
def _client(service: str, endpoint: str) -> Any:
    return boto3.client(service, endpoint_url=endpoint)


class Context:
    """Lambda's, with some time left."""

    def __init__(self, seconds: float = 60) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def event(
    data: Sequence[bytes],
    shard: str = "shardId-000000000000",
    first: int = 100,
    keys: Sequence[str] | None = None,
    arrived: float = ARRIVED,
) -> dict[str, Any]:
    """As a mapping hands it over; sequence numbers go up from `first`."""
    return {
        "Records": [
            {
                "eventID": f"{shard}:{first + number}",
                "eventSource": "aws:kinesis",
                "kinesis": {
                    "partitionKey": keys[number] if keys else "a",
                    "sequenceNumber": str(first + number),
                    "data": base64.b64encode(one).decode(),
                    "approximateArrivalTimestamp": arrived,
                },
            }
            for number, one in enumerate(data)
        ]
    }


def encoded(fields: Iterable[dict[str, Any]]) -> list[bytes]:
    """Records of JSON."""
    return [json.dumps(one).encode() for one in fields]


def failures(answer: dict[str, Any]) -> list[str]:
    """The sequence numbers that a handler reports."""
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def create_table(name: str, keys: tuple[str, str]) -> None:
    """A table with HASH and RANGE of text, and its time to live."""
    client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )


def throttle(table: str, share: float) -> None:
    """Lets a table refuse a share of the requests, and of the items of a batch."""
    dynamodb = client("dynamodb")
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    if share:
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "local:throttled-share", "Value": str(share)}])
    else:
        dynamodb.untag_resource(ResourceArn=arn, TagKeys=["local:throttled-share"])


def contents(table: str) -> list[dict[str, Any]]:
    """All items of a table, by their keys, to the byte."""
    dynamodb = client("dynamodb")
    schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    items = [item for page in pages for item in page["Items"]]
    return sorted(items, key=lambda item: [item[key["AttributeName"]]["S"] for key in schema])
