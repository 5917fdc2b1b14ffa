"""How fast the local streams are: puts to Kinesis in batches of 500, reads, and delivery by Firehose.

The stack runs in a process of its own, as `make run` starts it; the producer is a boto3 client in this one.
`python -m benchmarks.local_streams --records 100000`
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

_SERVER = """
import sys, signal, threading
from pathlib import Path
from local.aws.server import Server
from local.aws.settings import Settings
server = Server(Settings(Path(sys.argv[1]), 0)).start()
print(server.settings.endpoint, flush=True)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
server.stop()
"""
_BATCH = 500
_STREAM, _BUCKET = "clicks", "bench-lake"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=2)
    arguments = parser.parse_args()
    with serving() as (endpoint, server):
        run(endpoint, server, arguments.records, arguments.shards)


@contextmanager
def serving() -> Iterator[tuple[str, psutil.Process]]:
    """A stack's AWS endpoint with nothing in it, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", _SERVER, str(Path(folder) / "state")]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip(), psutil.Process(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)


def run(endpoint: str, server: psutil.Process, records: int, shards: int) -> None:
    """Put, read and deliver so many records."""
    kinesis, firehose, s3 = (_client(endpoint, service) for service in ("kinesis", "firehose", "s3"))
    kinesis.create_stream(StreamName=_STREAM, ShardCount=shards)
    s3.create_bucket(Bucket=_BUCKET)
    _create_delivery(firehose)
    batches = [_batch(number) for number in range(records // _BATCH)]
    measure = _Measure(server, len(batches) * _BATCH)
    with measure("put"):
        for batch in batches:
            assert kinesis.put_records(StreamName=_STREAM, Records=batch)["FailedRecordCount"] == 0
    with measure("deliver the rest"):
        _flush(endpoint)
    with measure("read"):
        read = sum(_read(kinesis, shard["ShardId"]) for shard in kinesis.list_shards(StreamName=_STREAM)["Shards"])
    assert read == len(batches) * _BATCH
    print(f"the server's peak: {server.memory_info().rss >> 20} MiB")


class _Measure:
    """Prints the time of a block and what of it the server and this client computed."""

    def __init__(self, server: psutil.Process, records: int) -> None:
        self._server, self._records = server, records

    def __call__(self, what: str) -> _Measure:
        self._what = what
        return self

    def _now(self) -> tuple[float, float, float]:
        server, own = self._server.cpu_times(), resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), server.user + server.system, own.ru_utime + own.ru_stime

    def __enter__(self) -> None:
        self._begin = self._now()

    def __exit__(self, *_: object) -> None:
        wall, server, own = (end - begin for begin, end in zip(self._begin, self._now(), strict=True))
        print(
            f"{self._what:17} {self._records} records in {wall:6.2f} s = {self._records / wall:9,.0f}/s; "
            f"server {server:.2f} CPU s, client {own:.2f} CPU s"
        )


def _client(endpoint: str, service: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)


def _batch(number: int) -> list[dict[str, Any]]:
    return [
        {
            "PartitionKey": str((number * _BATCH + each) % 9973),
            "Data": json.dumps(
                {
                    "custid": (number * _BATCH + each) % 9973,
                    "trafficfrom": "google.com",
                    "url": "/product/42",
                    "device": "browser",
                    "touchproduct": each % 251,
                    "trans_timestamp": "2026-03-01T10:00:00.123456",
                }
            ).encode(),
        }
        for each in range(_BATCH)
    ]


def _create_delivery(firehose: Any) -> None:
    role = "arn:aws:iam::123456789012:role/firehose"
    stream = f"arn:aws:kinesis:us-east-1:123456789012:stream/{_STREAM}"
    firehose.create_delivery_stream(
        DeliveryStreamName=_STREAM,
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream, "RoleARN": role},
        ExtendedS3DestinationConfiguration={
            "RoleARN": role,
            "BucketARN": f"arn:aws:s3:::{_BUCKET}",
            "Prefix": "raw/dt=!{timestamp:yyyy-MM-dd}/",
            "ErrorOutputPrefix": "raw-errors/!{firehose:error-output-type}/",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60},
            "CompressionFormat": "GZIP",
            "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord"}]},
        },
    )


def _flush(endpoint: str) -> None:
    import urllib.request

    request = urllib.request.Request(f"{endpoint}/_local/firehose/{_STREAM}/flush", method="POST")
    with urllib.request.urlopen(request) as response:
        json.load(response)


def _read(kinesis: Any, shard: str) -> int:
    position = kinesis.get_shard_iterator(StreamName=_STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator, read = position["ShardIterator"], 0
    while True:
        page = kinesis.get_records(ShardIterator=iterator)
        read, iterator = read + len(page["Records"]), page["NextShardIterator"]
        if not page["MillisBehindLatest"]:
            return read


if __name__ == "__main__":
    main()
