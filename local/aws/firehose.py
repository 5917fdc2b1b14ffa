"""Firehose: delivery streams that put what they get, or read from Kinesis, into S3.

A delivery stream is the folder ``<state>/firehose/<name>``: its definition, what was put directly (a stream of one
shard, of which what is delivered is deleted), and what was delivered. S3 is the only destination.
"""

import contextlib
import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from local.aws import firehose_metrics, kinesis_shards, kinesis_throughput, settings
from local.aws.firehose_definitions import Destination, destination
from local.aws.firehose_delivery import FlushError, Worker, time_scale
from local.aws.firehose_records import Naming
from local.aws.kinesis_shards import Definition, Stream, StreamGoneError
from local.aws.rpc import ApiError, Service, Timestamp, blob, refused

FLUSH = "/_local/firehose/"
"""``POST /_local/firehose/<name>/flush`` delivers what was put until now and answers with the objects' keys."""

FLUSH_SECONDS = 120.0
_RECORDS = 500
_RECORD_BYTES = 1_024_000
_BATCH_BYTES = 4 << 20
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_DESTINATION = "destinationId-000000000001"
_DIRECT, _KINESIS = "DirectPut", "KinesisStreamAsSource"
_FOREVER_HOURS = 24 * 365 * 100

Request = Any
Answer = Mapping[str, Any]


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidArgumentException", message)


@dataclass
class _Facts:
    """What the file of a delivery stream keeps."""

    created: float
    kind: str
    configuration: dict[str, Any]
    source: dict[str, str] | None = None
    version: int = 1
    updated: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)


class DeliveryStream:
    """One delivery stream, with its worker.

    Args:
        folder: Where everything of it is.
        checked: Its destination, when it was just checked.
    """

    def __init__(self, folder: Path, checked: Destination | None = None) -> None:
        self.name, self.folder = folder.name, folder
        self.facts = _Facts(**json.loads((folder / "definition.json").read_text()))
        self._destination = checked
        self._direct = Stream(folder / "records") if self.facts.kind == _DIRECT else None
        consumer = f"firehose-{self.name}-{self.facts.identity}"
        self.consumer = "firehose" if self._direct else consumer
        self.worker = Worker(folder, self.source, self.consumer, self._direct is not None, self._target)

    @property
    def arn(self) -> str:
        """The ARN."""
        return f"arn:aws:firehose:{settings.REGION}:{settings.ACCOUNT}:deliverystream/{self.name}"

    def source(self) -> Stream:
        """Where records come from.

        Raises:
            StreamGoneError: The Kinesis stream was deleted.
        """
        if self._direct:
            return self._direct
        return kinesis_shards.open_stream((self.facts.source or {})["KinesisStreamARN"])

    def direct(self) -> Stream:
        """Where records are put directly.

        Raises:
            ApiError: They come from Kinesis.
        """
        if self._direct is None:
            raise _invalid(f"{self.name} reads a Kinesis stream: put the records there")
        return self._direct

    def _target(self) -> tuple[Destination, Naming]:
        if self._destination is None:  # after a restart: what it needs may not have been there before
            self._destination = destination(self.facts.configuration)
        return self._destination, Naming(self.name, self.arn, str(self.facts.version))

    def save(self) -> None:
        """Keep changed `facts`."""
        kinesis_shards.replace(self.folder / "definition.json", json.dumps(asdict(self.facts)))

    def update(self, configuration: dict[str, Any]) -> None:
        """Change the destination."""
        checked = destination(configuration)

        def change() -> None:
            self.facts.configuration = configuration
            self.facts.version += 1
            self.facts.updated = time.time()
            self.save()
            self._destination = checked

        self.worker.change_target(change)

    def close(self) -> None:
        """Stop the worker; files stay."""
        self.worker.stop()
        if self._direct:
            self._direct.close()

    def delete(self) -> None:
        """Forget everything that is not delivered."""
        self.close()
        with contextlib.suppress(StreamGoneError):
            self.source().forget(self.consumer)
        shutil.rmtree(self.folder)


# --------------------------------------------------------------------------------------------------------- all of them

_streams: dict[str, DeliveryStream] = {}
_lock = threading.Lock()


def _folder() -> Path:
    return settings.current().state / "firehose"


