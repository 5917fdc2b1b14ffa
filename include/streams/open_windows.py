"""The states of windows that are open, and of those that were closed and not yet taken: what `Windows` is made of.

A window is closed when its end <= horizon; the horizon is watermark - lateness. Both classes here answer an event
exactly as if every window were taken the moment it closes, however rarely that is really done.
"""

import heapq
import json
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from include.streams.assigners import Event, Key, Session, Sliding, Window
from include.streams.encoding import canonical, pack, unpack
from include.streams.reducers import Reducer

S = TypeVar("S")

FOREVER = 1 << 62
"""A time after all others, and its negative a time before them."""

Adding = Iterable[tuple[Key, int, int, Any]]
"""Key, identity, time and value of events."""
Taken = tuple[Window, Key, Any]
"""A closed window, a key, and the state of the key in the window."""


class Late(NamedTuple):
    """An event that came after a window of it had been closed. Of sliding windows, it may have missed several.

    Attributes:
        window: which it missed.
        event: the event.
    """

    window: Window
    event: Event


class Clock(NamedTuple):
    """What decides, while events of one source are added, how far time has come.

    Attributes:
        reached: the watermark before; it never falls.
        others: the least newest time of the other sources that count, `FOREVER` if there is none.
        lateness: how long after its end a window stays open.
    """

    reached: int
    others: int
    lateness: int

    def horizon(self, newest: int) -> int:
        """Up to which end windows are closed, when the source's newest event has this time."""
        return max(self.reached, min(newest, self.others)) - self.lateness


class Panes(Generic[S]):
    """Open tumbling and sliding windows.

    Sliding windows overlap, but an event is reduced once, into its pane; a window is the merger of its panes.
    """

    def __init__(self, assigner: Sliding, reducer: Reducer[S, Any]) -> None:
        self._assigner = assigner
        self._reducer = reducer
        self._panes: dict[int, dict[Key, S]] = {}
        self._closed: list[Taken] = []
        self._horizon = -FOREVER

    def add_many(self, events: Adding, newest: int, clock: Clock) -> tuple[int, list[Late]]:
        """Adds events of one source.

        Args:
            events: key, identity, time and value of each.
            newest: the greatest time of the source before, at least `clock.reached`.
            clock: the other sources.

        Returns:
            The greatest time of the source now, and the late events.
        """
        panes, width, lateness = self._panes, self._assigner.pane, clock.lateness
        add, empty = self._reducer.add, self._reducer.empty
        late: list[Late] = []
        # This loop is the speed of the engine. The pane of the event before is kept at hand; `closing` is the time
        # at which its first window could be closed, if this source alone decided.
        start = end = closing = 0
        pane: dict[Key, S] = {}
        for key, identity, time, value in events:
            if not start <= time < end:
                start = time - time % width
                end = start + width
                closing = end + lateness
                pane = panes.get(start) or panes.setdefault(start, {})
            if time > newest:
                newest = time
            elif closing <= newest:
                missed = self._missed(Event(key, identity, time, value), clock.horizon(newest))
                late += missed
                if missed and missed[-1].window.start == self._assigner.last(time):
                    continue
            state = pane.get(key)
            pane[key] = add(empty() if state is None else state, identity, time, value)
        return newest, late

    def _missed(self, event: Event, horizon: int) -> list[Late]:
        missed = [Late(window, event) for window in self._assigner.assign(event.time) if window.end <= horizon]
        if missed:
            self.close(horizon)  # The pane is about to change under windows that must not see it.
        return missed

    def close(self, horizon: int) -> None:
        """Closes the windows that end at the horizon or before."""
        before, self._horizon = self._horizon, max(self._horizon, horizon)
        assigner, panes = self._assigner, self._panes
        if assigner.last(self._horizon - assigner.size) == assigner.last(before - assigner.size):
            return  # No window ends in between.
        starts: set[int] = set()
        for start in panes:
            first = max(assigner.first(start), assigner.first(before))
            last = min(assigner.last(start), assigner.last(horizon - assigner.size))
            starts.update(range(first, last + 1, assigner.slide))
        for start in sorted(starts):
            window = Window(start, start + assigner.size)
            states = self._states(window)
            self._closed += [(window, key, states[key]) for key in sorted(states)]  # type: ignore[type-var]
        for start in [start for start in panes if assigner.last(start) + assigner.size <= horizon]:
            del panes[start]

    def _states(self, window: Window) -> dict[Key, S]:
        if self._assigner.pane == self._assigner.size:
            return self._panes[window.start]
        merged: dict[Key, S] = {}
        for start in range(window.start, window.end, self._assigner.pane):
            for key, state in self._panes.get(start, {}).items():
                known = merged.get(key)
                merged[key] = self._reducer.merge(self._reducer.empty() if known is None else known, state)
        return merged

    def take(self) -> list[Taken]:
        """Hands over what was closed, by end, start and key, and forgets it."""
        taken, self._closed = self._closed, []
        return taken

    def dump(self) -> bytes:
        """Everything, as bytes that are the same for equal content."""
        open_states = [
            (start, key, states[key])
            for start, states in sorted(self._panes.items())
            for key in sorted(states)  # type: ignore[type-var]
        ]
        closed = [(*window, key, state) for window, key, state in self._closed]
        return pack([canonical(self._horizon), _dumped(closed, self._reducer), _dumped(open_states, self._reducer)])

    def load(self, dumped: bytes) -> None:
        """Replaces everything by what was dumped."""
        horizon, closed, open_states = unpack(dumped)
        self._horizon = json.loads(horizon)
        self._closed = [(Window(*place), key, state) for place, key, state in _loaded(closed, self._reducer)]
        self._panes.clear()
        for (start,), key, state in _loaded(open_states, self._reducer):
            self._panes.setdefault(start, {})[key] = state


