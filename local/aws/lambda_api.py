"""The Lambda service: moto's, with functions that run and mappings that read."""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventInvokeConfig, EventSourceMapping, LambdaBackend, LambdaFunction, LayerVersion
from moto.awslambda.responses import LambdaResponse
from moto.core.responses import TYPE_RESPONSE

from local.aws import destinations, event_sources, lambda_definitions, lambda_queue, lambdas, plugging
from local.aws.lambda_definitions import UnsupportedError
from local.aws.lambda_workers import ThrottledError
from local.aws.timetable import timetable

SYNCHRONOUS_BYTES = 6 << 20
ASYNCHRONOUS_BYTES = 1 << 20
REFUSED = {
    "add_layer_version_permission": "permissions of layers",
    "create_alias": "aliases",
    "create_function_url_config": "function URLs",
    "delete_alias": "aliases",
    "delete_function_url_config": "function URLs",
    "get_alias": "aliases",
    "get_function_code_signing_config": "code signing",
    "get_function_url_config": "function URLs",
    "get_layer_version_policy": "permissions of layers",
    "invoke_async": "InvokeAsync: use Invoke with InvocationType=Event",
    "list_aliases": "aliases",
    "publish_version": "versions",
    "remove_layer_version_permission": "permissions of layers",
    "update_alias": "aliases",
    "update_function_url_config": "function URLs",
}
"""moto's actions that would report success for nothing."""


class TooManyRequestsError(LambdaClientError):
    """The function's concurrency is used up."""

    code = 429

    def __init__(self, message: str) -> None:
        super().__init__("TooManyRequestsException", message)


class RequestTooLargeError(LambdaClientError):
    """The payload is larger than Lambda takes."""

    code = 413

    def __init__(self, message: str) -> None:
        super().__init__("RequestTooLargeException", message)