def plug() -> None:
    """Open the delivery streams of the current settings' state."""
    time_scale()  # a wrong setting shows at the start
    with _lock:
        _streams.clear()
        for file in sorted(_folder().glob("*/definition.json")):
            _streams[file.parent.name] = DeliveryStream(file.parent)
    kinesis_shards.on_create.append(_source_created)
    firehose_metrics.offer(names, _metered)


def start() -> None:
    """Let the workers begin: S3 and the catalog must be there."""
    for stream in list(_streams.values()):
        stream.worker.start()


def stop() -> None:
    """Stop the workers; what is not delivered waits for the next start."""
    with _lock:
        for stream in _streams.values():
            stream.close()
        _streams.clear()


def _source_created(_: Stream) -> None:
    for stream in list(_streams.values()):
        stream.worker.wake()


def names() -> list[str]:
    """The delivery streams that exist, sorted."""
    with _lock:
        return sorted(_streams)


def _metered(name: str) -> tuple[Worker, Stream | None] | None:
    stream = _streams.get(name)
    if stream is None:
        return None
    return stream.worker, stream.direct() if stream.facts.kind == _DIRECT else None


def _stream(name: str) -> DeliveryStream:
    try:
        return _streams[name]
    except KeyError:
        raise ApiError(
            "ResourceNotFoundException", f"Firehose {name} under account {settings.ACCOUNT} not found."
        ) from None


def flush(name: str, timeout: float = FLUSH_SECONDS) -> list[str]:
    """Deliver what was put until now, without waiting for the buffering hints.

    Args:
        name: Of the delivery stream.
        timeout: Seconds to wait for it.

    Returns:
        The keys of the objects.

    Raises:
        ApiError: There is no such delivery stream, or it can't deliver.
    """
    try:
        return _stream(name).worker.flush(timeout)
    except FlushError as error:
        raise ApiError("ServiceUnavailableException", str(error), 503) from error


