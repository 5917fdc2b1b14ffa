"""What becomes of a batch of records: changed, taken apart, partitioned, converted, or put aside with a reason."""

import base64
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from local.aws import lambdas, s3, settings
from local.aws.firehose_compression import FORMATS
from local.aws.firehose_definitions import Destination, Function
from local.aws.firehose_parquet import ConversionError, rows
from local.aws.firehose_prefix import Facts
from local.aws.kinesis_shards import Record

PARTITIONS = 500
PROCESSING_FAILED, CONVERSION_FAILED = "processing-failed", "format-conversion-failed"


class Item(NamedTuple):
    """A record on its way.

    Attributes:
        shard_id: Where it comes from.
        record: As it was put.
        data: What it is now.
        keys: Its partition keys.
    """

    shard_id: str
    record: Record
    data: bytes
    keys: Mapping[str, str] = {}


class Failure(NamedTuple):
    """A record that can't be delivered as it should.

    Attributes:
        item: The record.
        kind: The error output type.
        code: Of the error.
        message: What is wrong.
        attempts: How often it was tried.
    """

    item: Item
    kind: str
    code: str
    message: str
    attempts: int = 1


class Delivery(NamedTuple):
    """An object that will be written.

    Attributes:
        key: Of the object.
        body: Its bytes.
        records: How many records are in it.
        failed: The error output type, if they failed.
    """

    key: str
    body: bytes
    records: int
    failed: str | None = None


class Naming(NamedTuple):
    """Gives objects the same keys whenever a batch is delivered again.

    Attributes:
        stream: Name of the delivery stream.
        arn: Of the delivery stream.
        version: Of its destination.
    """

    stream: str
    arn: str
    version: str

    def identity(self, first: Item, *more: str) -> uuid.UUID:
        """Of an object, by its first record."""
        text = "/".join((self.arn, first.shard_id, first.record.sequence_number, *more))
        return uuid.uuid5(uuid.NAMESPACE_URL, text)

    def suffix(self, first: Item, oldest: float, *more: str) -> str:
        """What follows the prefix."""
        moment = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(oldest))
        return f"{self.stream}-{self.version}-{moment}-{self.identity(first, *more)}"


def deliveries(items: list[Item], destination: Destination, naming: Naming) -> list[Delivery]:
    """All objects of one batch, in which every record is, but those that a function drops.

    Args:
        items: At least one, in the order of their shards.
        destination: Of the delivery stream.
        naming: Of the delivery stream.

    Raises:
        ApiError: The table that gives the schema has vanished.
    """
    failures: list[Failure] = []
    if destination.function:
        items = _collect(_changed(items, destination.function, naming.arn), failures)
    if destination.apart:
        items = _collect(_apart(items, destination.apart), failures)
    if destination.query:
        items = _collect((_with_keys(item, destination) for item in items), failures)
    partitions = _partitions(items, destination, naming, failures)
    found = []
    for prefix, members in partitions.items():
        written, body = _body(members, destination, failures)
        if written:
            oldest = min(item.record.arrival for item in members)
            key = prefix + naming.suffix(members[0], oldest, prefix) + destination.extension
            found.append(Delivery(key, body, written))
    return found + _aside(failures, destination, naming)


def _collect(outcomes: Iterable[Item | Failure], failures: list[Failure]) -> list[Item]:
    items = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            items.append(outcome)
    return items


