"""What the tests of both clusters share: the city, the job on it, and a worker that dies in the middle of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import psutil
from polars.testing import assert_frame_equal

from local.data import city
from tests.conftest import REPOSITORY
from tests.local.geo_job import KEYS

SECONDS = 480
PARTS = 12
SETTLED_SECONDS = 1.0
"""For what a stopped worker had sent before it was stopped to arrive."""


def write_city(folder: Path) -> None:
    """Tables of a small city: a folder each, the large ones in several files."""
    made = city.generate(folder / "city", 0.05, start=city.date(2026, 7, 26), days=12)
    for table in city.TABLES:
        rows = pl.read_parquet(made.file(table))
        parts = PARTS if table in ("locations", "interactions") else 1
        (folder / table).mkdir()
        for number in range(parts):
            part = rows.slice(
                rows.height * number // parts, rows.height * (number + 1) // parts - rows.height * number // parts
            )
            part.write_parquet(folder / table / f"{number}.parquet")


@contextmanager
def job(engine: str, folder: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """The job in a process of its own, which is gone at the end."""
    log = (folder / f"{engine}.log").open("w")
    command = [sys.executable, "-m", "tests.local.geo_job", engine, str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | environment, stdout=log, stderr=log, text=True)
    with log, process:
        try:
            yield process
        finally:
            process.kill()


def until[Found](condition: Callable[[], Found], process: "subprocess.Popen[str]") -> Found:
    """What a condition finds while the job runs."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert process.poll() is None, "the job ended before"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def kill_while_busy(victims: list[psutil.Process], busy: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Kills processes that are in the middle of a task for certain: they are held, seen to have one, and killed."""
    while True:
        until(busy, process)
        for victim in victims:
            victim.send_signal(signal.SIGSTOP)
        time.sleep(SETTLED_SECONDS)
        if busy():
            break
        for victim in victims:
            victim.send_signal(signal.SIGCONT)
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
    assert process.poll() is None


def same_as_polars(engine: str, folder: Path) -> None:
    """Compares what an engine wrote with what Polars makes of the same tables."""
    with job("polars", folder) as process:
        assert process.wait(SECONDS) == 0, (folder / "polars.log").read_text()
    for table, key in KEYS.items():
        expected, made = (
            pl.read_parquet(f"{folder}/{name}/{table}/**/*.parquet", hive_partitioning=False).sort(key)
            for name in ("polars", engine)
        )
        assert expected.height > 100
        assert_frame_equal(made, expected, rel_tol=1e-9)
