"""Live offers on the running local stack: how long from the put of a position until the offer can be read.

    make up && source .local/env && python -m benchmarks.live_offers [--probes 200] [--rate 50]

A probe is a user of its own who has come nearer to an establishment twice; what is measured is the third time, from
before the put to Kinesis until the offer's item is in DynamoDB, through the deployed function. Others walk meanwhile.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import batched
from statistics import quantiles
from typing import Any

import boto3

from local.data import walkers
from local.produce import furnish
from local.producer.sources import STREAMS

STREAM = STREAMS["positions"]
METRES = (260.0, 230.0, 200.0)
"""How far a probe is at each of its fixes, ten seconds apart."""
METRES_OF_A_DEGREE = 111_195.0


def probe(user: str, shop: dict[str, Any]) -> list[bytes]:
    """Three fixes of somebody who comes to an establishment from the north, the last of them now."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return [
        json.dumps(
            {
                "user_id": user,
                "latitude": shop["latitude"] + metres / METRES_OF_A_DEGREE,
                "longitude": shop["longitude"],
                "consent": True,
                "moment": (now - timedelta(seconds=10 * (2 - number))).isoformat(timespec="microseconds"),
            }
        ).encode()
        for number, metres in enumerate(METRES)
    ]


def walk(rate: int, done: threading.Event) -> None:
    """Sends so many positions of others a second."""
    kinesis = boto3.client("kinesis")
    for part in batched(walkers.fixes(1, 0, datetime.now(UTC), timedelta(seconds=1 / rate)), max(rate // 10, 1)):
        entries = [{"Data": json.dumps(fix).encode(), "PartitionKey": fix["user_id"]} for fix in part]
        kinesis.put_records(StreamName=STREAM, Records=entries)
        if done.wait(len(part) / rate):
            return


def seconds(kinesis: Any, dynamodb: Any, shop: dict[str, Any]) -> float:
    """How long one probe takes.

    Raises:
        SystemExit: there is no offer after a minute.
    """
    user = f"probe-{uuid.uuid4().hex}"
    *before, last = probe(user, shop)
    kinesis.put_records(StreamName=STREAM, Records=[{"Data": data, "PartitionKey": user} for data in before])
    time.sleep(0.3)  # These are in the user's state by then.
    asked = {"KeyConditionExpression": "user_id = :user", "ExpressionAttributeValues": {":user": {"S": user}}}
    began = time.perf_counter()
    kinesis.put_record(StreamName=STREAM, Data=last, PartitionKey=user)
    while not dynamodb.query(TableName="vitrine-offers", ConsistentRead=True, **asked)["Items"]:
        if time.perf_counter() - began > 60:
            raise SystemExit(f"no offer for {user} after a minute: look into /aws/lambda/vitrine-live-offers")
        time.sleep(0.002)
    return time.perf_counter() - began


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_offers")
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--rate", type=int, default=50, help="positions of others a second")
    given = parser.parse_args()
    furnish(boto3.client("s3"))
    kinesis, dynamodb = boto3.client("kinesis"), boto3.client("dynamodb")
    shop = next(one for one in walkers.establishments() if one["ads"])
    done = threading.Event()
    others = threading.Thread(target=walk, args=(given.rate, done))
    others.start()
    try:
        seconds(kinesis, dynamodb, shop)  # The first worker of the function starts.
        found = sorted(seconds(kinesis, dynamodb, shop) for _ in range(given.probes))
    finally:
        done.set()
        others.join()
    cuts = quantiles(found, n=100)
    print(f"{given.probes} probes beside {given.rate} positions a second\n")
    print("| p50 ms | p99 ms | most ms |\n|--:|--:|--:|")
    print(f"| {cuts[49] * 1000:.0f} | {cuts[98] * 1000:.0f} | {found[-1] * 1000:.0f} |")


if __name__ == "__main__":
    main()
