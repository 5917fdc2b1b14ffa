"""How many orders per second: the moments at which a sliding rate exceeds a threshold.

    RateRule(threshold=10, window=SECOND).alarms([(time, invoice), …])

Times and durations are int microseconds, times since the epoch. The rate at t is the number of distinct ids in
(t - window, t]: an event exactly `window` before t is out. It can only rise at the time of an event, so these are the
moments that are looked at; all events of the same microsecond count together.

Alarms are a function of the *set* of events: order, duplicates and batches don't matter. For that, `SlidingRate` waits
until the caller's watermark has passed a moment before it decides about it.
"""

import json
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from include.streams.assigners import MINUTE, SECOND
from include.streams.encoding import canonical

UNITS = ("orders", "lines")

Id = str | int
"""What is counted once: an invoice, or the identity of a line. Those of one stream must compare with each other."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A moment at which the rate was too high; its events are those in (time - window, time].

    Attributes:
        time: the moment, that of its latest event, in microseconds since the epoch.
        count: distinct ids in the window.
        ids: these, in ascending order.
    """

    time: int
    count: int
    ids: tuple[Id, ...]


@dataclass(frozen=True)
class RateRule:
    """Alarm when there are more than `threshold` distinct orders, or lines, in a sliding window.

    Attributes:
        threshold: the greatest number without an alarm.
        window: microseconds.
        cooldown: after an alarm, no other for this many microseconds; the next may be exactly then. With 0, every event
            at which the rate is too high is an alarm.
        unit: "orders" or "lines".

    Raises:
        ValueError: one of them is not sound; the message names it.
    """

    threshold: int = 10
    window: int = SECOND
    cooldown: int = MINUTE
    unit: str = "orders"

    def __post_init__(self) -> None:
        for name, least in (("threshold", 0), ("window", 1), ("cooldown", 0)):
            value = getattr(self, name)
            if value.__class__ is not int or value < least:
                raise ValueError(f"{name} is {value!r}: give an int of {least} or more")
        if self.unit not in UNITS:
            raise ValueError(f"unit is {self.unit!r}: give {' or '.join(UNITS)}")

    def id(self, invoice: str, identity: int) -> Id:
        """What is counted once, of an order line with this invoice and this identity."""
        return invoice if self.unit == "orders" else identity

    def alarms(
        self, events: Iterable[tuple[int, Id]], after: int | None = None, raised: Collection[int] = ()
    ) -> list[Alarm]:
        """The alarms that a finite number of events raise.

        Args:
            events: time and id of each, in any order, with any duplicates.
            after: the time of the last alarm before these events, whose cooldown holds.
            raised: the times of alarms that stand, whatever these events say: there is no other at these moments, nor
                less than the cooldown before or after them.

        Returns:
            Alarms, earliest first.
        """
        return self._alarms(sorted(set(events)), after, None, raised)

    def _alarms(
        self, events: list[tuple[int, Id]], last: int | None, since: int | None, raised: Collection[int] = ()
    ) -> list[Alarm]:
        """Alarms of sorted events, at moments from `since` on; those before only fill the window."""
        near = max(self.cooldown, 1)
        alarms: list[Alarm] = []
        inside: deque[tuple[int, Id]] = deque()
        ids: Counter[Id] = Counter()
        for place, (time, id_) in enumerate(events):
            inside.append((time, id_))
            ids[id_] += 1
            while inside[0][0] <= time - self.window:
                _, gone = inside.popleft()
                ids[gone] -= 1
                if not ids[gone]:
                    del ids[gone]
            if place + 1 < len(events) and events[place + 1][0] == time:
                continue
            cool = last is None or time >= last + self.cooldown
            if len(ids) <= self.threshold or not cool or (since is not None and time < since):
                continue
            if all(abs(time - other) >= near for other in raised):
                alarms.append(Alarm(time, len(ids), tuple(sorted(ids))))  # type: ignore[type-var]
                last = time
        return alarms


DEFAULT = RateRule()
"""More than ten distinct orders in a second."""
TEN_IN_TEN_SECONDS = RateRule(window=10 * SECOND, cooldown=10 * SECOND)
"""More than ten distinct orders in ten seconds."""
PRESETS = {"default": DEFAULT, "10-in-10s": TEN_IN_TEN_SECONDS}


class SlidingRate:
    """A rate rule over an endless stream: holds the events of a window and of what is undecided.

        rate.add_many(events)                     # gives back those that came too late
        rate.alarms(watermark=newest - lateness)  # decides all moments before the watermark

    Args:
        rule: when to alarm.
    """

    def __init__(self, rule: RateRule) -> None:
        self._rule = rule
        self._events: set[tuple[int, Id]] = set()
        self._decided: int | None = None
        self._last: int | None = None

    def add_many(self, events: Iterable[tuple[int, Id]]) -> list[tuple[int, Id]]:
        """Adds events, time and id of each, and returns those whose moment was decided already, which change nothing.

        A duplicate of an event that is still held is not late.
        """
        late = []
        for event in events:
            if self._decided is None or event[0] >= self._decided:
                self._events.add(event)
            elif event not in self._events:
                late.append(event)
        return late

    def alarms(self, watermark: int) -> list[Alarm]:
        """Decides all moments before the watermark that are undecided.

        Args:
            watermark: microseconds since the epoch; no event of a lesser time is expected. One that falls is ignored.

        Returns:
            Alarms, earliest first; each is given once.
        """
        if self._decided is not None and watermark <= self._decided:
            return []
        rule = self._rule
        due = sorted(event for event in self._events if event[0] < watermark)
        alarms = rule._alarms(due, self._last, self._decided)
        if alarms:
            self._last = alarms[-1].time
        self._decided = watermark
        self._events = {event for event in self._events if event[0] > watermark - rule.window}
        return alarms

    def snapshot(self) -> bytes:
        """Everything, as bytes that are the same for equal content."""
        return canonical([repr(self._rule), self._decided, self._last, sorted(self._events)])

    def restore(self, snapshot: bytes) -> None:
        """Replaces everything by a snapshot of the same rule.

        Raises:
            ValueError: it is of another rule, or no snapshot.
        """
        rule, decided, last, events = json.loads(snapshot)
        if rule != repr(self._rule):
            raise ValueError(f"the snapshot is of {rule}, this is {self._rule!r}")
        self._decided, self._last, self._events = decided, last, {(time, id_) for time, id_ in events}
