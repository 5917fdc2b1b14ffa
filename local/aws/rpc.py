"""AWS's RPC protocols, for services that are answered here and not by moto: JSON 1.x, its CBOR twin, and RPC v2 CBOR.

A service is a table of actions; each is a function with the parameters of the API, in snake case, as keyword
arguments. A parameter that the function doesn't take is refused by name: nothing is ignored.
"""

import base64
import functools
import inspect
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

import botocore.session
from botocore import xform_name
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from local.aws import cbor
from local.aws.cbor import Timestamp

__all__ = ["ApiError", "Service", "Timestamp", "blob", "refused"]

log = logging.getLogger(__name__)

Action = Callable[..., Mapping[str, Any] | None]


class ApiError(Exception):
    """An error that the API documents.

    Attributes:
        code: E.g. ``ResourceNotFoundException``.
        message: What is wrong and what to do.
        status: Of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def refused(what: str) -> ApiError:
    """The error for something that AWS does and this stack doesn't."""
    return ApiError("NotImplemented", f"The local stack does not do this: {what}")


def blob(value: str | bytes) -> bytes:
    """The bytes of a blob: JSON carries them in base64, CBOR as they are.

    Raises:
        ApiError: It is neither.
    """
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError) as error:
        raise ApiError("SerializationException", f"a blob is not base64: {error}") from error


class _Protocol(NamedTuple):
    content_type: str
    headers: dict[str, str]
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_JSON = _Protocol(
    "application/x-amz-json-1.1",
    {},
    json.loads,
    lambda answer: json.dumps(answer, default=_json_value, separators=(",", ":")).encode(),
)
_JSON_AS_CBOR = _Protocol(
    "application/x-amz-cbor-1.1",
    {},
    functools.partial(cbor.decode, ticks=1000),
    functools.partial(cbor.encode, ticks=1000),
)
_RPC_V2 = _Protocol("application/cbor", {"smithy-protocol": "rpc-v2-cbor"}, cbor.decode, cbor.encode)


@dataclass(frozen=True)
class Service:
    """A WSGI application that answers one service.

    Attributes:
        name: The service as botocore calls it.
        actions: Action of the API to the function that does it.
        unchecked: Actions that check their parameters themselves, because a check of every record takes too long.
    """

    name: str
    actions: Mapping[str, Action]
    unchecked: frozenset[str] = frozenset()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        protocol = _protocol(environ)
        status, headers = "200 OK", {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": protocol.content_type}
        try:
            answer: Any = self._answer(environ, protocol)
        except ApiError as error:
            status = f"{error.status} {'Bad Request' if error.status < 500 else 'Internal Server Error'}"
            answer = {"__type": error.code, "message": error.message}
            headers["x-amzn-ErrorType"] = error.code
        body = b"" if answer is None and protocol is _JSON else protocol.write(answer or {})
        headers |= {**protocol.headers, "Content-Length": str(len(body))}
        start_response(status, list(headers.items()))
        return [body]

    def _answer(self, environ: WSGIEnvironment, protocol: _Protocol) -> Mapping[str, Any] | None:
        action = _action(environ)
        if action not in self.actions:
            raise ApiError(
                "NotImplemented", f"{action or 'A request'}: this part of {self.name} is not run by this local stack"
            )
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            request = protocol.read(body) if body else {}
        except ValueError as error:
            raise ApiError("SerializationException", f"the request can't be read: {error}") from error
        if not isinstance(request, dict):
            raise ApiError("SerializationException", "the request is not a structure")
        if action not in self.unchecked:
            self._check(action, request)
        return self.call(action, request)

    def call(self, action: str, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Do an action.

        Args:
            action: Name of the API.
            request: Its parameters, as the API writes them.

        Raises:
            ApiError: It failed, or has a parameter that isn't done here.
        """
        function = self.actions[action]
        arguments = {xform_name(name): value for name, value in request.items() if value is not None}
        taken, required = _parameters(function)
        if unknown := [name for name in request if request[name] is not None and xform_name(name) not in taken]:
            raise refused(f"{', '.join(unknown)} of {action}")
        if missing := sorted(required - arguments.keys()):
            raise ApiError("ValidationException", f"{action} needs {', '.join(missing)}")
        return function(**arguments)

    def _check(self, action: str, request: dict[str, Any]) -> None:
        shape = _model(self.name).operation_model(action).input_shape
        if shape is not None and (report := ParamValidator().validate(request, shape)).has_errors():
            raise ApiError("ValidationException", report.generate_report())


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


@functools.cache
def _parameters(function: Action) -> tuple[frozenset[str], frozenset[str]]:
    parameters = inspect.signature(function).parameters.values()
    required = frozenset(parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty)
    return frozenset(parameter.name for parameter in parameters), required


def _protocol(environ: WSGIEnvironment) -> _Protocol:
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return _RPC_V2
    return _JSON_AS_CBOR if "cbor" in environ.get("CONTENT_TYPE", "") else _JSON


def _action(environ: WSGIEnvironment) -> str:
    target: str = environ.get("HTTP_X_AMZ_TARGET") or ""
    return target.rpartition(".")[2] if target else environ.get("PATH_INFO", "").rpartition("/operation/")[2]
