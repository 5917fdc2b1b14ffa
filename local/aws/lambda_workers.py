"""Warm processes that run a Lambda function, each served by a Lambda Runtime API of its own.

A worker is what AWS calls an execution environment: it loads the handler once, then takes one invocation after the
other. It dies of a timeout, of too much memory, or by itself; the invocation at that time fails, and the next one gets
a new worker.
"""

import contextlib
import datetime
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil

from local.aws import lambda_bootstrap
from local.aws.logs import Lines, LogStream
from local.aws.settings import child_environment
from local.aws.timetable import timetable

IDLE_SECONDS = 300.0
"""How long a worker waits for another invocation before it is ended."""
INIT_SECONDS = 60.0
"""How long loading the handler may take. AWS gives 10 s; a busy laptop gets more."""
RESPONSE_BYTES = 6_291_556
TAIL_BYTES = 4096
CONCURRENCY = 16
"""Workers of a function that has no reserved concurrency."""

_API = "/2018-06-01/runtime"
_MEMORY_CHECK_SECONDS = 0.1


class ThrottledError(RuntimeError):
    """All workers that the function may have are busy."""


@dataclass(frozen=True)
class Specification:
    """What a worker must know of its function.

    Attributes:
        name: The function's name.
        arn: Its ARN.
        handler: ``module.function``.
        timeout: Seconds an invocation may take.
        memory: Megabytes a worker may hold.
        environment: Its variables.
        task: The folder with its code.
        layers: Folders with its layers' content, in order.
    """

    name: str
    arn: str
    handler: str
    timeout: float
    memory: int
    environment: dict[str, str]
    task: Path
    layers: tuple[Path, ...]


@dataclass(frozen=True)
class Ended:
    """How an invocation ended.

    Attributes:
        request_id: The invocation's id.
        payload: The handler's answer as JSON, or the error object.
        error: ``None`` of a success, else the error's message.
        tail: The last 4 KiB that the invocation logged.
    """

    request_id: str
    payload: bytes
    error: str | None
    tail: bytes


# --------------------------------------------------------------------------------------------------------------- pool


class Pool:
    """The workers of one version of a function.

    Args:
        specification: Of the function.
        limit: How many there may be at a time.
    """

    def __init__(self, specification: Specification, limit: int) -> None:
        self.specification = specification
        self._limit = limit
        self._changed = threading.Condition()
        self._idle: list[tuple[float, Worker]] = []
        self._busy: set[Worker] = set()
        self._starting = 0
        self._expiring = False
        self._retired = False

    def run(self, payload: bytes, patient: bool = True) -> Ended:
        """Run the function once.

        Args:
            payload: The event as JSON.
            patient: Wait for a worker when all are busy.

        Raises:
            ThrottledError: All workers are busy, and the caller won't wait; or the function may have none at all.
        """
        worker = self._acquire(patient)
        try:
            return worker.run(payload)
        finally:
            self._release(worker)

    def retire(self, kill: bool = False) -> None:
        """End the workers: the idle ones now, the busy ones after their invocation, or now too."""
        with self._changed:
            self._retired = True
            idle, self._idle = self._idle, []
            doomed = [worker for _, worker in idle] + (list(self._busy) if kill else [])
            self._changed.notify_all()
        for worker in doomed:
            worker.kill()

    def _acquire(self, patient: bool) -> "Worker":
        with self._changed:
            while True:
                while self._idle:
                    _, worker = self._idle.pop()
                    if worker.alive:
                        self._busy.add(worker)
                        return worker
                if len(self._busy) + self._starting < self._limit:
                    self._starting += 1
                    break
                if not patient or self._limit == 0:
                    raise ThrottledError(
                        f"{self.specification.name} may have {self._limit} workers, which are all busy: raise its "
                        "ReservedConcurrentExecutions"
                    )
                self._changed.wait()
        try:
            worker = Worker(self.specification)
        except BaseException:
            with self._changed:
                self._starting -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._starting -= 1
            self._busy.add(worker)
        return worker

    def _release(self, worker: "Worker") -> None:
        with self._changed:
            self._busy.discard(worker)
            keep = worker.alive and not self._retired
            if keep:
                self._idle.append((time.monotonic(), worker))
                if not self._expiring:
                    self._expiring = True
                    timetable.after(IDLE_SECONDS, self._expire)
            self._changed.notify()
        if not keep:
            worker.kill()

    def _expire(self) -> None:
        """End the workers that nobody has needed for long; come back when the next may be due."""
        with self._changed:
            now = time.monotonic()
            expired = [worker for since, worker in self._idle if since <= now - IDLE_SECONDS]
            self._idle = [(since, worker) for since, worker in self._idle if worker not in expired]
            self._expiring = bool(self._idle)
            if self._expiring:
                timetable.after(self._idle[0][0] + IDLE_SECONDS - now, self._expire)
        for worker in expired:
            worker.kill()


