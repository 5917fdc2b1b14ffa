"""Runs of Glue jobs: processes, their states, retries and logs."""

import contextlib
import logging
import os
import re
import signal
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.glue.exceptions import ConcurrentRunsExceededException

from local.aws import s3
from local.aws.glue_engines import Engine, LaunchError
from local.aws.logs import Lines, LogStream
from local.aws.processes import Exit, Process, StartError
from local.aws.settings import current

log = logging.getLogger(__name__)

LOG_GROUP = "/aws-glue/jobs"
ACTIVE = ("STARTING", "RUNNING", "STOPPING")
MINUTE_SECONDS = 60.0
# Between the SIGTERM of a stop and the SIGKILL of what is then still there.
GRACE_SECONDS = 10.0
# As far back as the reason of a failure is looked for.
REMEMBERED_LINES = 2000

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)(: .*)?")


@dataclass(eq=False)
class Run:
    """One run of a job. Only its runner changes it.

    Attributes:
        id: Unique; that of a retry is its first run's with ``_attempt_<n>``.
        job: Name of the job.
        request: What it gets, see :func:`local.aws.glue_definitions.merge`.
        attempt: 0 for the first, then counted by retries.
        previous: Id of the run that this one retries.
        state: ``STARTING``, ``RUNNING``, ``STOPPING``, ``STOPPED``, ``SUCCEEDED``, ``FAILED`` or ``TIMEOUT``.
        error: Why it failed.
        began: When its process started, on the monotonic clock in seconds.
        seconds: How long its process ran; ``None`` until it ended.
        stop_requested: Whether somebody wants it to end.
    """

    id: str
    job: str
    request: dict[str, Any]
    attempt: int = 0
    previous: str | None = None
    state: str = "STARTING"
    error: str = ""
    started_on: datetime = field(default_factory=lambda: datetime.now(UTC))
    modified_on: datetime = field(default_factory=lambda: datetime.now(UTC))
    completed_on: datetime | None = None
    began: float | None = None
    seconds: float | None = None
    stop_requested: bool = False
    process: Process | None = None

    @property
    def active(self) -> bool:
        """Whether it can still change."""
        return self.state in ACTIVE

    def move(self, state: str) -> None:
        """Enter a state."""
        self.state, self.modified_on = state, datetime.now(UTC)
        if not self.active:
            self.completed_on = self.modified_on

    def describe(self) -> dict[str, Any]:
        """The run in the API's shape."""
        running = time.monotonic() - self.began if self.began is not None else 0
        shown = {
            "PreviousRunId": self.previous,
            "CompletedOn": self.completed_on,
            "ErrorMessage": self.error or None,
            **{name: self.request.get(name) for name in ("MaxCapacity", "NumberOfWorkers", "WorkerType")},
        }
        return {
            "Id": self.id,
            "Attempt": self.attempt,
            "JobName": self.job,
            "JobRunState": self.state,
            "StartedOn": self.started_on,
            "LastModifiedOn": self.modified_on,
            "ExecutionTime": int(running if self.seconds is None else self.seconds),
            "Arguments": self.request["Arguments"],
            "Timeout": self.request["Timeout"],
            "GlueVersion": self.request["GlueVersion"],
            "ExecutionClass": self.request.get("ExecutionClass", "STANDARD"),
            "LogGroupName": LOG_GROUP,
            "PredecessorRuns": [],
            **{name: value for name, value in shown.items() if value is not None},
        }