class InvalidRequestContentError(LambdaClientError):
    """The payload is not JSON."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidRequestContentException", message)


def plug() -> None:
    """Let this module answer Lambda."""
    lambda_definitions.forget_code()
    plugging.plug(LocalLambdaBackend)


def stop() -> None:
    """Stop reading, forget what waits, kill the workers. Checkpoints stay."""
    event_sources.stop()
    lambda_queue.stop()
    timetable.stop()
    lambdas.stop()
    event_sources.join()


class LocalLambdaResponse(LambdaResponse):
    """Invocations as Lambda answers them, and refusals of what is not done."""

    def invoke(self) -> TYPE_RESPONSE:  # type: ignore[override]
        """Run a function, or queue it, or only look whether that would do."""
        name = unquote(self.path.rsplit("/", 2)[-2])
        for header, field in (("X-Amz-Client-Context", "ClientContext"), ("X-Amz-Tenant-Id", "TenantId")):
            if self.headers.get(header):
                raise UnsupportedError(f"{field}: the local Lambda does not pass it on")
        qualifier = self.querystring.get("Qualifier", ["$LATEST"])[0]
        name = lambda_definitions.function_name(f"{name}:{qualifier}" if qualifier != "$LATEST" else name)
        payload = self.body.encode() if isinstance(self.body, str) else self.body or b""
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        limit = ASYNCHRONOUS_BYTES if kind == "Event" else SYNCHRONOUS_BYTES
        if len(payload) > limit:
            raise RequestTooLargeError(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")
        try:
            event = json.loads(payload or b"{}")
        except ValueError as error:
            raise InvalidRequestContentError(f"Could not parse request body into json: {error}") from None
        self.backend.get_function(name)
        if kind == "DryRun":
            return 204, {"status": 204}, b""
        if kind == "Event":
            lambda_queue.invoke_later(name, event)
            return 202, {"status": 202}, b""
        return self._run(name, payload or b"{}")

    def _run(self, name: str, payload: bytes) -> TYPE_RESPONSE:
        try:
            ended = lambdas.run(name, payload, patient=lambdas.find(name).reserved_concurrency is None)
        except ThrottledError as error:
            raise TooManyRequestsError(str(error)) from None
        headers: dict[str, Any] = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
        if ended.error is not None:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(ended.tail).decode()
        return 200, headers, ended.payload


def _refusal(what: str) -> Callable[[LocalLambdaResponse], TYPE_RESPONSE]:
    def refuse(self: LocalLambdaResponse) -> TYPE_RESPONSE:
        raise UnsupportedError(f"The local Lambda does not do {what}")

    return refuse


for _action, _what in REFUSED.items():
    setattr(LocalLambdaResponse, _action, _refusal(_what))


class LocalLambdaBackend(plugging.Plugged, LambdaBackend):
    """moto's functions and layers, checked; their changes reach the workers."""

    service = "awslambda"
    response = LocalLambdaResponse

    # ------------------------------------------------------------------------------------------------------ functions

    def create_function(self, spec: dict[str, Any]) -> LambdaFunction:
        """Create a function whose code can run."""
        lambda_definitions.check_new(spec)
        return super().create_function(spec)

    def update_function_code(self, function_name: str, qualifier: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Replace the code; the next invocation runs it."""
        name = lambda_definitions.function_name(function_name)
        lambda_definitions.check_code(body)
        updated = super().update_function_code(name, qualifier, body)
        lambdas.retire(name)
        return updated

    def update_function_configuration(
        self, function_name: str, qualifier: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Change the configuration; the next invocation runs with it."""
        name = lambda_definitions.function_name(function_name)
        lambda_definitions.check_configuration(body)
        updated = super().update_function_configuration(name, qualifier, body)
        lambdas.retire(name)
        return updated

    def delete_function(self, function_name: str, qualifier: str | None = None) -> None:
        """Delete a function and end its workers; its mappings stay, as in AWS."""
        name = lambda_definitions.function_name(f"{function_name}:{qualifier}" if qualifier else function_name)
        super().delete_function(name)
        lambdas.retire(name)

    def put_function_concurrency(self, function_name: str, reserved_concurrency: str) -> str:
        """Limit how many workers there may be."""
        name = lambda_definitions.function_name(function_name)
        reserved = super().put_function_concurrency(name, reserved_concurrency)
        lambdas.retire(name)
        return reserved

    def delete_function_concurrency(self, function_name: str) -> str | None:
        """Remove that limit."""
        name = lambda_definitions.function_name(function_name)
        reserved = super().delete_function_concurrency(name)
        lambdas.retire(name)
        return reserved

    def put_function_event_invoke_config(self, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        """Say what happens after asynchronous invocations."""
        function = self.get_function(lambda_definitions.function_name(function_name))
        for outcome in (config.get("DestinationConfig") or {}).values():
            arn = outcome.get("Destination")
            if arn and (reason := destinations.missing(arn)):
                raise UnsupportedError(f"DestinationConfig: {reason}")
        if config.get("MaximumEventAgeInSeconds") is not None:
            raise UnsupportedError("MaximumEventAgeInSeconds: the local Lambda gives up after its retries, not by age")
        function.event_invoke_config = [EventInvokeConfig(function.function_arn, function.last_modified, config)]
        return function.event_invoke_config[0].response()

    def update_function_event_invoke_config(self, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        """Change parts of that."""
        function = self.get_function(lambda_definitions.function_name(function_name))
        before = function.event_invoke_config[0].config if function.event_invoke_config else {}
        return self.put_function_event_invoke_config(function_name, {**before, **config})

    def publish_layer_version(self, spec: dict[str, Any]) -> LayerVersion:
        """Publish a layer that can be unpacked."""
        lambda_definitions.check_archive(spec.get("Content") or {})
        return super().publish_layer_version(spec)

    def invoke(self, function_name: str, qualifier: str | None, body: Any, *_: Any) -> bytes:
        """Queue an invocation; moto's other services call it."""
        name = f"{function_name}:{qualifier}" if qualifier else function_name
        lambda_queue.invoke_later(name, json.loads(body or "{}"))
        return b""

    # ------------------------------------------------------------------------------------------------------- mappings

    def create_event_source_mapping(self, spec: dict[str, Any]) -> EventSourceMapping:
        """Begin to read a stream or a queue for a function."""
        mapping = event_sources.create(spec)
        self._event_source_mappings[mapping.uuid] = mapping
        return mapping

    def update_event_source_mapping(self, uuid: str, spec: dict[str, Any]) -> EventSourceMapping | None:
        """Go on in another way."""
        mapping = self._event_source_mappings.get(uuid)
        if isinstance(mapping, event_sources.Mapping):
            mapping.update(spec)
        return mapping

    def delete_event_source_mapping(self, uuid: str) -> EventSourceMapping | None:
        """Stop reading and forget the position."""
        mapping = super().delete_event_source_mapping(uuid)
        if isinstance(mapping, event_sources.Mapping):
            mapping.delete()
        return mapping

    def list_event_source_mappings(self, event_source_arn: str, function_name: str) -> Iterable[EventSourceMapping]:
        """The mappings of a source, of a function given by name or ARN, or all."""
        found = super().list_event_source_mappings(event_source_arn, "")
        if not function_name:
            return found
        name = lambda_definitions.function_name(function_name)
        return [mapping for mapping in found if lambda_definitions.function_name(mapping.function_arn) == name]
