"""Running a process as a container runs: output streamed line by line, time and memory limited, nothing left behind."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from local.aws import supervisor
from local.aws.logs import Lines

type Cause = Literal["exited", "stopped", "timeout", "memory", "killed"]


class StartError(RuntimeError):
    """The operating system refused to start the command."""


@dataclass(frozen=True)
class Exit:
    """How a process ended.

    Attributes:
        code: Exit code; 128 + the signal when one ended it.
        cause: ``exited`` by itself, ``stopped`` on request, over its ``timeout`` or ``memory``, or ``killed`` with the
            stack.
        peak: The most memory its process tree was seen to hold, in bytes.
    """

    code: int
    cause: Cause
    peak: int


class Process:
    """A command and all its descendants, running from construction on.

    :meth:`wait` must be called, by one thread; :meth:`stop` and :meth:`kill` may be called by any.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        workdir: Path,
        timeout: float | None = None,
        memory: int | None = None,
        grace: float = 30.0,
    ) -> None:
        """Start the command.

        Args:
            command: The executable and its arguments.
            environment: All its variables.
            workdir: The folder it starts in.
            timeout: Seconds after which it is stopped.
            memory: Bytes that the process tree may hold; over them it is killed.
            grace: Seconds between the SIGTERM of a stop and the SIGKILL of what is then still there.
        """
        order = {
            "command": list(command),
            "environment": dict(environment),
            "workdir": str(workdir),
            "timeout": timeout,
            "memory": memory,
            "grace": grace,
        }
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Out of reach of signals to the stack's process group: a killed stack must leave somebody to clean up.
            start_new_session=True,
        )
        self._orders = threading.Lock()
        # Not on the command line, where anybody could read the secrets of the environment.
        self._send(json.dumps(order).encode() + b"\n")

    def wait(self, write: Callable[[list[str]], None]) -> Exit:
        """Pass the output on until the last process is gone.

        Args:
            write: Receives complete lines of standard output and standard error, mixed in the order of writing.

        Returns:
            How it ended.

        Raises:
            StartError: The command could not be started.
        """
        lines = Lines()
        try:
            while chunk := _pipe(self._supervisor.stdout).read(65536):
                write(lines.feed(chunk))
            write(lines.feed(b"", final=True))
            report = _pipe(self._supervisor.stderr).read().decode(errors="replace")
        finally:
            self.kill()
            self._supervisor.wait()
            for pipe in (self._supervisor.stdout, self._supervisor.stderr):
                _pipe(pipe).close()
        try:
            ended = json.loads(report)
        except json.JSONDecodeError:
            raise StartError(f"the supervisor ended with {self._supervisor.returncode}: {report.strip()}") from None
        if "error" in ended:
            raise StartError(ended["error"])
        return Exit(code=ended["code"], cause=cast(Cause, ended["cause"]), peak=ended["peak"])

    def stop(self) -> None:
        """Ask for a graceful end: SIGTERM to the process group, SIGKILL after the grace period. Does not wait."""
        self._send(b"s")

    def kill(self) -> None:
        """Kill the whole process tree. Does not wait."""
        with self._orders, contextlib.suppress(BrokenPipeError):
            _pipe(self._supervisor.stdin).close()

    def _send(self, order: bytes) -> None:
        pipe = _pipe(self._supervisor.stdin)
        # A broken pipe means it ended meanwhile, which wait() reports.
        with self._orders, contextlib.suppress(BrokenPipeError):
            while order and not pipe.closed:
                order = order[pipe.write(order) :]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - all three are opened as pipes above
    return stream
