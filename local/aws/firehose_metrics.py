"""The metrics of AWS/Firehose, from what the workers have written down of their deliveries."""

import time
from collections.abc import Callable, Iterable, Iterator

from local.aws import cloudwatch
from local.aws.cloudwatch import Metric, Namespace
from local.aws.firehose_delivery import Done, Worker
from local.aws.firehose_records import CONVERSION_FAILED
from local.aws.kinesis_gauge import Sample, sample
from local.aws.kinesis_shards import Stream

_Metered = Callable[[str], tuple[Worker, Stream | None] | None]


def offer(names: Callable[[], Iterable[str]], metered: _Metered) -> None:
    """Let CloudWatch have them.

    Args:
        names: Of the delivery streams.
        metered: The worker of a delivery stream, and where records are put directly; None when there is none.
    """

    def counted(value: Callable[[Done], float]) -> Callable[[str, float, float], Iterator[Sample]]:
        def samples(name: str, start: float, end: float) -> Iterator[Sample]:
            found = metered(name)
            return (sample(done.time, value(done)) for done in (found[0].ledger.between(start, end) if found else ()))

        return samples

    def put(column: int) -> Callable[[str, float, float], Iterator[Sample]]:
        def samples(name: str, start: float, end: float) -> Iterator[Sample]:
            found = metered(name)
            puts = found[1].puts(start, end) if found and found[1] else ()
            return (sample(each[0], each[column]) for each in puts)

        return samples

    def freshness(name: str, start: float, end: float) -> Iterator[Sample]:
        yield from counted(lambda done: done.freshness)(name, start, end)
        now, found = time.time(), metered(name)
        if found and start <= now <= end + 1 and (oldest := found[0].oldest()) is not None:
            yield sample(min(now, end - 1e-6), max(now - oldest, 0.0))

    def success(name: str, start: float, end: float) -> Iterator[Sample]:
        yield from counted(lambda done: 1.0)(name, start, end)
        now, found = time.time(), metered(name)
        if found and start <= now <= end + 1 and found[0].problem:
            yield sample(min(now, end - 1e-6), 0.0)

    metrics = {
        "DataReadFromKinesisStream.Records": Metric("Count", counted(lambda done: done.read)),
        "DeliveryToS3.Bytes": Metric("Bytes", counted(lambda done: done.bytes)),
        "DeliveryToS3.DataFreshness": Metric("Seconds", freshness),
        "DeliveryToS3.Records": Metric("Count", counted(lambda done: done.records)),
        "DeliveryToS3.Success": Metric("Count", success),
        "FailedConversion.Records": Metric("Count", counted(lambda done: done.failed.get(CONVERSION_FAILED, 0))),
        "FailedProcessing.Records": Metric(
            "Count", counted(lambda done: sum(done.failed.values()) - done.failed.get(CONVERSION_FAILED, 0))
        ),
        "IncomingBytes": Metric("Bytes", put(2)),
        "IncomingRecords": Metric("Count", put(1)),
    }
    cloudwatch.offer("AWS/Firehose", Namespace("DeliveryStreamName", names, metrics))
