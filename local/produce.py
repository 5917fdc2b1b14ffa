"""Sends records to a stream, at a pace or as fast as it goes, with as much wrong with them as is asked for."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from local.data import order_lines, walkers
from local.data.order_lines import Burst
from local.producer import position, sources
from local.producer.delivery import BATCH_RECORDS, Batches, Delivery, DeliveryError
from local.producer.injection import Injection, InjectionError, Record, Tally, emissions
from local.producer.pacing import Pacer
from local.producer.position import Position, PositionError
from local.producer.replay import ReplayError
from local.producer.sources import STREAMS, Schedule, Source
from local.stack import LAKE

PACE = 50.0
"""Records a second unless told otherwise, and how close they are in time when they are sent as fast as it goes."""
ESTABLISHMENTS = "reference/establishments.jsonl.gz"
"""Key in the lake."""


class ProduceError(RuntimeError):
    """Nothing, or not all, was sent; the message says why and what to do."""


@dataclass(frozen=True)
class Options:
    """What to send.

    Attributes:
        stream: A key of `STREAMS`.
        rate: Records a second; 0 for as fast as it goes.
        count: How many of the source; null for all of a file, or until interrupted.
        resume: Whether to go on where the last run stopped; `made_of` is then that run's.
        made_of: What makes the records, as far as the user names it: seed, start, file, burst_orders and the fields of
            `Injection`.
    """

    stream: str
    rate: float = PACE
    count: int | None = None
    resume: bool = False
    made_of: dict[str, Any] = field(default_factory=dict)


def produce(
    state: Path, kinesis: Any, options: Options, stop: threading.Event | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Sends records until the count is reached, the file ends or it is told to stop.

    Told to stop, it sends what it holds back, and is done. Killed, the next one with `resume` goes on: at most the
    batch that was under way is sent again.

    Args:
        state: The stack's; the position is kept in its folder `produce`.
        kinesis: A boto3 client that doesn't retry by itself.
        options: What to send.
        stop: Ends it.
        console: For the live line of progress; null for none.

    Returns:
        The report: what was sent and injected by this run, how fast, and where it stands.

    Raises:
        ProduceError: the options, the file or the stream don't allow it.
    """
    stop = stop or threading.Event()
    delivery = Delivery(kinesis, STREAMS[options.stream])
    try:
        delivery.check()
        run = _run(state / "produce" / f"{options.stream}.json", options)
        return _Sending(options, run, delivery, stop).send(console)
    except (DeliveryError, InjectionError, PositionError, ReplayError) as error:
        raise ProduceError(str(error)) from error


def _run(file: Path, options: Options) -> Position:
    """The run to do: a new one, or what is left of one."""
    if options.rate < 0 or (options.count is not None and options.count < 1):
        name, least = ("rate", 0) if options.rate < 0 else ("count", 1)
        raise InjectionError(f"--{name} is {getattr(options, name)}: it must be at least {least}")
    if options.resume:
        return position.resume(file, options.made_of, options.count)
    defaults = {"seed": 1, "start": None, "file": None, "burst_orders": 0, **asdict(Injection())}
    made_of = defaults | options.made_of | {"interval": 1 / (options.rate or PACE)}
    count = options.count
    if made_of["file"]:
        size = _source(options.stream, made_of | {"start": "2000-01-01", "burst": None}).size or 0
        count = min(size, count or size)
    elif count is None and not options.rate:
        raise InjectionError("--rate 0 sends as fast as it goes, without end: say how many with --count")
    if made_of["start"] is None:
        # As fast as it goes, the records are of the time just past, and not of one to come.
        past = 0 if options.rate else (count or 0) * made_of["interval"]
        made_of["start"] = (datetime.now(UTC) - timedelta(seconds=past)).isoformat()
    if made_of["burst_orders"]:
        middle = (count or 0) // 2
        made_of["burst"] = [middle - middle % order_lines.BLOCK, made_of["burst_orders"]]
    else:
        made_of["burst"] = None
    _source(options.stream, made_of)  # refuses what the stream can't do, before anything is noted
    injection = _injection(made_of)
    if count is not None:
        injection.check(count * made_of["interval"])
    return position.begin(file, made_of, count)


