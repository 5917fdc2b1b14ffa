"""Kinesis Data Streams: the API over the durable streams of `kinesis_shards`.

Streams are active as soon as they are created and gone as soon as they are deleted. Not done here: enhanced fan-out,
encryption, enhanced monitoring and resource policies.
"""

import base64
import hashlib
import json
import re
import time
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from local.aws import kinesis_metrics, kinesis_shards, kinesis_throughput, settings
from local.aws.kinesis_shards import (
    BATCH_BYTES,
    HASH_KEYS,
    Definition,
    SequenceNumberError,
    Shard,
    Stream,
    StreamGoneError,
    TopologyError,
)
from local.aws.rpc import ApiError, Service, Timestamp, blob, refused

PAGE = 10_000
ITERATOR_SECONDS = 300
_ON_DEMAND_SHARDS = 4
_RECORDS = 500
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_LONGEST_RETENTION = 8760

Request = Any
Answer = Mapping[str, Any]


def plug() -> None:
    """Open the streams of the current settings' state and offer their metrics."""
    kinesis_throughput.limit()  # a wrong setting shows at the start
    kinesis_shards.load()
    kinesis_metrics.offer()


def stop() -> None:
    """Let go of the streams, after their consumers have stopped."""
    kinesis_shards.close()


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidArgumentException", message)


def _stream(name: str | None, arn: str | None) -> Stream:
    if not name and not arn:
        raise _invalid("StreamName or StreamARN must be given")
    try:
        stream = kinesis_shards.open_stream(arn or name or "")
    except StreamGoneError as error:
        raise ApiError("ResourceNotFoundException", f"Stream not found: {error}") from error
    if name and stream.name != name:
        raise _invalid(f"StreamName {name} and StreamARN {arn} are different streams")
    return stream


# ------------------------------------------------------------------------------------------------------------- streams


def create_stream(
    stream_name: str,
    shard_count: int | None = None,
    stream_mode_details: Request = None,
    tags: Request = None,
    max_record_size_in_ki_b: int = 1024,
) -> None:
    """CreateStream."""
    if not _NAME.fullmatch(stream_name) or stream_name.strip(".") == "":
        raise ApiError("ValidationException", f"StreamName {stream_name!r} must be 1 to 128 of a-z A-Z 0-9 _ . -")
    mode = (stream_mode_details or {}).get("StreamMode", "PROVISIONED")
    if mode not in ("PROVISIONED", "ON_DEMAND"):
        raise ApiError("ValidationException", f"StreamMode {mode!r} must be PROVISIONED or ON_DEMAND")
    if (shard_count is None) == (mode == "PROVISIONED"):
        raise ApiError("ValidationException", "ShardCount must be given in the mode PROVISIONED, and only there")
    definition = Definition(
        created=time.time(), mode=mode, tags=dict(tags or {}), max_record_kib=_record_size(max_record_size_in_ki_b)
    )
    try:
        kinesis_shards.create_stream(stream_name, shard_count or _ON_DEMAND_SHARDS, definition)
    except FileExistsError:
        raise ApiError("ResourceInUseException", f"Stream {stream_name} already exists") from None


def delete_stream(
    stream_name: str | None = None,
    stream_arn: str | None = None,
    enforce_consumer_deletion: bool = False,
) -> None:
    """DeleteStream; there are no registered consumers that could hinder it."""
    kinesis_shards.delete_stream(_stream(stream_name, stream_arn).name)


def list_streams(
    limit: int = 100, exclusive_start_stream_name: str | None = None, next_token: str | None = None
) -> Answer:
    """ListStreams."""
    names = kinesis_shards.names()
    begin = bisect_right(names, next_token or exclusive_start_stream_name or "")
    page = names[begin : begin + limit]
    more = begin + limit < len(names)
    return {
        "StreamNames": page,
        "HasMoreStreams": more,
        "StreamSummaries": [_summary(kinesis_shards.open_stream(name)) for name in page],
        **({"NextToken": page[-1]} if more else {}),
    }


def _summary(stream: Stream) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": stream.definition.mode},
        "StreamCreationTimestamp": Timestamp(stream.definition.created),
    }


def _monitoring(stream: Stream) -> dict[str, Any]:
    return {
        "RetentionPeriodHours": stream.definition.retention_hours,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }


def describe_stream(
    stream_name: str | None = None,
    stream_arn: str | None = None,
    limit: int = 100,
    exclusive_start_shard_id: str | None = None,
) -> Answer:
    """DescribeStream."""
    stream = _stream(stream_name, stream_arn)
    shards = [shard for shard in stream.shards() if shard.shard_id > (exclusive_start_shard_id or "")]
    return {
        "StreamDescription": {
            **_summary(stream),
            **_monitoring(stream),
            "Shards": [_shard(shard) for shard in shards[:limit]],
            "HasMoreShards": len(shards) > limit,
        }
    }


def describe_stream_summary(stream_name: str | None = None, stream_arn: str | None = None) -> Answer:
    """DescribeStreamSummary."""
    stream = _stream(stream_name, stream_arn)
    return {
        "StreamDescriptionSummary": {
            **_summary(stream),
            **_monitoring(stream),
            "StreamId": stream.definition.identity,
            "OpenShardCount": stream.open_shards,
            "ConsumerCount": 0,
            "MaxRecordSizeInKiB": stream.definition.max_record_kib,
        }
    }


def describe_limits() -> Answer:
    """DescribeLimits."""
    streams = [kinesis_shards.open_stream(name) for name in kinesis_shards.names()]
    return {
        "ShardLimit": 1_000_000,
        "OpenShardCount": sum(stream.open_shards for stream in streams),
        "OnDemandStreamCount": sum(stream.definition.mode == "ON_DEMAND" for stream in streams),
        "OnDemandStreamCountLimit": 1_000_000,
    }


# ---------------------------------------------------------------------------------------------------- their definition


def _record_size(kib: int) -> int:
    if not 1024 <= kib <= BATCH_BYTES >> 10:
        raise ApiError("ValidationException", f"MaxRecordSizeInKiB {kib} must be 1024 to {BATCH_BYTES >> 10}")
    return kib


def update_max_record_size(stream_arn: str, max_record_size_in_ki_b: int) -> None:
    """UpdateMaxRecordSize."""
    stream = _stream(None, stream_arn)
    stream.definition.max_record_kib = _record_size(max_record_size_in_ki_b)
    stream.save()


def increase_stream_retention_period(
    retention_period_hours: int, stream_name: str | None = None, stream_arn: str | None = None
) -> None:
    """IncreaseStreamRetentionPeriod."""
    _retain(_stream(stream_name, stream_arn), retention_period_hours, 1)


def decrease_stream_retention_period(
    retention_period_hours: int, stream_name: str | None = None, stream_arn: str | None = None
) -> None:
    """DecreaseStreamRetentionPeriod."""
    _retain(_stream(stream_name, stream_arn), retention_period_hours, -1)


def _retain(stream: Stream, hours: int, direction: int) -> None:
    now = stream.definition.retention_hours
    if not 24 <= hours <= _LONGEST_RETENTION or (hours - now) * direction < 0:
        side = "at least" if direction > 0 else "at most"
        raise _invalid(
            f"RetentionPeriodHours {hours} must be 24 to {_LONGEST_RETENTION} and {side} the {now} hours of now"
        )
    stream.definition.retention_hours = hours
    stream.save()


def update_stream_mode(stream_arn: str, stream_mode_details: Request) -> None:
    """UpdateStreamMode."""
    stream = _stream(None, stream_arn)
    stream.definition.mode = stream_mode_details["StreamMode"]
    stream.save()


def add_tags_to_stream(tags: Request, stream_name: str | None = None, stream_arn: str | None = None) -> None:
    """AddTagsToStream, and TagResource."""
    stream = _stream(stream_name, stream_arn)
    wanted = {**stream.definition.tags, **tags}
    if len(wanted) > 50:
        raise _invalid(f"the stream {stream.name} would have {len(wanted)} tags; 50 are allowed")
    stream.definition.tags = wanted
    stream.save()


def remove_tags_from_stream(tag_keys: list[str], stream_name: str | None = None, stream_arn: str | None = None) -> None:
    """RemoveTagsFromStream, and UntagResource."""
    stream = _stream(stream_name, stream_arn)
    stream.definition.tags = {key: value for key, value in stream.definition.tags.items() if key not in tag_keys}
    stream.save()


def list_tags_for_stream(
    stream_name: str | None = None,
    stream_arn: str | None = None,
    exclusive_start_tag_key: str = "",
    limit: int = 50,
) -> Answer:
    """ListTagsForStream."""
    tags = sorted(_stream(stream_name, stream_arn).definition.tags.items())
    rest = [{"Key": key, "Value": value} for key, value in tags if key > exclusive_start_tag_key]
    return {"Tags": rest[:limit], "HasMoreTags": len(rest) > limit}


# -------------------------------------------------------------------------------------------------------------- shards