def answer_flush(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request below :data:`FLUSH`."""
    name, _, action = environ["PATH_INFO"].removeprefix(FLUSH).partition("/")
    status = "200 OK"
    answer: dict[str, Any] = {}
    try:
        if environ["REQUEST_METHOD"] != "POST" or action != "flush":
            raise ApiError("ValidationException", f"the only thing here is POST {FLUSH}<delivery stream>/flush")
        answer = {"Objects": flush(name)}
    except ApiError as error:
        status, answer = f"{error.status} Error", {"__type": error.code, "message": error.message}
    body = json.dumps(answer).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


# ----------------------------------------------------------------------------------------------------------------- API


def create_delivery_stream(
    delivery_stream_name: str,
    delivery_stream_type: str = _DIRECT,
    direct_put_source_configuration: Request = None,
    kinesis_stream_source_configuration: Request = None,
    s3_destination_configuration: Request = None,
    extended_s3_destination_configuration: Request = None,
    tags: Request = None,
) -> Answer:
    """CreateDeliveryStream."""
    if not _NAME.fullmatch(delivery_stream_name) or delivery_stream_name.strip(".") == "":
        raise _invalid(f"DeliveryStreamName {delivery_stream_name!r} must be 1 to 64 of a-z A-Z 0-9 _ . -")
    if (s3_destination_configuration is None) == (extended_s3_destination_configuration is None):
        raise _invalid("give ExtendedS3DestinationConfiguration or S3DestinationConfiguration, and only one")
    configuration = dict(extended_s3_destination_configuration or s3_destination_configuration)
    source = _checked_source(delivery_stream_type, kinesis_stream_source_configuration)
    checked = destination(configuration)
    facts = _Facts(
        created=time.time(),
        kind=delivery_stream_type,
        configuration=configuration,
        source=source,
        tags={tag["Key"]: tag.get("Value", "") for tag in tags or ()},
    )
    with _lock:
        if delivery_stream_name in _streams:
            raise ApiError("ResourceInUseException", f"Firehose {delivery_stream_name} already exists")
        stream = _create(_folder() / delivery_stream_name, facts, checked)
        _streams[delivery_stream_name] = stream
    stream.worker.start()
    return {"DeliveryStreamARN": stream.arn}


def _checked_source(kind: str, configuration: Mapping[str, str] | None) -> dict[str, str] | None:
    if kind not in (_DIRECT, _KINESIS):
        raise refused(f"DeliveryStreamType {kind}; there are {_DIRECT} and {_KINESIS}")
    if (configuration is None) == (kind == _KINESIS):
        raise _invalid(f"KinesisStreamSourceConfiguration must be given with {_KINESIS}, and only there")
    if configuration is None:
        return None
    try:
        kinesis_shards.open_stream(configuration["KinesisStreamARN"])
    except StreamGoneError as error:
        raise _invalid(f"KinesisStreamARN: {error}; create it first") from error
    return dict(configuration)


def _create(folder: Path, facts: _Facts, checked: Destination) -> DeliveryStream:
    if folder.exists():  # what a kill left of a creation or deletion
        shutil.rmtree(folder)
    if facts.kind == _DIRECT:
        Stream.create(folder / "records", 1, Definition(created=facts.created, retention_hours=_FOREVER_HOURS))
    else:
        folder.mkdir(parents=True)
    kinesis_shards.replace(folder / "definition.json", json.dumps(asdict(facts)))
    stream = DeliveryStream(folder, checked)
    if facts.kind == _KINESIS:  # it delivers what is put from now on
        source = stream.source()
        latest = {shard.shard_id: source.latest(shard.shard_id) for shard in source.shards()}
        positions = {shard_id: number for shard_id, number in latest.items() if number}
        source.checkpoints(stream.consumer).put_all(positions)
    return stream


def delete_delivery_stream(delivery_stream_name: str, allow_force_delete: bool = False) -> None:
    """DeleteDeliveryStream; what is not delivered is lost, as at AWS."""
    stream = _stream(delivery_stream_name)
    with _lock:
        _streams.pop(delivery_stream_name, None)
    stream.delete()


def list_delivery_streams(
    limit: int = 10,
    delivery_stream_type: str | None = None,
    exclusive_start_delivery_stream_name: str = "",
) -> Answer:
    """ListDeliveryStreams."""
    found = [
        name
        for name in names()
        if name > exclusive_start_delivery_stream_name and delivery_stream_type in (None, _stream(name).facts.kind)
    ]
    return {"DeliveryStreamNames": found[:limit], "HasMoreDeliveryStreams": len(found) > limit}


def describe_delivery_stream(
    delivery_stream_name: str, limit: int = 1, exclusive_start_destination_id: str | None = None
) -> Answer:
    """DescribeDeliveryStream."""
    stream = _stream(delivery_stream_name)
    facts = stream.facts
    plain = {"BufferingHints", "BucketARN", "CompressionFormat", "ErrorOutputPrefix", "Prefix", "RoleARN"}
    full = {
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "S3BackupMode": "Disabled",
        **facts.configuration,
    }
    description = {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": stream.arn,
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": facts.kind,
        "VersionId": str(facts.version),
        "CreateTimestamp": Timestamp(facts.created),
        "Destinations": [
            {
                "DestinationId": _DESTINATION,
                "S3DestinationDescription": {name: value for name, value in full.items() if name in plain},
                "ExtendedS3DestinationDescription": full,
            }
        ],
        "HasMoreDestinations": False,
    }
    if facts.updated is not None:
        description["LastUpdateTimestamp"] = Timestamp(facts.updated)
    if facts.source:
        source = {**facts.source, "DeliveryStartTimestamp": Timestamp(facts.created)}
        description["Source"] = {"KinesisStreamSourceDescription": source}
    return {"DeliveryStreamDescription": description}


def update_destination(
    delivery_stream_name: str,
    current_delivery_stream_version_id: str,
    destination_id: str,
    s3_destination_update: Request = None,
    extended_s3_destination_update: Request = None,
) -> None:
    """UpdateDestination; what the update leaves out stays as it is."""
    stream = _stream(delivery_stream_name)
    if destination_id != _DESTINATION:
        raise _invalid(f"DestinationId {destination_id!r} must be {_DESTINATION}")
    if (s3_destination_update is None) == (extended_s3_destination_update is None):
        raise _invalid("give ExtendedS3DestinationUpdate or S3DestinationUpdate, and only one")
    if current_delivery_stream_version_id != str(stream.facts.version):
        raise ApiError(
            "ConcurrentModificationException",
            f"CurrentDeliveryStreamVersionId {current_delivery_stream_version_id} is not {stream.facts.version}: "
            "describe the stream and try again",
        )
    stream.update({**stream.facts.configuration, **(extended_s3_destination_update or s3_destination_update)})


def set_destination(name: str, configuration: dict[str, Any]) -> None:
    """Give a delivery stream another destination, if it is another."""
    stream = _stream(name)
    if stream.facts.configuration != configuration:
        stream.update(configuration)


def tag_delivery_stream(delivery_stream_name: str, tags: list[Mapping[str, str]]) -> None:
    """TagDeliveryStream."""
    stream = _stream(delivery_stream_name)
    stream.facts.tags = {**stream.facts.tags, **{tag["Key"]: tag.get("Value", "") for tag in tags}}
    stream.save()


def untag_delivery_stream(delivery_stream_name: str, tag_keys: list[str]) -> None:
    """UntagDeliveryStream."""
    stream = _stream(delivery_stream_name)
    stream.facts.tags = {key: value for key, value in stream.facts.tags.items() if key not in tag_keys}
    stream.save()


def list_tags_for_delivery_stream(
    delivery_stream_name: str, exclusive_start_tag_key: str = "", limit: int = 50
) -> Answer:
    """ListTagsForDeliveryStream."""
    tags = sorted(_stream(delivery_stream_name).facts.tags.items())
    rest = [{"Key": key, "Value": value} for key, value in tags if key > exclusive_start_tag_key]
    return {"Tags": rest[:limit], "HasMoreTags": len(rest) > limit}


def _data(record: Mapping[str, Any]) -> bytes:
    if not isinstance(record, Mapping) or "Data" not in record:
        raise ApiError("ValidationException", "a record needs Data")
    data = blob(record["Data"])
    if len(data) > _RECORD_BYTES:
        raise ApiError("ValidationException", f"Data are {len(data)} bytes; a record takes {_RECORD_BYTES}")
    return data


def put_record(delivery_stream_name: str, record: Mapping[str, Any]) -> Answer:
    """PutRecord."""
    (placed,) = _put(delivery_stream_name, [_data(record)])
    if isinstance(placed, str):
        raise ApiError("ServiceUnavailableException", _exceeded(delivery_stream_name), 503)
    return {"RecordId": placed.sequence_number, "Encrypted": False}


def put_record_batch(delivery_stream_name: str, records: list[Mapping[str, Any]]) -> Answer:
    """PutRecordBatch."""
    if not 1 <= len(records) <= _RECORDS:
        raise _invalid(f"Records must be 1 to {_RECORDS}, not {len(records)}")
    data = [_data(record) for record in records]
    if (size := sum(map(len, data))) > _BATCH_BYTES:
        raise _invalid(f"Records are {size} bytes together; a request takes {_BATCH_BYTES}")
    answers = [
        {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": _exceeded(delivery_stream_name)}
        if isinstance(placed, str)
        else {"RecordId": placed.sequence_number}
        for placed in _put(delivery_stream_name, data)
    ]
    failed = sum("ErrorCode" in each for each in answers)
    return {"FailedPutCount": failed, "Encrypted": False, "RequestResponses": answers}


def _put(name: str, data: list[bytes]) -> list[kinesis_shards.Placed | str]:
    return _stream(name).direct().put((b"", each, 0) for each in data)


def _exceeded(name: str) -> str:
    return f"{name} gets records too fast: {kinesis_throughput.LIMIT} limits it; slow down and try again"


answer = Service(
    "firehose",
    {
        "CreateDeliveryStream": create_delivery_stream,
        "DeleteDeliveryStream": delete_delivery_stream,
        "DescribeDeliveryStream": describe_delivery_stream,
        "ListDeliveryStreams": list_delivery_streams,
        "ListTagsForDeliveryStream": list_tags_for_delivery_stream,
        "PutRecord": put_record,
        "PutRecordBatch": put_record_batch,
        "TagDeliveryStream": tag_delivery_stream,
        "UntagDeliveryStream": untag_delivery_stream,
        "UpdateDestination": update_destination,
    },
    unchecked=frozenset({"PutRecord", "PutRecordBatch"}),
)
