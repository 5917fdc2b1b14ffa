"""Which windows an event belongs to.

Windows are half-open, [start, end): an event exactly on the edge is in the later one. Times and durations are int
microseconds, times since the epoch, where windows are aligned.
"""

from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

SECOND = 1_000_000
MINUTE = 60 * SECOND

Key = str | int | tuple[Any, ...]
"""Whose event it is: str, int, or a tuple of such. The keys of one stream must compare with each other."""


class Window(NamedTuple):
    """The half-open interval [start, end) of event time.

    Attributes:
        start: its first microsecond.
        end: the first microsecond after it.
    """

    start: int
    end: int


class Event(NamedTuple):
    """An event of a key. Plain tuples of these four will do wherever events are taken, and are faster to make.

    Attributes:
        key: whose event it is.
        identity: which event it is: an int in [0, 2**64), the same for each of its duplicates.
        time: when it happened, microseconds since the epoch.
        value: what the reducer reads; its kind is the reducer's business.
    """

    key: Key
    identity: int
    time: int
    value: Any = None


@dataclass(frozen=True)
class Sliding:
    """Windows of `size` that begin every `slide`: an event is in size / slide of them.

    Raises:
        ValueError: not 0 < slide <= size, both int.
    """

    size: int
    slide: int

    def __post_init__(self) -> None:
        _check_duration("size", self.size)
        _check_duration("slide", self.slide)
        if self.slide > self.size:
            raise ValueError(f"slide {self.slide} > size {self.size} leaves gaps: make it at most the size")

    @property
    def pane(self) -> int:
        """The greatest length of which both are multiples: all events of a pane are in the same windows."""
        return gcd(self.size, self.slide)

    def first(self, time: int) -> int:
        """The start of the earliest window that holds the time."""
        return (time - self.size) // self.slide * self.slide + self.slide

    def last(self, time: int) -> int:
        """The start of the latest window that holds the time."""
        return time // self.slide * self.slide

    def assign(self, time: int) -> list[Window]:
        """The windows that hold the time, earliest first."""
        return [Window(start, start + self.size) for start in range(self.first(time), self.last(time) + 1, self.slide)]


class Tumbling(Sliding):
    """Windows of `size`, one after the other: an event is in one of them."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def __repr__(self) -> str:
        return f"Tumbling(size={self.size})"


@dataclass(frozen=True)
class Session:
    """Windows from the first of a run of events to `gap` after its last; they merge when they overlap.

    An event exactly `gap` after the one before it begins a new session.

    Raises:
        ValueError: not gap > 0, int.
    """

    gap: int

    def __post_init__(self) -> None:
        _check_duration("gap", self.gap)

    def assign(self, time: int) -> list[Window]:
        """The window of the event alone, before it merges with others."""
        return [Window(time, time + self.gap)]


Assigner = Sliding | Session


def _check_duration(name: str, value: int) -> None:
    if value.__class__ is not int or value <= 0:
        raise ValueError(f"{name} is {value!r}: give a positive int of microseconds, such as 60 * SECOND")