def _shard(shard: Shard) -> dict[str, Any]:
    names = ("ParentShardId", "AdjacentParentShardId")
    ending = {} if shard.ending_sequence_number is None else {"EndingSequenceNumber": shard.ending_sequence_number}
    return {
        "ShardId": shard.shard_id,
        **dict(zip(names, shard.parents, strict=False)),
        "HashKeyRange": _hash_keys(shard),
        "SequenceNumberRange": {"StartingSequenceNumber": shard.starting_sequence_number, **ending},
    }


def _hash_keys(shard: Shard) -> dict[str, str]:
    return {"StartingHashKey": str(shard.starting_hash_key), "EndingHashKey": str(shard.ending_hash_key)}


def list_shards(
    stream_name: str | None = None,
    stream_arn: str | None = None,
    next_token: str | None = None,
    exclusive_start_shard_id: str | None = None,
    max_results: int = 1000,
    stream_creation_timestamp: float | None = None,
    shard_filter: Request = None,
) -> Answer:
    """ListShards."""
    if next_token:
        try:
            stream_name, exclusive_start_shard_id, shard_filter = json.loads(base64.urlsafe_b64decode(next_token))
        except ValueError as error:
            raise _invalid("NextToken is not one of ListShards") from error
    stream = _stream(stream_name, stream_arn)
    shards = _filtered(stream, shard_filter or {})
    rest = [shard for shard in shards if shard.shard_id > (exclusive_start_shard_id or "")]
    page = rest[:max_results]
    answer: dict[str, Any] = {"Shards": [_shard(shard) for shard in page]}
    if len(rest) > len(page):
        token = json.dumps([stream.name, page[-1].shard_id, shard_filter])
        answer["NextToken"] = base64.urlsafe_b64encode(token.encode()).decode()
    return answer


def _filtered(stream: Stream, wanted: Mapping[str, Any]) -> list[Shard]:
    shards, kind = stream.shards(), wanted.get("Type")
    horizon = time.time() - stream.definition.retention_hours * 3600
    if kind == "AFTER_SHARD_ID":
        if "ShardId" not in wanted:
            raise _invalid("ShardFilter of the type AFTER_SHARD_ID needs a ShardId")
        return [shard for shard in shards if shard.shard_id > wanted["ShardId"]]
    if kind == "AT_LATEST":
        return [shard for shard in shards if shard.closed is None]
    if kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP") and "Timestamp" not in wanted:
        raise _invalid(f"ShardFilter of the type {kind} needs a Timestamp")
    moment = max(float(wanted.get("Timestamp", horizon)), horizon, stream.definition.created)
    if kind in ("AT_TIMESTAMP", "AT_TRIM_HORIZON"):
        shards = [shard for shard in shards if shard.opened <= moment]
    return [shard for shard in shards if shard.closed is None or kind is None or shard.closed > moment]


def split_shard(
    shard_to_split: str, new_starting_hash_key: str, stream_name: str | None = None, stream_arn: str | None = None
) -> None:
    """SplitShard."""
    _reshape(_stream(stream_name, stream_arn), "split", shard_to_split, _hash_key(new_starting_hash_key))


def merge_shards(
    shard_to_merge: str, adjacent_shard_to_merge: str, stream_name: str | None = None, stream_arn: str | None = None
) -> None:
    """MergeShards."""
    _reshape(_stream(stream_name, stream_arn), "merge", shard_to_merge, adjacent_shard_to_merge)


def _reshape(stream: Stream, how: str, *arguments: Any) -> None:
    try:
        getattr(stream, how)(*arguments)
    except StreamGoneError as error:
        raise ApiError("ResourceNotFoundException", str(error)) from error
    except TopologyError as error:
        raise _invalid(str(error)) from error


def update_shard_count(
    target_shard_count: int, scaling_type: str, stream_name: str | None = None, stream_arn: str | None = None
) -> Answer:
    """UpdateShardCount."""
    stream = _stream(stream_name, stream_arn)
    now = stream.open_shards
    if scaling_type != "UNIFORM_SCALING":
        raise _invalid(f"ScalingType {scaling_type!r} must be UNIFORM_SCALING")
    if stream.definition.mode != "PROVISIONED":
        raise ApiError("ValidationException", f"the stream {stream.name} is on demand: it has no shard count to update")
    if not now / 2 <= target_shard_count <= now * 2:
        raise ApiError(
            "LimitExceededException",
            f"TargetShardCount {target_shard_count} must be at least half and at most double the {now} shards of now",
        )
    stream.scale(target_shard_count)
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardCount": now,
        "TargetShardCount": target_shard_count,
    }


