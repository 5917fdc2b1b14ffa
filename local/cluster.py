"""Processes of a cluster on this machine, which outlive the command that starts them."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from local.aws.settings import LOOPBACK

WORKERS = 2
START_SECONDS = 120
STOP_SECONDS = 20


class ClusterError(RuntimeError):
    """The cluster can't do what was asked; the message says why, or what to do instead."""


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> int:
    """Starts a process of its own session.

    Args:
        command: The executable and its arguments.
        environment: All its variables.
        folder: Where it starts.
        log: What it says, from the beginning.

    Returns:
        Its id.
    """
    for made in (folder, log.parent):
        made.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ).pid


def alive(pids: Iterable[int], mark: str) -> list[psutil.Process]:
    """Those processes that are there; another program that has the id of one of them by now is none.

    Args:
        pids: Their ids.
        mark: Part of a word of each one's command line.
    """
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            words = process.cmdline()
            # For a moment, a program that has just been started has none.
            if not words or any(mark in word for word in words):
                found.append(process)
    return found


def wait(workers: Callable[[], int], whole: Callable[[], bool], complaint: str) -> None:
    """Waits until all workers are known.

    Args:
        workers: How many are, now.
        whole: Whether every process is still there.
        complaint: What to say if it takes too long, or a process ends.

    Raises:
        ClusterError: with the complaint.
    """
    deadline = time.monotonic() + START_SECONDS
    while workers() < WORKERS:
        if time.monotonic() > deadline or not whole():
            raise ClusterError(complaint)
        time.sleep(0.2)


def stop(processes: Iterable[psutil.Process]) -> None:
    """Ends processes and all that they have started, and waits until they are gone."""
    family = [member for process in processes for member in [process, *process.children(recursive=True)]]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=STOP_SECONDS)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]