def _source(stream: str, made_of: dict[str, Any]) -> Source:
    file = Path(made_of["file"]) if made_of["file"] else None
    burst = Burst(*made_of["burst"]) if made_of["burst"] else None
    return sources.source(stream, _schedule(made_of), file, burst)


def _schedule(made_of: dict[str, Any]) -> Schedule:
    try:
        start = datetime.fromisoformat(made_of["start"])
    except ValueError as error:
        raise InjectionError(f"--start is {made_of['start']!r}: write it like 2026-03-01T10:00:00") from error
    start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    return Schedule(made_of["seed"], start, timedelta(seconds=made_of["interval"]))


def _injection(made_of: dict[str, Any]) -> Injection:
    return Injection(**{name: made_of[name] for name in asdict(Injection())})


class _Sending:
    """One run, sent."""

    def __init__(self, options: Options, run: Position, delivery: Delivery, stop: threading.Event) -> None:
        self._options, self._run, self._delivery, self._stop = options, run, delivery, stop
        self._source = _source(options.stream, run.options)
        self._schedule = _schedule(run.options)
        self._tally = Tally()
        self._next = run.floor

    def send(self, console: Console | None) -> dict[str, Any]:
        """Sends it; the report."""
        run, began = self._run, time.monotonic()
        until = None if run.until is None else self._schedule.time(run.until)
        seed, injection = run.options["seed"], _injection(run.options)
        order = emissions(self._records(), injection, seed, self._source.poisoner, until)
        batches = Batches(run.following(order))
        pacer = Pacer(self._options.rate, sleep=self._stop.wait)
        total = None if run.until is None else run.until - run.floor
        with _progress(console, STREAMS[self._options.stream], total) as show:
            while batch := batches.take(self._allowed(pacer)):
                self._delivery.put(batch)
                for emission in batch:
                    self._tally.add(emission)
                run.acknowledge(batch[-1])
                show(self._tally.kinds["record"], self._tally.sent, time.monotonic() - began)
        run.until, run.floor, run.finished = self._next, self._next, True
        run.save()
        return self._report(time.monotonic() - began, pacer.given_up)

    def _allowed(self, pacer: Pacer) -> int:
        while not self._stop.is_set():
            if allowed := pacer.allow(BATCH_RECORDS):
                return allowed
        return BATCH_RECORDS  # what was held back goes out at once

    def _records(self) -> Iterator[Record]:
        """The source's, until it is told to stop."""
        for record in self._source.records(self._run.floor):
            if self._stop.is_set() or record.number == self._run.until:
                return
            self._next = record.number + 1
            yield record

    def _report(self, seconds: float, given_up: float) -> dict[str, Any]:
        made_of = self._run.options
        return {
            "stream": STREAMS[self._options.stream],
            **self._tally.report(),
            "requests": self._delivery.requests,
            "retried": self._delivery.retried,
            "seconds": round(seconds, 3),
            "records_per_second": round(self._tally.sent / seconds) if seconds else 0,
            "seconds_behind": round(given_up, 3),
            "first": self._run.first,
            "next": self._next,
            "interrupted": self._stop.is_set(),
            "made_of": {name: value for name, value in made_of.items() if name != "burst"},
        }


@contextmanager
def _progress(console: Console | None, stream: str, total: int | None) -> Iterator[Callable[[int, int, float], object]]:
    if console is None or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[pace]}"), console=console) as progress:
        task = progress.add_task(stream, total=total, pace="")

        def show(records: int, sent: int, seconds: float) -> None:
            progress.update(task, completed=records, pace=f"{sent / max(seconds, 1e-6):,.0f}/s")

        yield show


def furnish(s3: Any) -> bool:
    """Puts the establishments that generated people walk to where the live offers look for them.

    Args:
        s3: A boto3 client.

    Returns:
        Whether it did; it doesn't if there are some.
    """
    try:
        s3.head_object(Bucket=LAKE, Key=ESTABLISHMENTS)
    except ClientError:
        s3.put_object(Bucket=LAKE, Key=ESTABLISHMENTS, Body=walkers.reference())
        return True
    return False


def interruptible() -> threading.Event:
    """An event that the first ctrl-C or SIGTERM sets; the second ends the process."""
    stop = threading.Event()

    def interrupt(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return stop


def report(summary: dict[str, Any]) -> None:
    """Prints what `produce` returned, as JSON."""
    json.dump(summary, sys.stdout, indent=2)
    print()