# ------------------------------------------------------------------------------------------------------------- putting


def _hash_key(text: str) -> int:
    if not text.isdecimal() or int(text) >= HASH_KEYS:
        raise _invalid(f"a hash key is a number from 0 to 2^128 - 1, not {text!r}")
    return int(text)


def _entry(stream: Stream, record: Mapping[str, Any]) -> tuple[bytes, bytes, int]:
    """Partition key, data and hash key of a record."""
    try:
        text, data = record["PartitionKey"], record["Data"]
    except KeyError as error:
        raise ApiError("ValidationException", f"a record needs {error.args[0]}") from error
    if not isinstance(text, str) or not 1 <= len(text) <= 256:
        raise ApiError("ValidationException", "PartitionKey must be 1 to 256 characters")
    key, data = text.encode(), blob(data)
    if len(key) + len(data) > stream.definition.max_record_kib << 10:
        raise ApiError(
            "ValidationException",
            f"Data and PartitionKey are {len(key) + len(data)} bytes; the stream {stream.name} takes records of "
            f"{stream.definition.max_record_kib} KiB",
        )
    explicit = record.get("ExplicitHashKey")
    if explicit is not None:
        return key, data, _hash_key(explicit)
    return key, data, int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest())


def put_record(
    data: str | bytes,
    partition_key: str,
    stream_name: str | None = None,
    stream_arn: str | None = None,
    explicit_hash_key: str | None = None,
    sequence_number_for_ordering: str | None = None,
) -> Answer:
    """PutRecord; every record is ordered here, with or without SequenceNumberForOrdering."""
    stream = _stream(stream_name, stream_arn)
    record = {"Data": data, "PartitionKey": partition_key, "ExplicitHashKey": explicit_hash_key}
    (placed,) = _put(stream, [_entry(stream, record)])
    if isinstance(placed, str):
        raise ApiError("ProvisionedThroughputExceededException", _exceeded(stream, placed))
    return {"ShardId": placed.shard_id, "SequenceNumber": placed.sequence_number, "EncryptionType": "NONE"}


def put_records(
    records: list[Mapping[str, Any]], stream_name: str | None = None, stream_arn: str | None = None
) -> Answer:
    """PutRecords."""
    stream = _stream(stream_name, stream_arn)
    if not 1 <= len(records) <= _RECORDS:
        raise ApiError("ValidationException", f"Records must be 1 to {_RECORDS}, not {len(records)}")
    entries = [_entry(stream, record) for record in records]
    if (size := sum(len(key) + len(data) for key, data, _ in entries)) > BATCH_BYTES:
        raise _invalid(f"Records are {size} bytes together; a request takes {BATCH_BYTES}")
    answers = [
        {
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": _exceeded(stream, placed),
        }
        if isinstance(placed, str)
        else {"SequenceNumber": placed.sequence_number, "ShardId": placed.shard_id}
        for placed in _put(stream, entries)
    ]
    failed = sum("ErrorCode" in answer for answer in answers)
    return {"FailedRecordCount": failed, "Records": answers, "EncryptionType": "NONE"}


def _put(stream: Stream, entries: list[tuple[bytes, bytes, int]]) -> list[kinesis_shards.Placed | str]:
    try:
        return stream.put(entries)
    except StreamGoneError as error:
        raise ApiError("ResourceNotFoundException", str(error)) from error


def _exceeded(stream: Stream, shard_id: str) -> str:
    return (
        f"Rate exceeded for shard {shard_id} in stream {stream.name} under account {settings.ACCOUNT}: "
        f"{kinesis_throughput.LIMIT} limits it"
    )


# ------------------------------------------------------------------------------------------------------------- reading


def _iterator(stream: Stream, shard_id: str, after: str | None) -> str:
    fields = [stream.name, stream.definition.identity, shard_id, after, round(time.time(), 3)]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def get_shard_iterator(
    shard_id: str,
    shard_iterator_type: str,
    stream_name: str | None = None,
    stream_arn: str | None = None,
    starting_sequence_number: str | None = None,
    timestamp: float | None = None,
) -> Answer:
    """GetShardIterator."""
    stream = _stream(stream_name, stream_arn)
    try:
        after = _position(stream, shard_id, shard_iterator_type, starting_sequence_number, timestamp)
    except StreamGoneError as error:
        raise ApiError("ResourceNotFoundException", str(error)) from error
    except SequenceNumberError as error:
        raise _invalid(f"StartingSequenceNumber: {error}") from error
    return {"ShardIterator": _iterator(stream, shard_id, after)}


