"""Checking what a delivery stream is asked to do: what is not done here is refused when the stream is created."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jq
from moto.s3.exceptions import S3ClientError

from local.aws import s3
from local.aws.firehose_compression import FORMATS
from local.aws.firehose_parquet import Conversion, conversion
from local.aws.firehose_prefix import BY_HOUR, ERROR_TYPE, KEY_NAMESPACES, Prefix
from local.aws.rpc import ApiError, refused

_KNOWN = {
    "BucketARN",
    "BufferingHints",
    "CloudWatchLoggingOptions",
    "CompressionFormat",
    "CustomTimeZone",
    "DataFormatConversionConfiguration",
    "DynamicPartitioningConfiguration",
    "EncryptionConfiguration",
    "ErrorOutputPrefix",
    "FileExtension",
    "Prefix",
    "ProcessingConfiguration",
    "RoleARN",
    "S3BackupMode",
}
_LARGE = 64
_MEGABYTE = 1 << 20
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\\\": "\\"}


class Function(NamedTuple):
    """A Lambda function that changes records.

    Attributes:
        arn: Of the function.
        retries: How often a failed invocation is repeated.
        size: Bytes of data that one invocation gets.
    """

    arn: str
    retries: int
    size: int


@dataclass(frozen=True)
class Destination:
    """A checked ExtendedS3DestinationConfiguration.

    Attributes:
        bucket: Name of the bucket.
        prefix: Of objects with records.
        error_prefix: Of objects with failed records.
        size: Bytes of records that are delivered at once.
        interval: Seconds after which they are delivered in any case.
        compression: One of Firehose's formats.
        extension: The end of objects' keys.
        zone: Of timestamps in prefixes.
        function: Changes the records first.
        apart: How several records in one are told apart: None, ``JSON``, or the delimiter.
        query: A jq program that gives the partition keys.
        delimiter: Follows each record.
        conversion: To Parquet.
        partitioned: Whether partition keys are in the prefix.
        logs: CloudWatch's log group and stream for what goes wrong.
    """

    bucket: str
    prefix: Prefix
    error_prefix: Prefix
    size: int
    interval: float
    compression: str
    extension: str
    zone: tzinfo
    function: Function | None
    apart: str | None
    query: Any
    delimiter: bytes
    conversion: Conversion | None
    partitioned: bool
    logs: tuple[str, str] | None


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidArgumentException", message)


def destination(configuration: Mapping[str, Any]) -> Destination:
    """Check the destination of a delivery stream.

    Args:
        configuration: ExtendedS3DestinationConfiguration.

    Raises:
        ApiError: It is wrong, or asks for what is not done here.
    """
    if unknown := sorted(configuration.keys() - _KNOWN):
        raise refused(f"{', '.join(unknown)} of the S3 destination")
    if configuration.get("S3BackupMode", "Disabled") != "Disabled":
        raise refused("S3BackupMode other than Disabled")
    if "KMSEncryptionConfig" in configuration.get("EncryptionConfiguration", {}):
        raise refused("KMSEncryptionConfig of EncryptionConfiguration")
    convert = conversion(configuration.get("DataFormatConversionConfiguration", {}))
    partitioned = bool(configuration.get("DynamicPartitioningConfiguration", {}).get("Enabled"))
    compression = configuration.get("CompressionFormat", "UNCOMPRESSED")
    if compression not in FORMATS:
        raise _invalid(f"CompressionFormat {compression!r} must be one of {', '.join(FORMATS)}")
    if convert and compression != "UNCOMPRESSED":
        raise _invalid("CompressionFormat must be UNCOMPRESSED with format conversion: ParquetSerDe compresses")
    size, interval = _buffering(configuration.get("BufferingHints", {}), bool(convert or partitioned))
    zone = _zone(configuration.get("CustomTimeZone") or "UTC")
    processors = _processors(configuration.get("ProcessingConfiguration", {}))
    query = processors.get("MetadataExtraction")
    prefix, error_prefix = _prefixes(configuration, zone, partitioned, query is not None, "Lambda" in processors)
    extension = ".parquet" if convert else FORMATS[compression][0]
    return Destination(
        bucket=_bucket(configuration.get("BucketARN", "")),
        prefix=prefix,
        error_prefix=error_prefix,
        size=size,
        interval=interval,
        compression=compression,
        extension=configuration.get("FileExtension") or extension,
        zone=zone,
        function=processors.get("Lambda"),
        apart=processors.get("RecordDeAggregation"),
        query=query,
        delimiter=processors.get("AppendDelimiterToRecord", b""),
        conversion=convert,
        partitioned=partitioned,
        logs=_logs(configuration.get("CloudWatchLoggingOptions", {})),
    )


def _bucket(arn: str) -> str:
    name = arn.rpartition(":")[2]
    try:
        s3.backend().get_bucket(name)
    except S3ClientError:
        raise _invalid(f"BucketARN {arn!r}: there is no such bucket; create it first") from None
    return name


def _buffering(hints: Mapping[str, Any], large: bool) -> tuple[int, float]:
    if hints and hints.keys() != {"SizeInMBs", "IntervalInSeconds"}:
        raise _invalid("BufferingHints needs both SizeInMBs and IntervalInSeconds")
    size = hints.get("SizeInMBs", 128 if large else 5)
    interval = hints.get("IntervalInSeconds", 300)
    least = _LARGE if large else 1
    if not least <= size <= 128:
        raise _invalid(
            f"SizeInMBs {size} must be {least} to 128" + (" with partitioning or format conversion" if large else "")
        )
    if not 0 <= interval <= 900:
        raise _invalid(f"IntervalInSeconds {interval} must be 0 to 900")
    return size * _MEGABYTE, float(interval)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise _invalid(f"CustomTimeZone {name!r} is no time zone") from None


def _logs(options: Mapping[str, Any]) -> tuple[str, str] | None:
    if not options.get("Enabled"):
        return None
    if not options.get("LogGroupName") or not options.get("LogStreamName"):
        raise _invalid("CloudWatchLoggingOptions needs LogGroupName and LogStreamName when it is enabled")
    return options["LogGroupName"], options["LogStreamName"]


# ------------------------------------------------------------------------------------------------------------ prefixes


def _prefixes(
    configuration: Mapping[str, Any], zone: tzinfo, partitioned: bool, queried: bool, function: bool
) -> tuple[Prefix, Prefix]:
    text, error_text = configuration.get("Prefix", ""), configuration.get("ErrorOutputPrefix", "")
    prefix = Prefix(text, "Prefix", zone)
    if ERROR_TYPE in prefix.values("firehose"):
        raise _invalid(f"Prefix must not have !{{firehose:{ERROR_TYPE}}}: that belongs to ErrorOutputPrefix")
    if ("!{" in text or partitioned) and not error_text:
        raise _invalid("ErrorOutputPrefix must be given with dynamic partitioning or expressions in Prefix")
    if "!{" not in error_text:
        error_text = (error_text or text) + f"!{{firehose:{ERROR_TYPE}}}/{BY_HOUR}"
    error_prefix = Prefix(error_text, "ErrorOutputPrefix", zone)
    if ERROR_TYPE not in error_prefix.values("firehose"):
        raise _invalid(f"ErrorOutputPrefix must have !{{firehose:{ERROR_TYPE}}}")
    if any(error_prefix.values(namespace) for namespace in KEY_NAMESPACES):
        raise _invalid("ErrorOutputPrefix must not have partition keys: failed records have none")
    given = {"partitionKeyFromQuery": queried, "partitionKeyFromLambda": function}
    for namespace, source in given.items():
        if prefix.values(namespace) and not (partitioned and source):
            raise _invalid(
                f"Prefix: !{{{namespace}:…}} needs DynamicPartitioningConfiguration and the processor that gives keys"
            )
    if partitioned and not any(prefix.values(namespace) for namespace in KEY_NAMESPACES):
        raise _invalid("Prefix must have a partition key with dynamic partitioning")
    return prefix, error_prefix


# ---------------------------------------------------------------------------------------------------------- processors


def _processors(configuration: Mapping[str, Any]) -> dict[str, Any]:
    if not configuration.get("Enabled"):
        return {}
    read = {
        "AppendDelimiterToRecord": _delimiter,
        "Lambda": _function,
        "MetadataExtraction": _query,
        "RecordDeAggregation": _apart,
    }
    found: dict[str, Any] = {}
    for processor in configuration.get("Processors", []):
        kind = processor["Type"]
        if kind not in read:
            raise refused(f"the processor {kind}; there are {', '.join(read)}")
        if kind in found:
            raise _invalid(f"the processor {kind} may be there once")
        parameters = {each["ParameterName"]: each["ParameterValue"] for each in processor.get("Parameters", [])}
        found[kind] = read[kind](parameters)
        if parameters:
            raise refused(f"{', '.join(parameters)} of the processor {kind}")
    return found


def _delimiter(parameters: dict[str, str]) -> bytes:
    return _unescaped(parameters.pop("Delimiter", "\\n")).encode()


def _unescaped(text: str) -> str:
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def _apart(parameters: dict[str, str]) -> str:
    kind = parameters.pop("SubRecordType", "")
    if kind == "JSON":
        return kind
    if kind != "DELIMITED" or "Delimiter" not in parameters:
        raise _invalid("RecordDeAggregation needs SubRecordType JSON, or DELIMITED with a Delimiter")
    return _unescaped(parameters.pop("Delimiter"))


def _query(parameters: dict[str, str]) -> Any:
    program = parameters.pop("MetadataExtractionQuery", "")
    engine = parameters.pop("JsonParsingEngine", "JQ-1.6")
    if not program or engine != "JQ-1.6":
        raise _invalid("MetadataExtraction needs MetadataExtractionQuery and JsonParsingEngine JQ-1.6")
    try:
        return jq.compile(program)
    except ValueError as error:
        raise _invalid(f"MetadataExtractionQuery {program!r} is no jq program: {error}") from error


def _function(parameters: dict[str, str]) -> Function:
    arn = parameters.pop("LambdaArn", "")
    if not arn:
        raise _invalid("the processor Lambda needs LambdaArn")
    for name in ("RoleArn", "BufferIntervalInSeconds"):  # records wait for the delivery in any case
        parameters.pop(name, None)
    size = float(parameters.pop("BufferSizeInMBs", "1"))
    retries = int(parameters.pop("NumberOfRetries", "3"))
    if not 0.2 <= size <= 3 or not 0 <= retries <= 300:
        raise _invalid("BufferSizeInMBs must be 0.2 to 3 and NumberOfRetries 0 to 300")
    return Function(arn, retries, int(size * _MEGABYTE))
