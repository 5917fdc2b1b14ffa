"""The streams: what the window engine does in a second beside its peers, and what it holds on to.

    python -m benchmarks.streams windows [--events 1000000] [--peer bytewax=PYTHON] …
    python -m benchmarks.streams kinds [--events 1000000]
    python -m benchmarks.streams memory [--events 10000000]
    python -m benchmarks.streams handlers [--events 20000] [--batch 500]
    python -m benchmarks.streams latency [--events 200]

- windows: events per key (1 000 keys) and minute, from one CSV file, disordered by up to 5 s; every contender must find
  the same counts. Ours is run with each identity counted once, which no peer offers, and with arrivals counted, as
  peers do. A peer has its own environment, whose interpreter `--peer` names:
  `uv venv /tmp/bytewax --python 3.12 && uv pip install --python /tmp/bytewax bytewax==0.21.1`, then
  `--peer bytewax=/tmp/bytewax/bin/python`; `make .venv-flink/.installed`, then `--peer pyflink=.venv-flink/bin/python`.
  A peer that is not named is left out.
- kinds: the other windows and reducers of ours, on the same events.
- memory: the peak of a process that streams through, after each tenth of the events.
- handlers: one worker of each handler of the streams on the local stack, with a new stream and with a replayed one.
- latency: from a put to the item in DynamoDB, and to the line in S3, on the local stack, beside 50 clicks a second.

The work (CPU, wall) is timed from events in memory to the last result; the process, from its start to its end, reading
included. Flink reads the file as it works, so its work has its start and reading in it. All contenders run on one core.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

from benchmarks import measure
from include.streams.encoding import hash64
from include.streams.reducers import Arrivals, Compose, Count, Distinct, First, Last, Reducer, TopK
from include.streams.windows import MINUTE, SECOND, Assigner, Session, Sliding, Tumbling, Windows

MODULE = "benchmarks.streams"
KEYS = 1_000
EVENTS_PER_SECOND = 1_000
DISORDER = 5 * SECOND
LATENESS = 10 * SECOND
BATCH = 500
"""Events that are added at once: a batch of Kinesis."""
START = 1_772_359_200 * SECOND

type Events = Iterable[tuple[Any, int, int, Any]]


def generated(n: int) -> Iterator[tuple[str, int, int, str]]:
    """Key, identity, time and url of n events, in the order of their arrival."""
    rng = random.Random(4)
    for place in range(n):
        at = START + place * SECOND // EVENTS_PER_SECOND - rng.randrange(DISORDER)
        yield str(rng.randrange(KEYS)), rng.getrandbits(64), at, f"/{rng.randrange(50)}"


def prepare(n: int, path: Path) -> None:
    """Writes the events as CSV, with no header: key, identity, time in microseconds since the epoch, url."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(generated(n))


def loaded(path: Path) -> list[tuple[str, int, int, str]]:
    """The events of the file."""
    with path.open(newline="") as file:
        return [(key, int(identity), int(at), url) for key, identity, at, url in csv.reader(file)]


class Found:
    """Results of counting windows as a few numbers, whatever their order."""

    def __init__(self) -> None:
        self.results = self.events = self.digest = 0

    def add(self, start: int, key: str, count: int) -> None:
        """Adds a window's count of a key; `start` is in microseconds since the epoch."""
        self.results += 1
        self.events += count
        self.digest = (self.digest + hash64(f"{start},{key},{count}".encode())) % 2**64


def streamed(events: Events, assigner: Assigner, reducer: Reducer[Any, Any]) -> Iterator[Any]:
    """The results of ours, as windows close."""
    windows = Windows(assigner, reducer, LATENESS)
    for batch in batched(events, BATCH):
        if windows.add_many(batch):
            raise SystemExit("an event was late: the input is disordered by less than the lateness")
        yield from windows.closed()
    windows.end()
    yield from windows.closed()


def ours(reducer: Reducer[Any, Any], path: Path) -> None:
    """Counts with the project's engine."""

    def work(events: Any) -> dict[str, Any]:
        found = Found()
        for (start, _), key, count in streamed(events, Tumbling(MINUTE), reducer):
            found.add(start, key, count)
        return vars(found)

    measure.measured(lambda: loaded(path), lambda: None, work)


