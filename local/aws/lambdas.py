"""Running Lambda functions from inside the stack.

A function's code runs in warm processes (`lambda_workers`); `lambda_api` is the service that the AWS SDKs talk to,
`lambda_queue` holds the asynchronous invocations, `event_sources` reads streams and queues for functions.
"""

import json
import threading
from dataclasses import dataclass
from typing import Any

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction, lambda_backends

from local.aws import lambda_definitions, policies
from local.aws.lambda_workers import CONCURRENCY, Ended, Pool, ThrottledError
from local.aws.settings import ACCOUNT, REGION


class UnknownFunctionError(LookupError):
    """There is no such function."""


@dataclass(frozen=True)
class Result:
    """How an invocation ended.

    Attributes:
        payload: What the handler returned, as JSON; of a failed invocation, the error object with ``errorMessage`` and
            ``errorType``.
        error: ``None`` of a success, else the error's message.
    """

    payload: bytes
    error: str | None = None


_pools: dict[str, Pool] = {}
_lock = threading.Lock()


def invoke(name: str, event: Any) -> Result:
    """Run a function and wait for its end, as an invocation of the type RequestResponse.

    When all its workers are busy, it waits for one.

    Args:
        name: The function's name or ARN.
        event: Anything that JSON can write.

    Returns:
        What it returned, or how it failed. A failure of the function is no exception.

    Raises:
        UnknownFunctionError: There is no such function.
    """
    try:
        ended = run(name, json.dumps(event).encode())
    except ThrottledError as error:
        return Result(json.dumps({"errorType": "Throttled", "errorMessage": str(error)}).encode(), str(error))
    return Result(ended.payload, ended.error)


def run(name: str, payload: bytes, patient: bool = True) -> Ended:
    """Run a function and wait for its end.

    Args:
        name: The function's name or ARN.
        payload: The event as JSON.
        patient: Wait for a worker when all are busy.

    Raises:
        UnknownFunctionError: There is no such function.
        ThrottledError: All workers are busy, and the caller won't wait; or its reserved concurrency is 0.
    """
    return _pool(find(name)).run(payload, patient)


def find(name: str) -> LambdaFunction:
    """A function by its name or ARN.

    Raises:
        UnknownFunctionError: There is none.
    """
    try:
        return lambda_backends[ACCOUNT][REGION].get_function(lambda_definitions.function_name(name))
    except (UnknownFunctionException, lambda_definitions.UnsupportedError) as error:
        raise UnknownFunctionError(str(error)) from None


def exists(name: str) -> bool:
    """Whether there is a function of this name or ARN."""
    try:
        find(name)
    except UnknownFunctionError:
        return False
    return True


def permits(name: str, service: str, source: str) -> bool:
    """Whether a function's resource policy lets a service invoke it.

    Args:
        name: The function's name or ARN.
        service: For instance ``sns.amazonaws.com``.
        source: ARN of the topic, rule or bucket.
    """
    function = find(name)
    return policies.allows(function.policy.statements, service, "lambda:InvokeFunction", function.function_arn, source)


def retire(name: str) -> None:
    """Let the next invocation begin with new workers: the function was changed, or deleted."""
    with _lock:
        pool = _pools.pop(name, None)
    if pool is not None:
        pool.retire()


def stop() -> None:
    """Kill all workers."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.retire(kill=True)


def _pool(function: LambdaFunction) -> Pool:
    with _lock:
        pool = _pools.get(function.function_name)
        if pool is None:
            backend = lambda_backends[ACCOUNT][REGION]
            layers = [backend.layers_versions_by_arn(layer["Arn"]).code_bytes for layer in function.layers]  # type: ignore[union-attr]
            reserved = function.reserved_concurrency
            limit = CONCURRENCY if reserved is None else int(reserved)
            pool = Pool(lambda_definitions.specification(function, layers), limit)
            _pools[function.function_name] = pool
        return pool
