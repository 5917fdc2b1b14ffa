"""What is wrong with real streams, put into good ones by shares, and counted: duplicates, disorder, lateness, poison.

All of it is a function of the seed and a record's index: the same options give the same stream.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import NamedTuple

from local.producer.poison import Poisoner

SECOND = 1_000_000


class InjectionError(ValueError):
    """What is asked for cannot be injected; the message names the option."""


class Record(NamedTuple):
    """A record as its source has it.

    Attributes:
        number: Its index, from 0.
        time: When it is due by the source's schedule, in µs since the epoch; never falls.
        key: Its partition key.
        data: Its content.
    """

    number: int
    time: int
    key: str
    data: bytes


class Place(NamedTuple):
    """Where something stands in the order of sending."""

    due: int
    number: int
    copy: int


class Emission(NamedTuple):
    """Something to send.

    Attributes:
        place: Its place in the order of sending.
        kind: ``record``, ``duplicate``, or a kind of poison.
        late: Whether it is held back past the allowed lateness.
        key: Its partition key.
        data: Its content.
        floor: The lowest index of which something is still to be sent after this.
    """

    place: Place
    kind: str
    late: bool
    key: str
    data: bytes
    floor: int


@dataclass(frozen=True)
class Injection:
    """How much of what.

    Attributes:
        duplicates: Share of records that are sent twice.
        disorder: Seconds within which records are shuffled.
        lateness: Share of records that are held back.
        late_by: Seconds that they are held back.
        poison: Share of records after each of which an unusable one is sent in addition.
    """

    duplicates: float = 0.0
    disorder: float = 0.0
    lateness: float = 0.0
    late_by: float = 300.0
    poison: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name.replace("_", "-"), getattr(self, field.name)
            share = field.name in ("duplicates", "lateness", "poison")
            if value < 0 or (share and value > 1):
                raise InjectionError(f"--{name} is {value}: it must be {'from 0 to 1' if share else 'at least 0'}")

    def check(self, span: float) -> None:
        """Refuses lateness in a run that is too short for it.

        Args:
            span: Seconds from the first to the last record of the run.

        Raises:
            InjectionError: it is.
        """
        if self.lateness and span <= self.late_by:
            raise InjectionError(
                f"--lateness: the run covers {span:.0f} s, so nothing can come {self.late_by:.0f} s late: "
                "raise --count, or lower --late-by or --rate"
            )


def emissions(
    records: Iterable[Record], injection: Injection, seed: int, poisoner: Poisoner, until: int | None = None
) -> Iterator[Emission]:
    """The order of sending.

    Args:
        records: In the order of their times.
        injection: What to inject.
        seed: Of the choices.
        poisoner: Spoils a record's content.
        until: The schedule's end in µs: what would come after it isn't held back.
    """
    heap: list[Emission] = []
    pending: Counter[int] = Counter()
    floor = upcoming = 0

    def release(before: Place | None) -> Iterator[Emission]:
        nonlocal floor
        while heap and (before is None or heap[0].place < before):
            emission = heapq.heappop(heap)
            pending[emission.place.number] -= 1
            while floor < upcoming and not pending[floor]:
                del pending[floor]
                floor += 1
            yield emission._replace(floor=floor)

    for record in records:
        floor = floor if upcoming else record.number
        yield from release(Place(record.time, record.number, 0))
        upcoming = record.number + 1
        for emission in _emitted(record, injection, seed, poisoner, until):
            pending[record.number] += 1
            heapq.heappush(heap, emission)
    yield from release(None)


def _emitted(
    record: Record, injection: Injection, seed: int, poisoner: Poisoner, until: int | None
) -> Iterator[Emission]:
    chances = _chances(seed, record.number)
    delay = int(injection.disorder * SECOND * chances[0])
    held_back = int(injection.late_by * SECOND)
    late = chances[1] < injection.lateness and (until is None or record.time + held_back < until)
    due = record.time + delay + (held_back if late else 0)
    yield Emission(Place(due, record.number, 0), "record", late, record.key, record.data, 0)
    if chances[2] < injection.duplicates:
        again = due + int(injection.disorder * SECOND * chances[3])
        yield Emission(Place(again, record.number, 1), "duplicate", late, record.key, record.data, 0)
    if chances[4] < injection.poison:
        kind, data = poisoner(record.number, record.data)
        yield Emission(Place(due, record.number, 2), kind, False, record.key, data, 0)


def _chances(seed: int, index: int) -> list[float]:
    digest = blake2b(f"{seed} {index}".encode(), digest_size=40).digest()
    return [int.from_bytes(digest[place : place + 8]) / 2**64 for place in range(0, 40, 8)]


class Tally:
    """Counts what was sent."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.late = self.disordered = self.bytes = 0
        self._latest = -1

    def add(self, emission: Emission) -> None:
        """One that was acknowledged; in the order of sending."""
        self.kinds[emission.kind] += 1
        self.bytes += len(emission.data)
        if emission.kind == "record":
            self.late += emission.late
            self.disordered += emission.place.number < self._latest
            self._latest = max(self._latest, emission.place.number)

    @property
    def sent(self) -> int:
        """All of it."""
        return self.kinds.total()

    def report(self) -> dict[str, int | dict[str, int]]:
        """What a test needs to know to say what must come out."""
        poison = {kind: number for kind, number in sorted(self.kinds.items()) if kind not in ("record", "duplicate")}
        return {
            "sent": self.sent,
            "records": self.kinds["record"],
            "duplicates": self.kinds["duplicate"],
            "late": self.late,
            "disordered": self.disordered,
            "poison": poison,
            "bytes": self.bytes,
        }
