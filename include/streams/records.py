"""What every handler of a stream does: decode a batch, put aside what nobody can use, and report what is not done."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from include.streams import quarantine
from include.streams.aws import CONNECTIONS, client

T = TypeVar("T")

RESERVED_SECONDS = 5.0
"""Of an invocation's time, for quarantine and answer: the rest may be spent on attempts."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a stream, and its place there.

    Attributes:
        shard_id: where it is.
        sequence_number: where it is in the shard.
        partition_key: its producer's choice.
        data: as it came.
        arrival: when the stream took it, microseconds since the epoch.
    """

    shard_id: str
    sequence_number: str
    partition_key: str
    data: bytes
    arrival: int


Poison = list[tuple[Record, str]]
"""Records that nobody can use, and why."""


def decoded(event: dict[str, Any]) -> list[Record]:
    """The records of an event of a Kinesis source, in the order of their shard."""
    return [
        Record(
            item["eventID"].partition(":")[0],
            item["kinesis"]["sequenceNumber"],
            item["kinesis"]["partitionKey"],
            base64.b64decode(item["kinesis"]["data"]),
            round(item["kinesis"]["approximateArrivalTimestamp"] * 1_000_000),
        )
        for item in event["Records"]
    ]


def sorted_out(
    batch: Iterable[Record], parse: Callable[[Record], T], error: type[ValueError]
) -> tuple[list[tuple[Record, T]], Poison]:
    """Parses records.

    Args:
        batch: the records.
        parse: makes something of a record.
        error: what it raises of a record that it can make nothing of.

    Returns:
        The records with what was made of them, and the others with the error's message.
    """
    good: list[tuple[Record, T]] = []
    poison: Poison = []
    for record in batch:
        try:
            good.append((record, parse(record)))
        except error as reason:
            poison.append((record, str(reason)))
    return good, poison


def put_aside(function: str, poison: Poison) -> list[Record]:
    """Puts records into quarantine, at the URI in the environment's ``QUARANTINE``.

    Returns:
        Those that S3 did not take.
    """
    if not poison:
        return []
    s3, prefix = client("s3"), os.environ["QUARANTINE"]

    def put(record: Record, reason: str) -> bool:
        try:
            quarantine.put(s3, prefix, function, record.shard_id, record.sequence_number, reason, record.data)
        except (BotoCoreError, ClientError) as error:
            print(json.dumps({"error": f"not put aside: {error}", "sequence_number": record.sequence_number}))
            return False
        return True

    with ThreadPoolExecutor(min(CONNECTIONS, len(poison))) as executor:
        done = executor.map(lambda one: put(*one), poison)
        return [record for (record, _), put_ in zip(poison, done, strict=True) if not put_]


def deadline(context: Any) -> float:
    """Until when an invocation may try again, on the monotonic clock.

    Args:
        context: Lambda's.
    """
    remaining: int = context.get_remaining_time_in_millis()
    return time.monotonic() + remaining / 1000 - RESERVED_SECONDS


def answer(function: str, batch: list[Record], failed: Iterable[Record], **counts: Any) -> dict[str, Any]:
    """The handler's answer, which names the records to send again; and a line in the log.

    Args:
        function: the handler's name.
        batch: its records.
        failed: those that are not done, in any order.
        counts: what else the log shall say.
    """
    again = set(failed)
    print(json.dumps({"function": function, "records": len(batch), "failed": len(again), **counts}))
    return {"batchItemFailures": [{"itemIdentifier": one.sequence_number} for one in batch if one in again]}