# ------------------------------------------------------------------------------------------------------------- worker


@dataclass(frozen=True)
class _Invocation:
    request_id: str
    payload: bytes
    deadline: float


@dataclass(frozen=True)
class _Message:
    """What the process did: became ``ready``, gave a ``response`` or an ``error``, failed to load, or ``exited``."""

    kind: str
    body: bytes = b""
    request_id: str = ""


class Worker:
    """One process that runs a function's invocations, one at a time."""

    def __init__(self, specification: Specification) -> None:
        self._function = specification
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._invocations: queue.SimpleQueue[_Invocation | None] = queue.SimpleQueue()
        self._life = threading.Lock()
        self._began = time.monotonic()
        self._init: float | None = None
        self._peak = 0
        self._collected = False
        self.alive = True
        day = datetime.datetime.now(datetime.UTC).strftime("%Y/%m/%d")
        self._log = LogStream(f"/aws/lambda/{specification.name}", f"{day}/[$LATEST]{uuid.uuid4().hex}")
        self._lines = Lines()
        self._tail: list[str] = []
        self._output_lock = threading.RLock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._process = subprocess.Popen(
            # -P and -s: the folder of this file, and the user's own packages, are none of the function's business.
            [sys.executable, "-P", "-s", lambda_bootstrap.__file__, specification.handler],
            env=self._environment(),
            cwd=specification.task,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        name = f"lambda-{specification.name}"
        threading.Thread(target=self._serve, name=f"{name}-api", daemon=True).start()
        threading.Thread(target=self._attend, name=name, daemon=True).start()
        self._write([f"INIT_START Runtime Version: python:{sys.version.split()[0]}"])

    def run(self, payload: bytes) -> Ended:
        """Run one invocation."""
        request_id = str(uuid.uuid4())
        self._tail = []
        if self._init is None and (failure := self._load()):
            self._write([f"START RequestId: {request_id} Version: $LATEST"])
            return self._end(request_id, time.monotonic(), failure)
        self._write([f"START RequestId: {request_id} Version: $LATEST"])
        began = time.monotonic()
        self._invocations.put(_Invocation(request_id, payload, time.time() + self._function.timeout))
        message = self._wait(request_id, began + self._function.timeout)
        self._drain()
        return self._end(request_id, began, message)

    def kill(self) -> None:
        """End the process and its descendants. Does not wait."""
        with self._life:
            self.alive = False
            if not self._collected:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    # ------------------------------------------------------------------------------------------------- an invocation

    def _load(self) -> _Message | None:
        """Wait until the handler is loaded; how that failed."""
        try:
            message = self._messages.get(timeout=max(0.0, self._began + INIT_SECONDS - time.monotonic()))
        except queue.Empty:
            self.kill()
            return _failure("Sandbox.Timedout", f"Loading the handler took longer than {INIT_SECONDS:.0f} s")
        self._drain()
        if message.kind == "ready":
            self._init = time.monotonic() - self._began
            return None
        if message.kind == "error":
            self.kill()
            return message
        return _failure("Runtime.ExitError", "Runtime exited without providing a reason")

    def _wait(self, request_id: str, deadline: float) -> _Message:
        """Wait for the end of an invocation; a process that is over its limits is killed."""
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self.kill()
                return _failure(
                    "Sandbox.Timedout",
                    f"RequestId: {request_id} Error: Task timed out after {self._function.timeout:.2f} seconds",
                )
            try:
                message = self._messages.get(timeout=min(remaining, _MEMORY_CHECK_SECONDS))
            except queue.Empty:
                if self._memory(exact=True) > self._function.memory:
                    self.kill()
                    return _failure(
                        "Runtime.OutOfMemory",
                        f"RequestId: {request_id} Error: Runtime exited with error: signal: killed: it held more than "
                        f"MemorySize, {self._function.memory} MB",
                    )
                continue
            if message.kind == "exited":
                return _failure(
                    "Runtime.ExitError",
                    f"RequestId: {request_id} Error: Runtime exited with error: {message.body.decode()}",
                )
            if message.request_id == request_id:
                return message

    def _end(self, request_id: str, began: float, message: _Message) -> Ended:
        if message.kind == "response" and len(message.body) > RESPONSE_BYTES:
            message = _failure(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes).",
            )
        error = None if message.kind == "response" else _message_of(message.body)
        milliseconds = (time.monotonic() - began) * 1000
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms\t"
            f"Billed Duration: {int(milliseconds) + 1} ms\tMemory Size: {self._function.memory} MB\t"
            f"Max Memory Used: {self._memory()} MB"
        )
        if self._init:
            report += f"\tInit Duration: {self._init * 1000:.2f} ms"
            self._init = 0.0
        failed = [error] if error and message.kind == "failure" else []
        self._write([*failed, f"END RequestId: {request_id}", report])
        tail = "\n".join(self._tail).encode()[-TAIL_BYTES:]
        return Ended(request_id, message.body, error, tail)

    def _memory(self, exact: bool = False) -> int:
        """The most megabytes that the process was seen to hold; exactly, those that the kernel could not take back."""
        try:
            process = psutil.Process(self._process.pid)
            held = process.memory_info().rss >> 20
            if exact and held > self._function.memory:
                held = process.memory_full_info().uss >> 20
            self._peak = max(self._peak, held)
        except psutil.Error:
            pass  # it ended meanwhile, which is its own message
        return self._peak

    # ---------------------------------------------------------------------------------------------------- the process

    def _environment(self) -> dict[str, str]:
        function = self._function
        paths = [layer / folder for layer in function.layers for folder in ("python", _SITE_PACKAGES)]
        return child_environment(
            {
                "TZ": ":UTC",
                **function.environment,
                "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_LAMBDA_LOG_GROUP_NAME": self._log.group,
                "AWS_LAMBDA_LOG_STREAM_NAME": self._log.name,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._listener.getsockname()[1]}",
                "LAMBDA_TASK_ROOT": str(function.task),
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "_HANDLER": function.handler,
            }
        )

    def _attend(self) -> None:
        """Pass on what the process writes, until it ends."""
        ended = _end_of(self._process.pid)
        events = select.poll()
        events.register(self._output, select.POLLIN)
        events.register(ended, select.POLLIN)
        open_ = True
        while ended not in {descriptor for descriptor, _ in events.poll()}:
            if open_ and not self._drain():
                events.unregister(self._output)
                open_ = False
        os.close(ended)
        with self._life:
            # It is not collected yet, so its number, and that of its group, is still its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
            self._collected, self.alive = True, False
        self._drain()
        reason = f"signal: {signal.strsignal(-code)}".lower() if code < 0 else f"exit status {code}"
        self._messages.put(_Message("exited", reason.encode()))
        self._invocations.put(None)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101 - both are pipes
            with self._output_lock:
                pipe.close()

    def _drain(self) -> bool:
        """Log what the process has written so far; whether it may write more."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        with self._output_lock:
            while not self._process.stdout.closed:
                try:
                    chunk = os.read(self._output, 65536)
                except BlockingIOError:
                    return True
                self._write(self._lines.feed(chunk, final=not chunk))
                if not chunk:
                    return False
        return False

    def _write(self, lines: list[str]) -> None:
        with self._output_lock:
            self._tail += lines
            self._log.write(lines)

    # ---------------------------------------------------------------------------------------------------- runtime API

    def _serve(self) -> None:
        """Answer the process, which has one connection at a time."""
        with self._listener:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):  # a process that was killed hangs up
                    _RuntimeApi(connection, self)

    def next_invocation(self) -> _Invocation | None:
        """Wait for the next invocation; none comes any more after the process has ended."""
        if self._init is None:
            self._messages.put(_Message("ready"))
        return self._invocations.get()

    def answered(self, kind: str, request_id: str, body: bytes) -> None:
        """Take what the process answered."""
        self._messages.put(_Message(kind, body, request_id))


class _RuntimeApi(BaseHTTPRequestHandler):
    """One connection of a worker's process: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, worker: Worker) -> None:
        self._worker = worker
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Hand out the next invocation."""
        if self.path != f"{_API}/invocation/next":
            self.send_error(404)
            return
        invocation = self._worker.next_invocation()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(
            200,
            invocation.payload,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": self._worker._function.arn,
            },
        )

    def do_POST(self) -> None:
        """Take an answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.path.removeprefix(_API).split("/")[1:]:
            case ["init", "error"]:
                self._worker.answered("error", "", body)
            case ["invocation", request_id, ("response" | "error") as kind]:
                self._worker.answered(kind, request_id, body)
            case _:
                self.send_error(404)
                return
        self._answer(202, b'{"status":"OK"}', {})

    def log_message(self, *_: Any) -> None:
        """Say nothing: the function's log tells about invocations."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_SITE_PACKAGES = f"python/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def _failure(kind: str, message: str) -> _Message:
    return _Message("failure", json.dumps({"errorType": kind, "errorMessage": message}).encode())


def _message_of(error: bytes) -> str:
    """The text of an error object."""
    try:
        described = json.loads(error)
        return f"{described.get('errorType', 'Error')}: {described.get('errorMessage', '')}"
    except (ValueError, AttributeError):
        return error.decode(errors="replace")


def _end_of(pid: int) -> int:
    """A descriptor that can be read from when a child has ended, while it is not collected yet."""
    if sys.platform == "linux":
        return os.pidfd_open(pid)
    ends = select.kqueue()
    ends.control([select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)], 0)
    return os.dup(ends.fileno())
