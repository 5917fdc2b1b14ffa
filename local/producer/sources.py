"""The streams' sources: what is sent, under which partition key, and how it is spoilt."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from local.data import clickstream, order_lines, walkers, web_logs
from local.data.order_lines import Burst
from local.producer import poison, replay
from local.producer.injection import InjectionError, Record
from local.producer.poison import Poisoner

STREAMS = {
    "clickstream": "vitrine-clickstream",
    "orders": "vitrine-orders",
    "positions": "vitrine-positions",
    "weblogs": "vitrine-weblogs",
}
"""Command-line name to the stream's."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """When a source's records are due.

    Attributes:
        seed: Of what is generated.
        start: Of record 0, in UTC.
        interval: Between two records.
    """

    seed: int
    start: datetime
    interval: timedelta

    def time(self, index: int) -> int:
        """When a record is due, in µs since the epoch."""
        return (self.start + index * self.interval - _EPOCH) // timedelta(microseconds=1)


class Source(Protocol):
    """Something to send."""

    @property
    def poisoner(self) -> Poisoner:
        """Spoils a record."""

    @property
    def size(self) -> int | None:
        """How many records there are; null when there is no end."""

    def records(self, first: int) -> Iterator[Record]:
        """The records from one on."""


def source(stream: str, schedule: Schedule, file: Path | None = None, burst: Burst | None = None) -> Source:
    """The source of a stream.

    Args:
        stream: A key of `STREAMS`.
        schedule: Of its records.
        file: To replay instead of generating.
        burst: Of orders, among generated ones.

    Raises:
        ReplayError: the file can't be replayed.
        InjectionError: the stream has no such option.
    """
    if burst and (stream != "orders" or file):
        raise InjectionError("--burst-orders: only generated orders have bursts: `produce orders` without --file")
    match stream:
        case "clickstream":
            if file:
                raise InjectionError("--file: clicks are only generated; orders and weblogs can be replayed")
            return Clicks(schedule)
        case "orders":
            return Orders(schedule, file, burst)
        case "positions":
            if file:
                raise InjectionError("--file: positions are only generated; orders and weblogs can be replayed")
            return Positions(schedule)
    return WebLogs(schedule, file)


class Clicks:
    """Generated clicks, by visitor."""

    poisoner = staticmethod(poison.clicks)
    size = None

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def records(self, first: int) -> Iterator[Record]:
        """The records from one on."""
        schedule = self._schedule
        clicks = clickstream.clicks(schedule.seed, first, schedule.start, schedule.interval)
        for index, click in zip(count(first), clicks, strict=False):
            yield Record(index, schedule.time(index), str(click["custid"]), _json(click))


class Orders:
    """Lines of orders, generated or a file's, by customer, or by invoice where there is none."""

    poisoner = staticmethod(poison.orders)

    def __init__(self, schedule: Schedule, file: Path | None, burst: Burst | None) -> None:
        self._schedule, self._burst = schedule, burst
        self._replay = replay.Orders(file) if file else None
        self.size = len(self._replay) if self._replay else None

    def records(self, first: int) -> Iterator[Record]:
        """The records from one on."""
        schedule = self._schedule
        if self._replay:
            lines = self._replay.lines(first, schedule.start, schedule.interval)
        else:
            lines = order_lines.lines(schedule.seed, first, schedule.start, schedule.interval, self._burst)
        for index, line in zip(count(first), lines, strict=False):
            yield Record(index, schedule.time(index), line["Customer"] or line["InvoiceNo"], _json(line))


class Positions:
    """Generated positions of people, by person: their order is kept."""

    poisoner = staticmethod(poison.positions)
    size = None

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def records(self, first: int) -> Iterator[Record]:
        """The records from one on."""
        schedule = self._schedule
        fixes = walkers.fixes(schedule.seed, first, schedule.start, schedule.interval)
        for index, fix in zip(count(first), fixes, strict=False):
            yield Record(index, schedule.time(index), fix["user_id"], _json(fix))


class WebLogs:
    """Lines of a web server's log, generated or a file's; the key is the client and the line's place in its log."""

    poisoner = staticmethod(poison.web_logs)

    def __init__(self, schedule: Schedule, file: Path | None) -> None:
        self._schedule = schedule
        self._replay = replay.WebLog(file) if file else None
        self.size = len(self._replay) if self._replay else None

    def records(self, first: int) -> Iterator[Record]:
        """The records from one on."""
        schedule = self._schedule
        for index, line in zip(count(first), self._lines(first), strict=False):
            client = line.split(b" ", 1)[0][:200].decode(errors="replace")
            yield Record(index, schedule.time(index), f"{client}#{index}", line)

    def _lines(self, first: int) -> Iterator[bytes]:
        if self._replay:
            return self._replay.lines(first)
        schedule = self._schedule
        lines = web_logs.lines(schedule.seed, first, schedule.start, schedule.interval)
        return (line.encode() for line in lines)


def _json(fields: dict[str, Any]) -> bytes:
    return _ENCODER.encode(fields).encode()