def _partitions(
    items: list[Item], destination: Destination, naming: Naming, failures: list[Failure]
) -> dict[str, list[Item]]:
    """Records by the evaluated prefix of their object."""
    groups: dict[tuple[tuple[str, str], ...], list[Item]] = {}
    for item in items:
        group = tuple(sorted(item.keys.items())) if destination.partitioned else ()
        if group not in groups and len(groups) == PARTITIONS:
            message = f"more than {PARTITIONS} partitions are active"
            failures.append(
                Failure(item, PROCESSING_FAILED, "DynamicPartitioning.ActivePartitionLimitExceeded", message)
            )
            continue
        groups.setdefault(group, []).append(item)
    partitions: dict[str, list[Item]] = {}
    for group, members in groups.items():
        oldest = min(item.record.arrival for item in members)
        facts = Facts(oldest, naming.identity(members[0], "random").hex[:11], keys=dict(group))
        try:
            prefix = destination.prefix.render(facts)
            s3.path(destination.bucket, prefix + "name")
            partitions.setdefault(prefix, []).extend(members)
        except (KeyError, ValueError) as error:
            missing = isinstance(error, KeyError)
            message = f"the record has no partition key {error.args[0]}" if missing else str(error)
            failures += [
                Failure(item, PROCESSING_FAILED, "DynamicPartitioning.MetadataExtractionFailed", message)
                for item in members
            ]
    return partitions


def _body(items: list[Item], destination: Destination, failures: list[Failure]) -> tuple[int, bytes]:
    """How many records an object has, and its bytes."""
    if not destination.conversion:
        data = b"".join(part for item in items for part in (item.data, destination.delimiter))
        return len(items), FORMATS[destination.compression][1](data)
    columns = destination.conversion.columns()
    good = []
    converted = rows(destination.conversion, (item.data for item in items), columns)
    for item, row in zip(items, converted, strict=True):
        if isinstance(row, ConversionError):
            failures.append(Failure(item, CONVERSION_FAILED, "DataFormatConversion.ParseError", str(row)))
        else:
            good.append(row)
    return len(good), destination.conversion.write(good, columns) if good else b""


def _aside(failures: list[Failure], destination: Destination, naming: Naming) -> list[Delivery]:
    """Objects with the failed records and the reasons."""
    found = []
    failures = sorted(failures, key=lambda failure: failure.kind)
    for kind, group in itertools.groupby(failures, key=lambda failure: failure.kind):
        members = list(group)
        first = members[0].item
        oldest = min(failure.item.record.arrival for failure in members)
        facts = Facts(oldest, naming.identity(first, "random").hex[:11], kind)
        lines = b"".join(json.dumps(_reason(failure, destination)).encode() + b"\n" for failure in members)
        key = destination.error_prefix.render(facts) + naming.suffix(first, oldest, kind)
        extension, compress = FORMATS[destination.compression]
        found.append(Delivery(key + extension, compress(lines), len(members), kind))
    return found


def _reason(failure: Failure, destination: Destination) -> dict[str, Any]:
    record = failure.item.record
    reason = {
        "attemptsMade": failure.attempts,
        "arrivalTimestamp": round(record.arrival * 1000),
        "lastErrorCode": failure.code,
        "lastErrorMessage": failure.message,
        "attemptEndingTimestamp": round(record.arrival * 1000),  # and not now: a repeated delivery changes nothing
        "rawData": base64.b64encode(failure.item.data).decode(),
        "sequenceNumber": record.sequence_number,
        "shardId": failure.item.shard_id,
    }
    if failure.kind == CONVERSION_FAILED and destination.conversion:
        table = {"databaseName": destination.conversion.database, "tableName": destination.conversion.table}
        reason["dataCatalogTable"] = {**table, "region": settings.REGION}
    return reason


# ---------------------------------------------------------------------------------------------------------- processors


def _apart(items: Iterable[Item], how: str) -> Iterator[Item | Failure]:
    """The records that are in each record."""
    for item in items:
        try:
            parts = _documents(item.data.decode()) if how == "JSON" else item.data.split(how.encode())
        except (ValueError, RecursionError) as error:
            yield Failure(item, PROCESSING_FAILED, "DynamicPartitioning.DeAggregationFailed", str(error))
        else:
            yield from (item._replace(data=part) for part in parts if part)


def _documents(text: str) -> list[bytes]:
    decoder, position = json.JSONDecoder(), 0
    found: list[Any] = []
    while rest := text[position:].lstrip():
        start = len(text) - len(rest)
        document, position = decoder.raw_decode(text, start)
        found += document if isinstance(document, list) else [text[start:position]]
    return [part.encode() if isinstance(part, str) else json.dumps(part).encode() for part in found]