def bytewax(path: Path) -> None:
    """Counts with bytewax's `count_window`: one worker, events and results in memory."""
    import bytewax.operators as op
    import bytewax.operators.windowing as win
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    epoch = datetime.fromtimestamp(0, UTC)

    def load() -> list[tuple[str, datetime]]:
        return [(key, epoch + timedelta(microseconds=at)) for key, _, at, _ in loaded(path)]

    def work(events: list[tuple[str, datetime]]) -> dict[str, Any]:
        # Its watermark moves on with the wall clock too, so it is given a longer time to wait than the disorder.
        clock = win.EventClock(lambda event: event[1], wait_for_system_duration=timedelta(minutes=1))
        minutes = win.TumblingWindower(length=timedelta(minutes=1), align_to=epoch)
        counts: list[tuple[str, tuple[int, int]]] = []
        flow = Dataflow("count")
        stream = op.input("events", flow, TestingSource(events, batch_size=BATCH))
        counted = win.count_window("counted", stream, clock, minutes, key=lambda event: event[0])
        op.output("counts", counted.down, TestingSink(counts))
        run_main(flow)
        found = Found()
        for key, (window, count) in counts:
            found.add(window * MINUTE, key, count)
        return vars(found)

    measure.measured(load, lambda: None, work)


def pyflink(path: Path) -> None:
    """Counts with Flink SQL in a local cluster, from the file to a file: start and reading are part of its work."""
    from pyflink.java_gateway import get_gateway
    from pyflink.table import EnvironmentSettings, TableEnvironment

    found = Found()
    begin, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="pyflink-") as folder:
        flink = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        flink.get_config().set("parallelism.default", "1")
        flink.get_config().set("table.local-time-zone", "UTC")
        files = "'connector' = 'filesystem', 'format' = 'csv', 'path'"
        flink.execute_sql(
            "CREATE TABLE events (k STRING, id STRING, micros BIGINT, url STRING,"
            " t AS TO_TIMESTAMP_LTZ(micros / 1000, 3), WATERMARK FOR t AS t - INTERVAL '10' SECOND)"
            f" WITH ({files} = '{path}')"
        )
        flink.execute_sql(f"CREATE TABLE counts (w BIGINT, k STRING, n BIGINT) WITH ({files} = '{folder}')")
        flink.execute_sql(
            "INSERT INTO counts SELECT UNIX_TIMESTAMP(CAST(window_start AS STRING)), k, COUNT(*)"
            " FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(t), INTERVAL '1' MINUTE))"
            " GROUP BY window_start, window_end, k"
        ).wait()
        for file in Path(folder).iterdir():
            for start, key, count in csv.reader(file.read_text().splitlines()):
                found.add(int(start) * SECOND, key, int(count))
    java = get_gateway().jvm.java.lang.ProcessHandle.current()
    status = Path(f"/proc/{java.pid()}/status").read_text()
    measured = {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu + java.info().totalCpuDuration().get().toMillis() / 1000,
        "peak_megabytes": int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 2**10,
    }
    print(json.dumps({**measured, "result": vars(found)}))


OURS: dict[str, Reducer[Any, Any]] = {"ours, each event once": Count(), "ours, arrivals": Arrivals()}
# A peer is a function of the CSV's path that ends in `measure.measured` with the numbers of `Found` as its result. The
# interpreter that --peer names runs it at the repository's root: what only that one has is imported in the function.
PEERS: dict[str, Callable[[Path], None]] = {"bytewax": bytewax, "pyflink": pyflink}

KINDS: dict[str, tuple[Assigner, Reducer[Any, Any]]] = {
    "tumbling 1 min, Arrivals": (Tumbling(MINUTE), Arrivals()),
    "tumbling 1 min, Count": (Tumbling(MINUTE), Count()),
    "tumbling 1 min, Distinct": (Tumbling(MINUTE), Distinct()),
    "tumbling 1 min, TopK(10)": (Tumbling(MINUTE), TopK(10)),
    "tumbling 1 min, Count, First and Last": (Tumbling(MINUTE), Compose(n=Count(), first=First(), last=Last())),
    "sliding 1 min every 10 s, Count": (Sliding(MINUTE, 10 * SECOND), Count()),
    "session of 5 s, Count": (Session(5 * SECOND), Count()),
}


@dataclass(frozen=True)
class Run:
    """A contender's work, and the time of its whole process in seconds."""

    work: measure.Measurement
    process_seconds: float


