"""Asynchronous invocations: run later, tried again, and told to a destination how they ended.

They live in memory: what waits here when the stack stops is lost.
"""

import json
import logging
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from local.aws import destinations, lambdas
from local.aws.lambda_workers import Ended, ThrottledError
from local.aws.timetable import timetable

log = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 2.0)
"""Before the second and the third attempt. AWS waits for as many minutes."""
THREADS = 16
_THROTTLED_SECONDS = 1.0


@dataclass(frozen=True)
class _Invocation:
    name: str
    event: Any
    request_id: str
    attempts: int = 0


_executor: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def invoke_later(name: str, event: Any) -> str:
    """Run a function soon; see PutFunctionEventInvokeConfig for what happens when it fails.

    Args:
        name: The function's name or ARN.
        event: Anything that JSON can write.

    Returns:
        The invocation's id.

    Raises:
        UnknownFunctionError: There is no such function.
    """
    invocation = _Invocation(lambdas.find(name).function_name, event, str(uuid.uuid4()))
    _submit(invocation)
    return invocation.request_id


def stop() -> None:
    """Forget what waits."""
    global _executor
    with _lock:
        executor, _executor = _executor, None
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)


def _submit(invocation: _Invocation) -> None:
    global _executor
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(THREADS, thread_name_prefix="lambda-queue")
        _executor.submit(_attempt, invocation)


def _attempt(invocation: _Invocation) -> None:
    try:
        function = lambdas.find(invocation.name)
        ended = lambdas.run(invocation.name, json.dumps(invocation.event).encode())
        configured = [config.config for config in function.event_invoke_config] or [{}]
        attempts = invocation.attempts + 1
        if ended.error is None:
            _tell(invocation, function.function_arn, ended, attempts, configured[0], "OnSuccess", "Success")
        elif attempts <= configured[0].get("MaximumRetryAttempts", len(RETRY_SECONDS)):
            again = replace(invocation, attempts=attempts)
            timetable.after(RETRY_SECONDS[attempts - 1], lambda: _submit(again))
        else:
            told = _tell(
                invocation, function.function_arn, ended, attempts, configured[0], "OnFailure", "RetriesExhausted"
            )
            if not told:
                log.error(
                    "Lambda %s failed %d times and has no OnFailure destination, so its event is lost: %s",
                    *(invocation.name, attempts, ended.error),
                )
    except ThrottledError:
        timetable.after(_THROTTLED_SECONDS, lambda: _submit(invocation))
    except Exception:
        log.exception("Lambda %s: an event was lost", invocation.name)


def _tell(
    invocation: _Invocation,
    arn: str,
    ended: Ended,
    attempts: int,
    configuration: dict[str, Any],
    destination: str,
    condition: str,
) -> bool:
    """Send the record of an invocation to the destination that is configured, if one is."""
    target = (configuration.get("DestinationConfig") or {}).get(destination, {}).get("Destination")
    if not target:
        return False
    response = {"statusCode": 200, "executedVersion": "$LATEST"}
    record = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": invocation.request_id,
            "functionArn": f"{arn}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": invocation.event,
        "responseContext": response if ended.error is None else {**response, "functionError": "Unhandled"},
        "responsePayload": json.loads(ended.payload or b"null"),
    }
    destinations.deliver(target, json.dumps(record))
    return True
