"""The metrics of AWS/Kinesis, from the logs of the shards and from what consumers read."""

import time
from collections.abc import Iterator

from local.aws import cloudwatch, kinesis_shards
from local.aws.cloudwatch import Metric, Namespace
from local.aws.kinesis_gauge import Sample, sample
from local.aws.kinesis_shards import StreamGoneError


def offer() -> None:
    """Let CloudWatch have them."""
    cloudwatch.offer(
        "AWS/Kinesis",
        Namespace(
            "StreamName",
            kinesis_shards.names,
            {
                "GetRecords.IteratorAgeMilliseconds": Metric("Milliseconds", _iterator_age),
                "IncomingBytes": Metric("Bytes", _incoming_bytes),
                "IncomingRecords": Metric("Count", _incoming_records),
            },
        ),
    )


def _puts(name: str, start: float, end: float) -> Iterator[tuple[float, int, int]]:
    try:
        yield from kinesis_shards.open_stream(name).puts(start, end)
    except StreamGoneError:
        return


def _incoming_records(name: str, start: float, end: float) -> Iterator[Sample]:
    # A sample stands for so many records: CloudWatch counts each as one observation of 1.
    return (Sample(moment, records, records, 1.0, 1.0) for moment, records, _ in _puts(name, start, end))


def _incoming_bytes(name: str, start: float, end: float) -> Iterator[Sample]:
    return (sample(moment, size) for moment, _, size in _puts(name, start, end))


def _iterator_age(name: str, start: float, end: float) -> Iterator[Sample]:
    """What reads found and, for the present, how far the consumers inside the stack are behind.

    Whoever waits for records reads nothing, and so does whoever hangs; a reader at AWS polls all the time.
    """
    try:
        stream = kinesis_shards.open_stream(name)
    except StreamGoneError:
        return
    yield from stream.ages.samples(start, end)
    now = time.time()
    if start <= now <= end + 1 and (lag := stream.lag()) is not None:
        yield sample(min(now, end - 1e-6), lag)
