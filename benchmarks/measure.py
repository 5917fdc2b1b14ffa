"""Runs contenders one after the other, each in a process of its own, on the same prepared input, and compares them.

A benchmark is a module with a function per contender that takes the input's path and returns JSON values. Its `main`
calls `contend`, and it calls `measured` when it is started with `--contender`. What is timed is the contender's work
after imports, reading and compiling; peak memory is the whole process's.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """One contender's work on one input.

    Attributes:
        contender: its name.
        seconds: wall-clock time of the work.
        cpu_seconds: processor time of the work, all threads.
        peak_megabytes: greatest resident memory of the process, imports and input included.
        result: what it found.
    """

    contender: str
    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    result: dict[str, Any]


def contend(module: str, contenders: Sequence[str], arguments: Sequence[str], timeout: float) -> list[Measurement]:
    """Starts `python -m module --contender NAME arguments…` for each contender, one after the other.

    Raises:
        RuntimeError: a contender failed; its error output is in the message.
        subprocess.TimeoutExpired: a contender took longer than `timeout` seconds.
    """
    return [_alone(module, contender, arguments, timeout) for contender in contenders]


def _alone(module: str, contender: str, arguments: Sequence[str], timeout: float) -> Measurement:
    command = [sys.executable, "-W", "ignore", "-m", module, "--contender", contender, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return Measurement(contender, **json.loads(done.stdout.splitlines()[-1]))


def measured(load: Callable[[], Any], warm: Callable[[], None], work: Callable[[Any], dict[str, Any]]) -> None:
    """Loads the input, warms up, times the work and prints the measurement as the last line of the output."""
    loaded = load()
    warm()
    start, cpu = time.perf_counter(), time.process_time()
    result = work(loaded)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_megabytes": _peak(), "result": result}))


def _peak() -> float:
    # Linux counts kilobytes, macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def markdown(title: str, measurements: Sequence[Measurement], note: str) -> str:
    """A Markdown table of the measurements; the ratio is to the first one."""
    first = measurements[0]
    rows = [
        f"| {one.contender} | {one.seconds:.2f} | {one.cpu_seconds:.2f} | {one.peak_megabytes:,.0f} | "
        f"{one.seconds / first.seconds:.1f} × |"
        for one in measurements
    ]
    head = "| engine | wall s | CPU s | peak MB | time / first |\n|---|---:|---:|---:|---:|"
    return "\n".join([f"### {title}", "", note, "", head, *rows, ""])


def prepared(module: str, name: str, folder: Path) -> Path:
    """The input `name`, written by `python -m module --prepare NAME` in a process of its own.

    A child starts with its parent's peak memory on its account, so the parent must never hold the data.
    """
    path = folder / f"{name}.npz"
    subprocess.run([sys.executable, "-m", module, "--prepare", name, "--input", str(path)], check=True)
    return path
