"""The client of the Lambda Runtime API beneath AWS's `awslambdaric`, which brings its own, native one for Linux only.

A worker puts this in the place of the module `runtime_client`: the same everywhere, so what the tests see here holds
on macOS too. Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import os
from collections.abc import Mapping

_INVOCATION = "/2018-06-01/runtime/invocation"

_connection: http.client.HTTPConnection


def initialize_client(user_agent: str) -> None:
    """Connects with the API at `AWS_LAMBDA_RUNTIME_API`, a host and its port."""
    global _connection
    _connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def next() -> tuple[bytes, dict[str, str | int]]:
    """The next invocation, waited for: its event as JSON, and its headers.

    Raises:
        RuntimeError: The API refuses.
    """
    _connection.request("GET", f"{_INVOCATION}/next")
    response = _connection.getresponse()
    event = response.read()
    if response.status != 200:
        raise RuntimeError(f"no next invocation: {response.status} {event!r}")
    headers: dict[str, str | int] = dict(response.getheaders())
    # The native client has a number here, and the deadline is reckoned with it.
    headers["Lambda-Runtime-Deadline-Ms"] = int(headers["Lambda-Runtime-Deadline-Ms"])
    return event, headers


def post_invocation_result(request_id: str, result: bytes, content_type: str, invocation_id: str | None) -> None:
    """Answers an invocation.

    Raises:
        RuntimeError: The API refuses the answer.
    """
    _post(f"{request_id}/response", result, {"Content-Type": content_type})


def post_error(request_id: str, error: str, xray_fault: str, invocation_id: str | None) -> None:
    """Says that an invocation failed.

    Raises:
        RuntimeError: The API refuses the answer.
    """
    _post(f"{request_id}/error", error.encode(), {"Content-Type": "application/json"})


def _post(path: str, body: bytes, headers: Mapping[str, str]) -> None:
    _connection.request("POST", f"{_INVOCATION}/{path}", body, dict(headers))
    response = _connection.getresponse()
    said = response.read()
    if response.status != 202:
        raise RuntimeError(f"the answer to an invocation was refused: {response.status} {said!r}")
