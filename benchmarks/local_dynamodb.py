"""The local stack's DynamoDB beside plain moto: the same requests to a server of each, one after the other.

    python -m benchmarks.local_dynamodb [--items 100000]

Each server is a process of its own. Requests are plain HTTP: boto3, which takes longer for most of them than the
servers do, is left out. moto reads a whole table for each page of a scan, so only some pages are timed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

CONTENDERS = ("local", "moto")
TABLE = "orders"
PARTITION = 1000
SCANNED_PAGES = 3
UPDATES = 1000
GETS = 1000
SERVERS = {
    "local": """
import sys, threading
from pathlib import Path
from local.aws.server import Server
from local.aws.settings import Settings
server = Server(Settings(Path(sys.argv[1]), 0)).start()
print(server.settings.endpoint, flush=True)
sys.stdin.read()
server.stop()
""",
    "moto": """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
""",
}


class Client:
    """DynamoDB's API without an SDK.

    Args:
        endpoint: URL of the server.
    """

    _HEADERS: ClassVar = {
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260301/us-east-1/dynamodb/aws4_request, Signature=0",
    }

    def __init__(self, endpoint: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Answers of an action; an error fails."""
        headers = {**self._HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{action}"}
        self._connection.request("POST", "/", json.dumps(parameters), headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer


def item(number: int) -> dict[str, Any]:
    """An order line like those of the order history, about 250 bytes."""
    return {
        "customer": {"S": f"C{number // PARTITION:05d}"},
        "order_line": {"S": f"{536365 + number // 20}#{number % PARTITION:04d}"},
        "Description": {"S": "WHITE HANGING HEART T-LIGHT HOLDER"},
        "Quantity": {"N": str(number % 12 + 1)},
        "UnitPrice": {"N": "2.55"},
        "InvoiceDate": {"S": "2026-03-01T10:00:00.123456"},
        "Country": {"S": "United Kingdom"},
        "StockCode": {"S": f"{number % 4000:05d}A"},
    }


def create(dynamodb: Client) -> None:
    """The table of the order history."""
    names = ("customer", "order_line")
    dynamodb.call(
        "CreateTable",
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[
            {"AttributeName": name, "KeyType": role} for name, role in zip(names, ("HASH", "RANGE"), strict=True)
        ],
    )


def put(dynamodb: Client, items: int) -> int:
    """Puts the items in batches of 25."""
    for start in range(0, items, 25):
        requests = [{"PutRequest": {"Item": item(number)}} for number in range(start, min(start + 25, items))]
        assert not dynamodb.call("BatchWriteItem", RequestItems={TABLE: requests})["UnprocessedItems"]
    return items


def query(dynamodb: Client, items: int) -> int:
    """Reads one partition of 1 000 items, ten times."""
    for turn in range(10):
        key = {":c": {"S": f"C{turn * (items // PARTITION - 1) // 9:05d}"}}
        found = dynamodb.call(
            "Query", TableName=TABLE, KeyConditionExpression="customer = :c", ExpressionAttributeValues=key
        )
        assert found["Count"] == PARTITION, found["Count"]
    return 10


def scan(dynamodb: Client, items: int) -> int:
    """Reads the first pages of the table."""
    more: dict[str, Any] = {}
    for page in range(SCANNED_PAGES):
        found = dynamodb.call("Scan", TableName=TABLE, **more)
        assert found["Count"] > 0
        if "LastEvaluatedKey" not in found:
            return page + 1
        more = {"ExclusiveStartKey": found["LastEvaluatedKey"]}
    return SCANNED_PAGES


def scan_filtered(dynamodb: Client, items: int) -> int:
    """Reads the first pages of the table and keeps one item in twelve."""
    found = dynamodb.call(
        "Scan", TableName=TABLE, FilterExpression="Quantity = :q", ExpressionAttributeValues={":q": {"N": "7"}}
    )
    assert 0 < found["Count"] < found["ScannedCount"]
    return 1


def update(dynamodb: Client, items: int) -> int:
    """Updates items, each on the condition of its version."""
    for turn in range(UPDATES):
        line = item(turn * 7 % items)
        dynamodb.call(
            "UpdateItem",
            TableName=TABLE,
            Key={name: line[name] for name in ("customer", "order_line")},
            UpdateExpression="SET version = if_not_exists(version, :zero) + :one, folded = :folded",
            ConditionExpression="attribute_exists(customer) AND (attribute_not_exists(version) OR version < :most)",
            ExpressionAttributeValues={
                ":zero": {"N": "0"},
                ":one": {"N": "1"},
                ":most": {"N": "1000000"},
                ":folded": {"B": "eHh4" * 67},
            },
        )
    return UPDATES


def get(dynamodb: Client, items: int) -> int:
    """Reads single items."""
    for turn in range(GETS):
        line = item(turn * 11 % items)
        key = {name: line[name] for name in ("customer", "order_line")}
        assert "Item" in dynamodb.call("GetItem", TableName=TABLE, Key=key)
    return GETS


WORK: dict[str, Callable[[Any, int], int]] = {
    "put, an item (batches of 25)": put,
    "get, an item": get,
    "conditional update, an item": update,
    "query, a partition of 1 000": query,
    "scan, a page of 1 MB": scan,
    "scan with filter, a page of 1 MB": scan_filtered,
}


def run(contender: str, items: int, folder: Path) -> Iterator[float]:
    """Starts a server and does all work.

    Yields:
        Milliseconds for each unit of each work.
    """
    server = subprocess.Popen(
        [sys.executable, "-c", SERVERS[contender], str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        dynamodb = Client(server.stdout.readline().strip())
        create(dynamodb)
        for work in WORK.values():
            start = time.perf_counter()
            units = work(dynamodb, items)
            yield (time.perf_counter() - start) * 1000 / units
    finally:
        server.stdin.close()
        server.wait(timeout=60)


def main() -> None:
    """Compares the contenders and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="at least 10 000")
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        found = {contender: list(run(contender, items, Path(folder) / contender)) for contender in CONTENDERS}
    print(f"### DynamoDB with {items:,} items\n")
    print("| ms for | local stack | moto | moto / local stack |\n|---|---:|---:|---:|")
    for row, work in enumerate(WORK):
        ours, theirs = (found[contender][row] for contender in CONTENDERS)
        print(f"| {work} | {ours:,.2f} | {theirs:,.2f} | {theirs / ours:,.1f} × |")


if __name__ == "__main__":
    main()