class Runner:
    """Runs scripts as processes, in the order of asking.

    Args:
        engine: What they run on.
        slots: How many processes there may be at once; further runs stay ``STARTING`` until one ends.
    """

    def __init__(self, engine: Engine, slots: int) -> None:
        self.engine, self.slots = engine, slots
        self._lock = threading.RLock()
        self._runs: list[Run] = []
        self._waiting: list[Run] = []
        self._workers: dict[Run, threading.Thread] = {}
        self._killed = False

    def describe(self, job: str) -> list[dict[str, Any]]:
        """A job's runs in the API's shape, the latest first, at one moment."""
        with self._lock:
            return [run.describe() for run in reversed(self._runs) if run.job == job]

    def start(self, job: str, request: dict[str, Any]) -> str:
        """Start a run.

        Args:
            job: Name of the job.
            request: What the run gets.

        Returns:
            Its id.

        Raises:
            ConcurrentRunsExceededException: The job has as many runs as it allows.
        """
        allowed = (request.get("ExecutionProperty") or {}).get("MaxConcurrentRuns", 1)
        with self._lock:
            if sum(run.active for run in self._runs if run.job == job) >= allowed:
                raise ConcurrentRunsExceededException(
                    f"Concurrent runs exceeded for {job}: its ExecutionProperty.MaxConcurrentRuns is {allowed}"
                )
            run = Run(f"jr_{uuid.uuid4().hex}{uuid.uuid4().hex}", job, request)
            self._enqueue(run)
            return run.id

    def stop(self, job: str, run_id: str) -> bool | None:
        """Ask a run to end.

        Returns:
            Whether it was active; ``None`` when there is no such run.
        """
        with self._lock:
            run = next((run for run in self._runs if (run.job, run.id) == (job, run_id)), None)
            if run is None or not run.active:
                return None if run is None else False
            self._stop(run)
            return True

    def forget(self, job: str) -> None:
        """Stop a job's runs, and know nothing of them from now on."""
        with self._lock:
            for run in [run for run in self._runs if run.job == job]:
                if run.active:
                    self._stop(run)
                self._runs.remove(run)

    def kill(self, wait: bool = False) -> None:
        """Kill every process, and start no more.

        Args:
            wait: Return only when they are gone.
        """
        with self._lock:
            self._killed = True
            for run in [*self._waiting, *self._workers]:
                run.stop_requested = True
                if run.process:
                    run.process.kill()
            workers = list(self._workers.values())
            self._advance()
        if wait:
            for worker in workers:
                worker.join()

    def _enqueue(self, run: Run) -> None:
        self._runs.append(run)
        self._waiting.append(run)
        self._advance()

    def _stop(self, run: Run) -> None:
        run.stop_requested = True
        run.move("STOPPING")
        if run.process:
            run.process.stop()
        self._advance()

    def _advance(self) -> None:
        """Start what there is a slot for; to be called, under the lock, after anything changed."""
        for run in [run for run in self._waiting if run.stop_requested]:
            self._waiting.remove(run)
            run.move("STOPPED")
        while self._waiting and len(self._workers) < self.slots:
            run = self._waiting.pop(0)
            self._workers[run] = threading.Thread(target=self._work, args=(run,), name=f"glue {run.id}", daemon=True)
            self._workers[run].start()

    def _work(self, run: Run) -> None:
        try:
            state, error = self._execute(run)
        except Exception as failure:
            log.exception("Glue job run %s", run.id)
            state, error = "FAILED", f"The local stack failed: {failure!r}"
        with self._lock:
            run.process, run.error = None, error
            run.move(state)
            del self._workers[run]
            if state == "FAILED" and not run.stop_requested and run.attempt < run.request.get("MaxRetries", 0):
                first = run.id.removesuffix(f"_attempt_{run.attempt}")
                again = run.attempt + 1
                self._enqueue(Run(f"{first}_attempt_{again}", run.job, run.request, again, previous=run.id))
            self._advance()

    def _execute(self, run: Run) -> tuple[str, str]:
        """Run a script to its end.

        Returns:
            The run's last state, and why it failed.
        """
        output, errors = (_Remembered(LogStream(f"{LOG_GROUP}/{kind}", run.id)) for kind in ("output", "error"))
        with tempfile.TemporaryDirectory(prefix="glue-", ignore_cleanup_errors=True) as folder:
            scratch = Path(folder)
            system = {"--JOB_NAME": run.job, "--JOB_ID": f"j_{run.job}", "--JOB_RUN_ID": run.id}
            try:
                launch = self.engine.prepare(run.request, system, scratch)
                errors.write(launch.notes)
                with _error_pipe(scratch / "errors", errors.write):
                    with self._lock:
                        if run.stop_requested:
                            return "STOPPED", ""
                        run.process = Process(
                            # The supervisor has one pipe for both streams; this gives standard error its own.
                            ["/bin/sh", "-c", 'exec "$@" 2>"$0"', str(scratch / "errors"), *launch.command],
                            launch.environment,
                            scratch,
                            timeout=run.request["Timeout"] * MINUTE_SECONDS,
                            grace=GRACE_SECONDS,
                        )
                        run.began = time.monotonic()
                        run.move("RUNNING")
                    with s3.written_directly() if launch.engine == "spark" else contextlib.nullcontext():
                        ended = run.process.wait(output.write)
            except (LaunchError, StartError) as error:
                errors.write([f"LAUNCH ERROR: {error}"])
                return "FAILED", f"LAUNCH ERROR: {error}"
            run.seconds = time.monotonic() - run.began
        if launch.engine == "spark" and not self._killed:
            _adopt_all()
        return _outcome(run, ended, output.lines, errors.lines)