def _position(stream: Stream, shard_id: str, kind: str, number: str | None, timestamp: float | None) -> str | None:
    latest = stream.latest(shard_id)
    if kind == "TRIM_HORIZON":
        return None
    if kind == "LATEST":
        return latest
    if kind == "AT_TIMESTAMP":
        if timestamp is None:
            raise _invalid("AT_TIMESTAMP needs a Timestamp")
        return stream.before(shard_id, timestamp)
    if number is None:
        raise _invalid(f"{kind} needs a StartingSequenceNumber")
    if kind == "AT_SEQUENCE_NUMBER":
        return stream.preceding(shard_id, number)
    if kind == "AFTER_SEQUENCE_NUMBER":
        stream.preceding(shard_id, number)
        return number
    raise _invalid(f"ShardIteratorType {kind!r} is none of Kinesis")


def get_records(shard_iterator: str, limit: int = PAGE, stream_arn: str | None = None) -> Answer:
    """GetRecords."""
    try:
        name, identity, shard_id, after, issued = json.loads(base64.urlsafe_b64decode(shard_iterator))
    except ValueError as error:
        raise _invalid("ShardIterator is not one of GetShardIterator") from error
    if not 1 <= limit <= PAGE:
        raise ApiError("ValidationException", f"Limit {limit} must be 1 to {PAGE}")
    if time.time() - issued > ITERATOR_SECONDS:
        raise ApiError("ExpiredIteratorException", f"the iterator is older than {ITERATOR_SECONDS} s: get another")
    stream = _stream(name, stream_arn)
    if stream.definition.identity != identity:
        raise ApiError("ResourceNotFoundException", f"the stream {name} of this iterator was deleted")
    try:
        return _page(stream, shard_id, after, limit)
    except StreamGoneError as error:
        raise ApiError("ResourceNotFoundException", str(error)) from error


def _page(stream: Stream, shard_id: str, after: str | None, limit: int) -> Answer:
    records = stream.read(shard_id, after, limit)
    after = records[-1].sequence_number if records else after
    oldest = stream.oldest(shard_id, after)
    answer: dict[str, Any] = {
        "Records": [
            {
                "SequenceNumber": record.sequence_number,
                "ApproximateArrivalTimestamp": Timestamp(record.arrival),
                "Data": record.data,
                "PartitionKey": record.partition_key,
                "EncryptionType": "NONE",
            }
            for record in records
        ],
        "MillisBehindLatest": 0 if oldest is None else max(int((time.time() - oldest) * 1000), 1),
    }
    if not stream.drained(shard_id, after):
        return {**answer, "NextShardIterator": _iterator(stream, shard_id, after)}
    children = [
        {"ShardId": child.shard_id, "ParentShards": list(child.parents), "HashKeyRange": _hash_keys(child)}
        for child in stream.children(shard_id)
    ]
    return {**answer, "ChildShards": children}


def _not_done(what: str) -> Any:
    def refuse(**_: Any) -> None:
        raise refused(what)

    return refuse


answer = Service(
    "kinesis",
    {
        "AddTagsToStream": add_tags_to_stream,
        "CreateStream": create_stream,
        "DecreaseStreamRetentionPeriod": decrease_stream_retention_period,
        "DeleteStream": delete_stream,
        "DescribeLimits": describe_limits,
        "DescribeStream": describe_stream,
        "DescribeStreamSummary": describe_stream_summary,
        "GetRecords": get_records,
        "GetShardIterator": get_shard_iterator,
        "IncreaseStreamRetentionPeriod": increase_stream_retention_period,
        "ListShards": list_shards,
        "ListStreams": list_streams,
        "ListTagsForResource": lambda resource_arn: {"Tags": list_tags_for_stream(stream_arn=resource_arn)["Tags"]},
        "ListTagsForStream": list_tags_for_stream,
        "MergeShards": merge_shards,
        "PutRecord": put_record,
        "PutRecords": put_records,
        "RemoveTagsFromStream": remove_tags_from_stream,
        "SplitShard": split_shard,
        "TagResource": lambda resource_arn, tags: add_tags_to_stream(tags, stream_arn=resource_arn),
        "UntagResource": lambda resource_arn, tag_keys: remove_tags_from_stream(tag_keys, stream_arn=resource_arn),
        "UpdateMaxRecordSize": update_max_record_size,
        "UpdateShardCount": update_shard_count,
        "UpdateStreamMode": update_stream_mode,
    },
    unchecked=frozenset({"PutRecords", "PutRecord", "GetRecords"}),
)