def run(python: str, contender: str, path: Path, timeout: float) -> Run:
    """A contender in a process of its own, on one core."""
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    command = [python, "-W", "ignore", "-m", MODULE, "windows", "--contender", contender, "--input", str(path)]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-4000:]}")
    return Run(measure.Measurement(contender, **json.loads(done.stdout.splitlines()[-1])), seconds)


def compare(events: int, peers: dict[str, str], timeout: float) -> None:
    """Runs all contenders and prints the table; ratios are to the first of ours."""
    with tempfile.TemporaryDirectory(prefix="streams-") as folder:
        path = Path(folder) / "events.csv"
        prepare(events, path)
        runs = [run(sys.executable, name, path, timeout) for name in OURS]
        runs += [run(python, name, path, timeout) for name, python in peers.items()]
    for one in runs[1:]:
        if one.work.result != runs[0].work.result:
            raise SystemExit(f"{one.work.contender} found {one.work.result}, ours {runs[0].work.result}")
    first = runs[0]
    print(f"{events:,} events, {first.work.result['results']:,} equal counts\n")
    print("| engine | events/s of CPU | CPU s | / first | wall s | process s | / first | peak MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for one in runs:
        work, whole = one.work, one.process_seconds
        print(
            f"| {work.contender} | {events / work.cpu_seconds:,.0f} | {work.cpu_seconds:.2f} |"
            f" {work.cpu_seconds / first.work.cpu_seconds:.1f} × | {work.seconds:.2f} | {whole:.2f} |"
            f" {whole / first.process_seconds:.1f} × | {work.peak_megabytes:,.0f} |"
        )
    for name in PEERS.keys() - peers.keys():
        print(f"\n{name} was left out: name its interpreter, --peer {name}=PYTHON")


def kinds(n: int) -> None:
    """Prints the speed of each kind of window and reducer of ours."""
    events = list(generated(n))
    print("| window, reducer | events/s of CPU | results |\n|---|--:|--:|")
    for name, (assigner, reducer) in KINDS.items():
        start = time.process_time()
        results = sum(1 for _ in streamed(events, assigner, reducer))
        print(f"| {name} | {n / (time.process_time() - start):,.0f} | {results:,} |", flush=True)


def memory(n: int) -> None:
    """Prints the peak memory of this process after each tenth of the events, each counted once."""

    def watched() -> Iterator[tuple[str, int, int, str]]:
        for place, event in enumerate(generated(n), 1):
            yield event
            if place % (n // 10) == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                megabytes = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
                print(f"| {place:,} | {megabytes:.0f} |", flush=True)

    print("| events | peak MB |\n|--:|--:|")
    counted = sum(result.value for result in streamed(watched(), Tumbling(MINUTE), Count()))
    if counted != n:
        raise SystemExit(f"{counted:,} of {n:,} events were counted")


def main() -> None:
    """Runs a part of the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("windows", "kinds", "memory", "handlers", "latency"))
    parser.add_argument("--events", type=int, help="how many; default: a million, for memory ten, for handlers 20 000")
    parser.add_argument("--batch", type=int, default=500, help="records that a handler is given (default: 500)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"{', '.join(PEERS)}")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a contender may take (default: 1800)")
    for hidden in ("--contender", "--input"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender in OURS:
        return ours(OURS[arguments.contender], Path(arguments.input))
    if arguments.contender:
        return PEERS[arguments.contender](Path(arguments.input))

    if arguments.part in ("handlers", "latency"):
        from benchmarks import speed_layer  # Late: the peers' interpreters have no boto3.

        if arguments.part == "handlers":
            return speed_layer.throughput(arguments.events or 20_000, arguments.batch)
        return speed_layer.latency(arguments.events or 200, speed_layer.EVENTS_PER_SECOND)
    peers = dict(peer.split("=", 1) for peer in arguments.peer if "=" in peer)
    if len(peers) < len(arguments.peer) or peers.keys() - PEERS.keys():
        parser.error(f"--peer is NAME=PYTHON, where NAME is one of {', '.join(PEERS)}")
    events = arguments.events or (10_000_000 if arguments.part == "memory" else 1_000_000)
    if arguments.part == "windows":
        return compare(events, peers, arguments.timeout)
    return kinds(events) if arguments.part == "kinds" else memory(events)


if __name__ == "__main__":
    main()
