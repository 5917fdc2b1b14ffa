"""Event-time windows over keyed events: pure, deterministic, with a watermark.

    windows = Windows(Tumbling(MINUTE), Count(), lateness=2 * MINUTE, sources=("shard-0", "shard-1"))
    late = windows.add_many(events, source="shard-0")  # events: (key, identity, time, value)
    for window, key, count in windows.closed(): ...

Times and durations are int microseconds, times since the epoch.

- The watermark is the least of the newest times of its sources; it never falls. A source from which nothing came for
  `idle_timeout` does not hold it back; when all are idle, the newest of them counts.
- A window is closed, once and for all, when watermark >= its end + lateness. Until then its events may come in any
  order, any number of times. After it they are late: they change nothing, and are handed back.
- What is late, and what a window finds, depends on the events and their order alone: not on how they were split into
  batches, nor on how often closed windows were taken or snapshots restored.

A handler that keeps states elsewhere wants `fold` alone: the partial state of each window and key of its batch, to
merge into what is stored.
"""

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from include.streams.assigners import MINUTE, SECOND, Assigner, Event, Key, Session, Sliding, Tumbling, Window
from include.streams.encoding import canonical, pack, unpack
from include.streams.open_windows import FOREVER, Clock, Late, Panes, Spans
from include.streams.reducers import Reducer

S = TypeVar("S")
R = TypeVar("R")

__all__ = [
    "MINUTE",
    "SECOND",
    "Assigner",
    "Event",
    "Key",
    "Late",
    "Result",
    "Session",
    "Sliding",
    "Tumbling",
    "Window",
    "Windows",
    "fold",
    "is_late",
]

_FORMAT = b"vitrine windows 1"


class Result(NamedTuple):
    """What a closed window found.

    Attributes:
        window: the window; a session's reaches from its first event to `gap` after its last.
        key: whose events they are.
        value: the reducer's result.
    """

    window: Window
    key: Key
    value: Any


def fold(
    assigner: Assigner, reducer: Reducer[S, Any], events: Iterable[tuple[Key, int, int, Any]]
) -> dict[tuple[Window, Key], S]:
    """The state of every window and key of a finite number of events, none of them late.

    States of the same window and key, from several folds, merge with `reducer.merge`: any split into batches gives the
    same. Not so session windows, which depend on what is in other batches.

    Args:
        assigner: which windows.
        reducer: what they compute.
        events: key, identity, time and value of each, in any order.

    Returns:
        States (`reducer.result` makes results of them), by end, start and key.
    """
    opened = _open(assigner, reducer)
    opened.add_many(events, -FOREVER, Clock(-FOREVER, FOREVER, FOREVER))
    opened.close(FOREVER)
    return {(window, key): state for window, key, state in opened.take()}


def is_late(window: Window, watermark: int, lateness: int) -> bool:
    """Whether an event of the window would be late."""
    return window.end + lateness <= watermark


class _Source:
    """Where events come from: its newest event time, and when it last gave one, on the wall clock."""

    __slots__ = ("newest", "seen")

    def __init__(self, newest: int, seen: int | None) -> None:
        self.newest, self.seen = newest, seen