class _Remembered:
    """A log stream whose last lines are kept."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream
        self.lines: deque[str] = deque(maxlen=REMEMBERED_LINES)

    def write(self, lines: list[str]) -> None:
        self.lines.extend(lines)
        self._stream.write(lines)


@contextlib.contextmanager
def _error_pipe(pipe: Path, write: Callable[[list[str]], None]) -> Iterator[None]:
    """A named pipe; what is written to it until the end of the block is passed on in lines."""
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # blocking, it would wait here for a writer
    os.set_blocking(reader, True)
    writer = os.open(pipe, os.O_WRONLY)  # until another process has opened it too, the reader must not see its end
    lines = Lines()

    def pump() -> None:
        with os.fdopen(reader, "rb", buffering=0) as stream:
            while chunk := stream.read(65536):
                write(lines.feed(chunk))
        write(lines.feed(b"", final=True))

    pumping = threading.Thread(target=pump, name=f"stderr of {pipe.parent.name}", daemon=True)
    pumping.start()
    try:
        yield
    finally:
        os.close(writer)
        pumping.join()


def _adopt_all() -> None:
    """Make objects of the files that Spark wrote and removed; it can reach every bucket, whatever its arguments."""
    for folder in sorted((current().state / "s3").iterdir()):
        s3.adopt(folder.name)


def _outcome(run: Run, ended: Exit, output: Iterable[str], errors: Iterable[str]) -> tuple[str, str]:
    match ended.cause:
        case "stopped" | "killed":
            return "STOPPED", ""
        case "timeout":
            return "TIMEOUT", f"The run was stopped after its Timeout of {run.request['Timeout']} minutes"
    if ended.code == 0:
        return "SUCCEEDED", ""
    # spark-submit mixes the script's standard error into its own standard output.
    return "FAILED", _exception(errors) or _exception(output) or _last_words(ended.code, errors, output)


def _exception(lines: Iterable[str]) -> str:
    """The line that names the exception which ended a program; empty when none did.

    Python's last traceback shows it as the first line that is not indented; a syntax error has no traceback. What Spark
    says of an exception in Java comes on the line after it.
    """
    said = [line for line in lines if line.strip()]
    starts = [number for number, line in enumerate(said) if line == _TRACEBACK]
    after = iter(said[starts[-1] + 1 :] if starts else [])
    exception = next((line for line in after if not line.startswith(" ")), "")
    if exception:
        cause = next(after, "")
        return exception + (cause if cause.startswith(": ") else "")
    return said[-1] if said and _EXCEPTION.fullmatch(said[-1]) else ""


def _last_words(code: int, errors: Iterable[str], output: Iterable[str]) -> str:
    ending = f"exit code {code}"
    if code > 128:
        with contextlib.suppress(ValueError):
            ending = f"killed by {signal.Signals(code - 128).name}"
    java = [line for line in errors if line.startswith("Exception in thread ")]
    words = [line for line in (*output, *errors) if line.strip()]
    last = (java or words)[-1:]
    return ": ".join([ending, *last])