def _with_keys(item: Item, destination: Destination) -> Item | Failure:
    code = "DynamicPartitioning.MetadataExtractionFailed"
    try:
        keys = destination.query.input_text(item.data.decode()).first()
    except (ValueError, StopIteration) as error:
        return Failure(item, PROCESSING_FAILED, code, f"MetadataExtractionQuery: {error}")
    if not isinstance(keys, dict):
        return Failure(item, PROCESSING_FAILED, code, f"MetadataExtractionQuery gave {keys!r}, which is no object")
    if empty := [name for name, value in keys.items() if value is None or value == ""]:
        return Failure(item, PROCESSING_FAILED, code, f"the partition key {', '.join(empty)} is null or empty")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in keys.items()}
    return item._replace(keys={**item.keys, **texts})


def _changed(items: list[Item], function: Function, arn: str) -> Iterator[Item | Failure]:
    """What a function makes of records."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and size + len(item.data) > function.size:
            yield from _invoked(batch, function, arn)
            batch, size = [], 0
        batch.append(item)
        size += len(item.data)
    yield from _invoked(batch, function, arn)


def _invoked(items: list[Item], function: Function, arn: str) -> Iterator[Item | Failure]:
    event = {
        "invocationId": str(uuid.uuid4()),
        "deliveryStreamArn": arn,
        "region": settings.REGION,
        "records": [_event(item) for item in items],
    }
    answers, problem, attempts = _answers(lambda: lambdas.invoke(function.arn, event), function.retries)
    for item in items:
        answer = answers.get(_record_id(item))
        if answer is None:
            message = problem or "the function did not return this record"
            code = "Lambda.FunctionError" if problem else "Lambda.MissingRecordId"
            yield Failure(item, PROCESSING_FAILED, code, message, attempts)
        elif answer.get("result") == "Ok":
            yield _ok(item, answer, attempts)
        elif answer.get("result") != "Dropped":
            yield Failure(item, PROCESSING_FAILED, "Lambda.ProcessingFailedStatus", "the function failed it", attempts)


def _ok(item: Item, answer: Mapping[str, Any], attempts: int) -> Item | Failure:
    try:
        keys = (answer.get("metadata") or {}).get("partitionKeys") or {}
        texts = {name: str(value) for name, value in keys.items()}
        return item._replace(data=base64.b64decode(answer["data"], validate=True), keys={**item.keys, **texts})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"the function returned no data in base64, or partition keys of another kind: {error!r}"
        return Failure(item, PROCESSING_FAILED, "Lambda.InvalidResult", message, attempts)


def _answers(invoke: Callable[[], lambdas.Result], retries: int) -> tuple[dict[str, dict[str, Any]], str | None, int]:
    """What a function returned for each record id, or what its problem is."""
    problem: str | None = None
    for _ in range(retries + 1):
        result = invoke()
        problem = result.error
        if problem is not None:
            continue
        try:
            returned = json.loads(result.payload)["records"]
            return {answer["recordId"]: answer for answer in returned}, None, 1
        except (ValueError, KeyError, TypeError) as error:
            problem = f"the function returned no records: {error!r}"
    return {}, problem, retries + 1


def _record_id(item: Item) -> str:
    return f"{item.shard_id}:{item.record.sequence_number}"


def _event(item: Item) -> dict[str, Any]:
    arrival = round(item.record.arrival * 1000)
    return {
        "recordId": _record_id(item),
        "approximateArrivalTimestamp": arrival,
        "data": base64.b64encode(item.data).decode(),
        "kinesisRecordMetadata": {
            "shardId": item.shard_id,
            "partitionKey": item.record.partition_key,
            "sequenceNumber": item.record.sequence_number,
            "approximateArrivalTimestamp": arrival,
            "subsequenceNumber": 0,
        },
    }