class Windows(Generic[S, R]):
    """Keyed windows that close as event time goes on.

    Args:
        assigner: which windows: `Tumbling`, `Sliding` or `Session`.
        reducer: what they compute.
        lateness: how long after its end a window stays open, in microseconds of event time.
        idle_timeout: after how many microseconds on the wall clock a silent source counts no more; None: never. With
            it, `now` must be given wherever it is asked for.
        sources: those known beforehand: they hold back the watermark before their first event. Others count from
            their first event.

    Raises:
        ValueError: a duration is negative or not an int.
    """

    def __init__(
        self,
        assigner: Assigner,
        reducer: Reducer[S, R],
        lateness: int = 0,
        idle_timeout: int | None = None,
        sources: Iterable[str] = (),
    ) -> None:
        for name, value in (("lateness", lateness), ("idle_timeout", idle_timeout)):
            if value is not None and (value.__class__ is not int or value < 0):
                raise ValueError(f"{name} is {value!r}: give microseconds, an int of 0 or more")
        self._reducer = reducer
        self._lateness = lateness
        self._idle_timeout = idle_timeout
        self._open = _open(assigner, reducer)
        self._watermark = -FOREVER
        self._now: int | None = None
        self._sources = {source: _Source(-FOREVER, None) for source in sources}
        self._described = f"{assigner!r}, {reducer!r}, lateness={lateness}"

    @property
    def watermark(self) -> int | None:
        """Microseconds since the epoch; None before all expected sources have given an event."""
        return None if self._watermark == -FOREVER else self._watermark

    def add(
        self, key: Key, identity: int, time: int, value: Any = None, source: str = "", now: int | None = None
    ) -> list[Late]:
        """Adds one event; see `add_many`, which is faster."""
        return self.add_many([(key, identity, time, value)], source, now)

    def add_many(
        self, events: Iterable[tuple[Key, int, int, Any]], source: str = "", now: int | None = None
    ) -> list[Late]:
        """Adds events of one source.

        Should the reducer refuse a value, the events before it have been added: add the batch again without it.

        Args:
            events: key, identity, time (microseconds since the epoch) and value of each.
            source: where they come from, such as a shard.
            now: the wall clock, in microseconds since any fixed moment.

        Returns:
            The late ones, each with the window that it missed.

        Raises:
            ValueError: there is an idle timeout and no `now`.
        """
        self.expect(source, now)
        remaining = iter(events)
        if (first := next(remaining, None)) is None:  # No sign of life.
            self._advance()
            return []
        mine = self._sources[source]
        mine.seen = self._now
        counting = [one.newest for one in self._sources.values() if one is not mine and not self._is_idle(one)]
        clock = Clock(self._watermark, min(counting, default=FOREVER), self._lateness)
        # A source behind the watermark doesn't move it until it has passed it, so where it is exactly doesn't matter.
        newest = max(mine.newest, self._watermark)
        mine.newest, late = self._open.add_many(chain([first], remaining), newest, clock)
        self._advance()
        return late

    def closed(self) -> list[Result]:
        """What the windows found that were closed since the last call, by end, start and key; each is given once."""
        self._open.close(self._watermark - self._lateness)
        result = self._reducer.result
        return [Result(window, key, result(state)) for window, key, state in self._open.take()]

    def advance(self, now: int) -> None:
        """Lets the wall clock go on, so that silent sources become idle."""
        self._tick(now)
        self._advance()

    def expect(self, source: str, now: int | None = None) -> None:
        """Lets a source count from now on. One that is known stays as it is."""
        self._tick(now)
        self._sources.setdefault(source, _Source(-FOREVER, self._now))

    def end(self, source: str | None = None) -> None:
        """Says that nothing more comes from a source, or, without one, that the stream is over: all windows close.

        When a shard splits, expect its children before it ends: else the watermark runs ahead of them.

        Raises:
            ValueError: there is no such source.
        """
        if source is None:
            self._sources.clear()
            self._watermark = FOREVER
        elif source not in self._sources:
            raise ValueError(f"source {source!r} cannot end: there are {', '.join(map(repr, self._sources)) or 'none'}")
        else:
            ended = self._sources.pop(source)
            self._watermark = max(self._watermark, self._reached() if self._sources else ended.newest)

    def snapshot(self) -> bytes:
        """What has been added and not yet taken; equal content gives equal bytes."""
        self._open.close(self._watermark - self._lateness)
        sources = {name: [one.newest, one.seen] for name, one in self._sources.items()}
        time = canonical([self._watermark, self._now, sources])
        return pack([_FORMAT, self._described.encode(), time, self._open.dump()])

    def restore(self, snapshot: bytes) -> None:
        """Replaces everything by a snapshot of windows with the same assigner, reducer and lateness.

        Raises:
            ValueError: it is no snapshot, was cut off, or is of other windows.
        """
        format_, *parts = list(unpack(snapshot)) or [b""]
        if format_ != _FORMAT or len(parts) != 3:
            raise ValueError(f"the snapshot begins with {snapshot[:24]!r}: it is none of {_FORMAT.decode()!r}")
        if parts[0].decode() != self._described:
            raise ValueError(f"the snapshot is of windows ({parts[0].decode()}), these are ({self._described})")
        self._open.load(parts[2])
        self._watermark, self._now, sources = json.loads(parts[1])
        self._sources = {name: _Source(*source) for name, source in sources.items()}

    def _tick(self, now: int | None) -> None:
        if now is not None:
            self._now = now if self._now is None else max(self._now, now)
            for one in self._sources.values():
                if one.seen is None:
                    one.seen = self._now
        elif self._idle_timeout is not None:
            raise ValueError("now is missing: with an idle_timeout, give the wall clock in microseconds")

    def _is_idle(self, source: _Source) -> bool:
        if self._idle_timeout is None or self._now is None or source.seen is None:
            return False
        return self._now - source.seen >= self._idle_timeout

    def _reached(self) -> int:
        counting = [one.newest for one in self._sources.values() if not self._is_idle(one)]
        if counting:
            return min(counting)
        return max((one.newest for one in self._sources.values()), default=-FOREVER)

    def _advance(self) -> None:
        self._watermark = max(self._watermark, self._reached())


def _open(assigner: Assigner, reducer: Reducer[Any, Any]) -> Panes[Any] | Spans[Any]:
    return Spans(assigner, reducer) if isinstance(assigner, Session) else Panes(assigner, reducer)