class _Span(Generic[S]):
    """An open session."""

    __slots__ = ("end", "start", "state")

    def __init__(self, start: int, end: int, state: S) -> None:
        self.start, self.end, self.state = start, end, state


class Spans(Generic[S]):
    """Open session windows."""

    def __init__(self, assigner: Session, reducer: Reducer[S, Any]) -> None:
        self._gap = assigner.gap
        self._reducer = reducer
        self._spans: dict[Key, list[_Span[S]]] = {}
        # When to look at a key next: an entry of the heap counts if `_due` says the same.
        self._due: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []
        self._closed: list[Taken] = []

    def add_many(self, events: Adding, newest: int, clock: Clock) -> tuple[int, list[Late]]:
        """As of `Panes`."""
        add, empty, gap = self._reducer.add, self._reducer.empty, self._gap
        horizon = clock.horizon(newest)
        late: list[Late] = []
        for key, identity, time, value in events:
            if time > newest:
                newest = time
                horizon = clock.horizon(newest)
            end = time + gap
            spans = self._spans.get(key, ())
            near = [span for span in spans if span.start < end and time < span.end and span.end > horizon]
            if near:
                span = near[0] if len(near) == 1 else self._joined(key, near)
                if time < span.start:
                    span.start = time
                if end > span.end:
                    span.end = end
                span.state = add(span.state, identity, time, value)
            elif end <= horizon:
                late.append(Late(Window(time, end), Event(key, identity, time, value)))
            else:
                self._spans.setdefault(key, []).append(_Span(time, end, add(empty(), identity, time, value)))
                self._watch(key, end)
        return newest, late

    def _joined(self, key: Key, near: list[_Span[S]]) -> _Span[S]:
        """Two sessions between which an event has closed the gap, as one."""
        first, *rest = near
        for span in rest:
            first.state = self._reducer.merge(first.state, span.state)
            first.start, first.end = min(first.start, span.start), max(first.end, span.end)
        self._spans[key] = [span for span in self._spans[key] if span not in rest]
        return first

    def _watch(self, key: Key, end: int) -> None:
        if end < self._due.get(key, FOREVER):
            self._due[key] = end
            heapq.heappush(self._heap, (end, key))

    def close(self, horizon: int) -> None:
        """Closes the sessions that end at the horizon or before."""
        closed: list[Taken] = []
        while self._heap and self._heap[0][0] <= horizon:
            end, key = heapq.heappop(self._heap)
            if self._due.get(key) != end:
                continue
            del self._due[key]
            spans = self._spans.pop(key)
            closed += [(Window(span.start, span.end), key, span.state) for span in spans if span.end <= horizon]
            if still_open := [span for span in spans if span.end > horizon]:
                self._spans[key] = still_open
                self._watch(key, min(span.end for span in still_open))
        self._closed += sorted(closed, key=lambda taken: (taken[0].end, taken[0].start, taken[1]))

    def take(self) -> list[Taken]:
        """As of `Panes`."""
        taken, self._closed = self._closed, []
        return taken

    def dump(self) -> bytes:
        """As of `Panes`."""
        spans = [
            (span.start, span.end, key, span.state)
            for key in sorted(self._spans)  # type: ignore[type-var]
            for span in sorted(self._spans[key], key=lambda span: span.start)
        ]
        closed = [(*window, key, state) for window, key, state in self._closed]
        return pack([_dumped(closed, self._reducer), _dumped(spans, self._reducer)])

    def load(self, dumped: bytes) -> None:
        """As of `Panes`."""
        closed, spans = unpack(dumped)
        self._closed = [(Window(*place), key, state) for place, key, state in _loaded(closed, self._reducer)]
        self._spans, self._due, self._heap = {}, {}, []
        for (start, end), key, state in _loaded(spans, self._reducer):
            self._spans.setdefault(key, []).append(_Span(start, end, state))
            self._watch(key, end)


def _dumped(placed: list[tuple[Any, ...]], reducer: Reducer[Any, Any]) -> bytes:
    """Entries of a place (ints), a key and a state."""
    return pack(part for *place, state in placed for part in (canonical(place), reducer.dump(state)))


def _loaded(packed: bytes, reducer: Reducer[Any, Any]) -> Iterable[tuple[list[int], Key, Any]]:
    parts = unpack(packed)
    for place, state in zip(parts, parts, strict=True):
        *bounds, key = json.loads(place)
        yield bounds, _key(key), reducer.load(state)


def _key(decoded: Any) -> Key:
    return tuple(map(_key, decoded)) if isinstance(decoded, list) else decoded
