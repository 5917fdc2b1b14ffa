"""A program that stands between the local stack and one process tree, so that nothing outlives the stack or its limits.

A container dies as a whole: when its first process ends, when it uses too much memory, when its host goes away. Here
that is the work of one supervisor per process tree. It sits in a session of its own, where no signal meant for the
stack reaches it, and talks with the stack over three pipes:

- standard input: one JSON line with the order; afterwards every byte asks for a graceful stop, and the end of the
  input, which comes however the stack dies, kills the whole tree at once;
- standard output: belongs to the supervised processes alone, both their output streams in the order of writing;
- standard error: one JSON report after the last process is gone.

``local.aws.processes`` is the other end.
"""

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import psutil

POLL_SECONDS = 0.1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the order read from standard input and report how it ended on standard error."""
    line, _, stops = _read_line().partition(b"\n")
    order = json.loads(line)
    wakeup = _wake_on_child_exit()
    _adopt_orphans()
    for fatal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(fatal, lambda *_: sys.exit(1))
    try:
        process = subprocess.Popen(
            order["command"],
            env=order["environment"],
            cwd=order["workdir"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        report: dict[str, Any] = {"error": str(error)}
    else:
        # Whoever reads the output waits for its last writer to close it: that must not be the supervisor.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        try:
            report = _watch(process.pid, order, wakeup, stopping=bool(stops))
        finally:
            _kill_everything(process.pid)
    sys.stderr.write(json.dumps(report))


def _watch(pid: int, order: dict[str, Any], wakeup: int, stopping: bool) -> dict[str, Any]:
    began = time.monotonic()
    deadline = began + (order["timeout"] or math.inf)
    limit = order["memory"] or math.inf
    cause, kill_at, next_look, peak = "exited", math.inf, began, 0
    while (code := _reap(pid)) is None:
        now = time.monotonic()
        if kill_at == math.inf and (stopping or now >= deadline):
            cause = "stopped" if stopping else "timeout"
            kill_at = now + order["grace"]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        if now >= next_look:
            resident = _resident(limit)
            # Looking at the process table of a busy machine is dear: spend no more than a twentieth of the time on it.
            next_look = now + max(POLL_SECONDS, 20 * (time.monotonic() - now))
            peak = max(peak, resident)
            if resident > limit:
                cause, kill_at = "memory", now
        if now >= kill_at:
            # Only the first process: its end is what the loop waits for, and the rest follows it.
            os.kill(pid, signal.SIGKILL)
        ready, _, _ = select.select([0, wakeup], [], [], POLL_SECONDS)
        if wakeup in ready:
            os.read(wakeup, 4096)
        if 0 in ready:
            if not os.read(0, 4096):
                return {"code": 128 + signal.SIGKILL, "cause": "killed", "peak": peak}
            stopping = True
    return {"code": code if code >= 0 else 128 - code, "cause": cause, "peak": peak}


def _read_line() -> bytes:
    received = b""
    while b"\n" not in received:
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit("the order ended before its newline")
        received += chunk
    return received


def _wake_on_child_exit() -> int:
    """A descriptor that becomes readable when a child ends, so that short processes are not waited for by polling."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ended (Linux), so that a daemon cannot slip away."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(pid: int) -> int | None:
    """Collect every ended child; the exit code of ``pid`` (negative: minus the signal) once it is among them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if ended == 0:
            return None


def _kill_everything(pid: int) -> None:
    """Kill the process group and every descendant, again and again until a look finds nobody."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    me = psutil.Process()
    while descendants := me.children(recursive=True):
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


def _resident(limit: float) -> int:
    """Memory in bytes that all descendants hold and the kernel could not take back.

    The sum of resident sizes is cheap but counts shared pages once per process and mapped files, which a container's
    limit does not hold against it; so the exact figure is asked for only when the cheap one is over the limit.
    """
    processes = psutil.Process().children(recursive=True)
    resident = sum(_each(processes, lambda process: process.memory_info().rss))
    return resident if resident <= limit else sum(_each(processes, _unreclaimable))


def _unreclaimable(process: psutil.Process) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup") as rollup:  # noqa: PTH123 - read in a loop
            sizes = dict(line.split(":", 1) for line in rollup if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    except (FileNotFoundError, PermissionError):
        return process.memory_info().rss
    if len(sizes) < 2:
        return process.memory_info().rss
    return sum(int(size.split()[0]) * 1024 for size in sizes.values())


def _each(processes: Iterable[psutil.Process], size: Any) -> Iterable[int]:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            yield size(process)


if __name__ == "__main__":
    main()
