"""Samples of a value that comes and goes, summed up by minute."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MINUTES = 24 * 60


class Sample(NamedTuple):
    """What was observed in some time.

    Attributes:
        time: When, in seconds since the epoch.
        observations: How many observations.
        total: Their sum.
        minimum: The least.
        maximum: The greatest.
    """

    time: float
    observations: int
    total: float
    minimum: float
    maximum: float

    def merged(self, other: "Sample") -> "Sample":
        """Both together, at the time of this one."""
        return Sample(
            self.time,
            self.observations + other.observations,
            self.total + other.total,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


def sample(time: float, value: float) -> Sample:
    """A single observation."""
    return Sample(time, 1, value, value, value)


class Gauge:
    """Keeps the last day, in memory.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minutes: OrderedDict[int, Sample] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Observe a value now."""
        minute = int(self._clock() // 60)
        observed = sample(minute * 60.0, value)
        with self._lock:
            known = self._minutes.get(minute)
            self._minutes[minute] = known.merged(observed) if known else observed
            if len(self._minutes) > _MINUTES:
                self._minutes.popitem(last=False)

    def samples(self, start: float, end: float) -> Iterator[Sample]:
        """The minutes that begin in a time, in seconds since the epoch, `end` not included."""
        with self._lock:
            minutes = list(self._minutes.values())
        return (minute for minute in minutes if start <= minute.time < end)
