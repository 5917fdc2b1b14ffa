"""Event-source mappings: streams and queues that are read for Lambda functions.

A mapping is identified by its function and its source: deployed again after the stack stopped, it goes on where it was.
"""

from collections.abc import Callable
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventSourceMapping, lambda_backends

from local.aws import destinations, event_patterns, lambda_definitions
from local.aws.event_patterns import Matcher
from local.aws.event_source_batches import Rules
from local.aws.event_source_kinesis import KinesisReader, Reading
from local.aws.event_source_queue import CONCURRENCY, QueueReader, Receiving, queue_of
from local.aws.kinesis_shards import StreamGoneError, open_stream
from local.aws.lambda_definitions import UnsupportedError
from local.aws.settings import ACCOUNT, REGION

_ALWAYS = {
    *("FunctionName", "EventSourceArn", "Enabled", "BatchSize", "MaximumBatchingWindowInSeconds", "FilterCriteria"),
    *("FunctionResponseTypes", "Tags", "UUID"),
    *("RegionName", "AccountId", "FunctionArn"),  # which moto puts in
}
_OF_SOURCE = {
    "kinesis": {
        *("StartingPosition", "StartingPositionTimestamp", "BisectBatchOnFunctionError", "MaximumRecordAgeInSeconds"),
        *("MaximumRetryAttempts", "ParallelizationFactor", "DestinationConfig"),
    },
    "sqs": {"ScalingConfig"},
}
_RANGES = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "MaximumRetryAttempts": (-1, 10_000),
    "ParallelizationFactor": (1, 10),
}
_STREAM_DEFAULTS = {
    "BisectBatchOnFunctionError": False,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
}


class MissingSourceError(LambdaClientError):
    """There is no such stream or queue."""

    code = 404

    def __init__(self, arn: str) -> None:
        super().__init__("ResourceNotFoundException", f"EventSourceArn: {arn} does not exist")


class ExistingMappingError(LambdaClientError):
    """The function reads the source already."""

    code = 409

    def __init__(self, arn: str, function: str, uuid: str) -> None:
        message = (
            f'The event source arn ("{arn}") and function ("{function}") provided mapping already exists. Please '
            f"update or delete the existing mapping with UUID {uuid}"
        )
        super().__init__("ResourceConflictException", message)


