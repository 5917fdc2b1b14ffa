"""A steady pace: a token bucket on an absolute schedule."""

import math
import time
from collections.abc import Callable

TICK_SECONDS = 0.1
"""Records that are due within this long go together."""


class Pacer:
    """Says how many records may be sent now.

    Record n is due n / rate seconds after the start, so what waiting and sending take doesn't add up to a lag. What a
    stall held back is made up for as fast as it can be sent, though not more than `catch_up` seconds of it.

    Args:
        rate: Records a second; 0 for as fast as it goes.
        clock: Seconds that never go back.
        sleep: Waits for some seconds, or less.
        catch_up: Seconds of a stall that are made up for.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        catch_up: float = 5.0,
    ) -> None:
        self.rate = rate
        self._clock, self._sleep, self._catch_up = clock, sleep, catch_up
        self._start: float | None = None
        self._granted = 0
        self.given_up = 0.0
        """Seconds that the schedule was moved by: stalls that were too long to make up for."""

    def allow(self, wanted: int) -> int:
        """Waits until records are due.

        Args:
            wanted: At most so many.

        Returns:
            How many may be sent at once; 0 when the wait was cut short.
        """
        if self.rate <= 0:
            return wanted
        if self._start is None:
            self._start = self._clock()
        together = min(max(1, math.floor(self.rate * TICK_SECONDS)), wanted)
        due = self._due()
        if due < together:
            self._sleep(self._start + (self._granted + together - 1) / self.rate - self._clock())
            due = self._due()
        allowed = min(due, wanted)
        self._granted += allowed
        return allowed

    def _due(self) -> int:
        assert self._start is not None  # noqa: S101 - set by allow
        behind = self._clock() - self._start - self._granted / self.rate
        if behind > self._catch_up:
            self._start += behind - self._catch_up
            self.given_up += behind - self._catch_up
            behind = self._catch_up
        # A hair's breadth on top: the sum of the schedule's floats must not miss the very moment it was waited for.
        return max(math.floor(behind * self.rate + 1 + 1e-6), 0)