class Mapping(EventSourceMapping):
    """One mapping, which reads while it is enabled.

    Args:
        spec: The request that creates it.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self._spec = spec
        self._reader: KinesisReader | QueueReader | None = None
        self._start()

    def update(self, changes: dict[str, Any]) -> None:
        """Change the mapping; batches that are at work are finished first."""
        spec = _checked({**self._spec, **changes})
        changed = EventSourceMapping(spec)  # type: ignore[abstract]
        vars(self).update({name: value for name, value in vars(changed).items() if name not in ("uuid", "arn")})
        self._spec = spec
        previous, self._reader = self._reader, None
        if previous is not None:
            previous.stop()
            self._start(previous.join)
        else:
            self._start()

    def delete(self, *_: Any) -> None:
        """Stop reading and forget the position."""
        if self._reader is not None:
            self._reader.forget()
        elif destinations.kind(self.event_source_arn) == "kinesis":
            stream = open_stream(self.event_source_arn)
            stream.checkpoints(f"lambda-{lambda_definitions.function_name(self.function_arn)}").forget()

    def stop(self) -> None:
        """Stop reading; the position stays."""
        if self._reader is not None:
            self._reader.stop()

    def join(self) -> None:
        """Wait until nothing is at work any more."""
        if self._reader is not None:
            self._reader.join()

    def _start(self, previous: Callable[[], None] = lambda: None) -> None:
        if not self.enabled:
            return
        try:
            if destinations.kind(self.event_source_arn) == "kinesis":
                self._reader = KinesisReader(self._reading(), previous)
            else:
                self._reader = QueueReader(self._receiving(), previous)
        except StreamGoneError:
            raise MissingSourceError(self.event_source_arn) from None

    def _reading(self) -> Reading:
        function = lambda_backends[ACCOUNT][REGION].get_function(self.function_arn)
        destination = (self.destination_config or {}).get("OnFailure", {}).get("Destination")
        return Reading(
            uuid=self.uuid,
            stream_arn=self.event_source_arn,
            function=function.function_name,
            function_arn=function.function_arn,
            role=function.role,
            start=str(self.starting_position),
            timestamp=self.starting_position_timestamp,
            batch_size=self.batch_size,
            window=float(self.max_batch_window or 0),
            lanes=int(self._spec["ParallelizationFactor"]),
            rules=Rules(
                bisect=bool(self.bisect_on_error),
                retries=int(self._spec["MaximumRetryAttempts"]),
                max_age=float(self._spec["MaximumRecordAgeInSeconds"]),
                partial=bool(self.function_response_types),
            ),
            on_failure=destination,
            filters=_filters(self.filter_criteria),
        )

    def _receiving(self) -> Receiving:
        return Receiving(
            queue_arn=self.event_source_arn,
            function=lambda_definitions.function_name(self.function_arn),
            batch_size=self.batch_size,
            window=float(self.max_batch_window or 0),
            concurrency=int((self.scaling_config or {}).get("MaximumConcurrency", CONCURRENCY)),
            partial=bool(self.function_response_types),
            filters=_filters(self.filter_criteria),
        )


def create(spec: dict[str, Any]) -> Mapping:
    """Create a mapping, which reads from now on unless it is created disabled.

    Args:
        spec: The request.

    Raises:
        UnsupportedError: It asks for what is not done; the message names the field.
        MissingSourceError: There is no such stream or queue.
        ExistingMappingError: There is such a mapping.
    """
    return Mapping(_checked(spec, new=True))  # type: ignore[abstract]


def detach(uuid: str) -> None:
    """Remove a mapping, but leave its position to the next one of its function and source."""
    mapping = lambda_backends[ACCOUNT][REGION]._event_source_mappings.pop(uuid, None)
    if isinstance(mapping, Mapping):
        mapping.stop()


def stop() -> None:
    """Stop reading for all mappings; positions stay."""
    for mapping in _mappings():
        mapping.stop()


def join() -> None:
    """Wait until nothing is at work any more for any mapping."""
    for mapping in _mappings():
        mapping.join()


def _mappings() -> list[Mapping]:
    mappings = lambda_backends[ACCOUNT][REGION]._event_source_mappings.values()
    return [mapping for mapping in mappings if isinstance(mapping, Mapping)]


# ----------------------------------------------------------------------------------------------------------- requests


def _checked(spec: dict[str, Any], new: bool = False) -> dict[str, Any]:
    """A request with its defaults, once nothing in it is left undone."""
    arn = spec.get("EventSourceArn") or ""
    service = destinations.kind(arn)
    if service not in _OF_SOURCE:
        raise UnsupportedError(f"EventSourceArn {arn!r}: the local Lambda reads Kinesis streams and SQS queues")
    function = lambda_backends[ACCOUNT][REGION].get_function(
        lambda_definitions.function_name(spec.get("FunctionName") or "")
    )
    given = {name: value for name, value in spec.items() if value not in (None, [], {})}
    if given.get("TumblingWindowInSeconds") == 0:
        del given["TumblingWindowInSeconds"]
    if unknown := sorted(given.keys() - _ALWAYS - _OF_SOURCE[service]):
        raise UnsupportedError(f"The local Lambda does not do {', '.join(unknown)} of a mapping of {service}")
    _check_ranges(given)
    if given.get("FunctionResponseTypes", ["ReportBatchItemFailures"]) != ["ReportBatchItemFailures"]:
        raise UnsupportedError("FunctionResponseTypes: only ReportBatchItemFailures is known")
    _filters(given.get("FilterCriteria"))
    if new:
        for mapping in _mappings():
            if (mapping.event_source_arn, mapping.function_arn) == (arn, function.function_arn):
                raise ExistingMappingError(arn, function.function_name, mapping.uuid)
    given |= {"RegionName": REGION, "AccountId": ACCOUNT, "FunctionArn": function.function_arn}
    if service == "sqs":
        _check_queue(given, float(function.timeout))
        return given
    _check_stream(given)
    return {**_STREAM_DEFAULTS, **given}


def _check_ranges(spec: dict[str, Any]) -> None:
    for field, (low, high) in _RANGES.items():
        if field in spec and not low <= int(spec[field]) <= high:
            raise UnsupportedError(f"{field} {spec[field]}: it must be within {low} and {high}")


def _check_stream(spec: dict[str, Any]) -> None:
    start = spec.get("StartingPosition")
    if start not in ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"):
        raise UnsupportedError(f"StartingPosition {start}: it must be TRIM_HORIZON, LATEST or AT_TIMESTAMP")
    if (start == "AT_TIMESTAMP") != ("StartingPositionTimestamp" in spec):
        raise UnsupportedError("StartingPositionTimestamp belongs to StartingPosition AT_TIMESTAMP, and only to it")
    age = int(spec.get("MaximumRecordAgeInSeconds", -1))
    if age != -1 and not 60 <= age <= 604_800:
        raise UnsupportedError(f"MaximumRecordAgeInSeconds {age}: it must be -1, or within 60 and 604800")
    config = spec.get("DestinationConfig", {})
    if others := sorted(config.keys() - {"OnFailure"}):
        raise UnsupportedError(f"DestinationConfig: a mapping has no {', '.join(others)}")
    destination = config.get("OnFailure", {}).get("Destination")
    if destination is not None:
        if destinations.kind(destination) not in ("sqs", "sns", "s3"):
            raise UnsupportedError(f"DestinationConfig.OnFailure {destination}: it must be an SQS, SNS or S3 ARN")
        if reason := destinations.missing(destination):
            raise UnsupportedError(f"DestinationConfig.OnFailure: {reason}")
    try:
        open_stream(spec["EventSourceArn"])
    except StreamGoneError:
        raise MissingSourceError(spec["EventSourceArn"]) from None


def _check_queue(spec: dict[str, Any], timeout: float) -> None:
    arn = spec["EventSourceArn"]
    queue = queue_of(arn)
    if queue is None:
        raise MissingSourceError(arn)
    if queue.fifo_queue:
        raise UnsupportedError(f"EventSourceArn {arn}: the local Lambda does not read FIFO queues")
    if int(spec.get("BatchSize", 10)) > 10 and not spec.get("MaximumBatchingWindowInSeconds"):
        raise UnsupportedError("BatchSize over 10 of a queue wants a MaximumBatchingWindowInSeconds of at least 1")
    visibility = int(queue.visibility_timeout)  # type: ignore[attr-defined]
    if visibility < timeout:
        raise UnsupportedError(
            f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout:.0f} seconds"
        )
    scaling = spec.get("ScalingConfig", {})
    if scaling and not 2 <= int(scaling.get("MaximumConcurrency", 0)) <= 1000:
        raise UnsupportedError("ScalingConfig.MaximumConcurrency must be within 2 and 1000")


def _filters(criteria: dict[str, Any] | None) -> tuple[Matcher, ...]:
    patterns = [entry.get("Pattern") for entry in (criteria or {}).get("Filters", [])]
    try:
        return tuple(event_patterns.compiled(pattern) for pattern in patterns)
    except event_patterns.PatternError as error:
        raise UnsupportedError(f"FilterCriteria: {error}") from None
