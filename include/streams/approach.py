"""Which places somebody approaches, from where they were last. Pure geometry; ADR 20 says why it is defined so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from include.streams.assigners import MINUTE, SECOND
from include.streams.grid import Grid
from include.streams.sphere import Vector, distance, dot, metres_of, minus, turn


class Located(Protocol):
    """What is somewhere, and has an order among its like."""

    @property
    def at(self) -> Vector:
        """Where."""

    def __lt__(self, other: Any, /) -> bool: ...


P = TypeVar("P", bound=Located)


@dataclass(frozen=True)
class ApproachRule:
    """When a place is being approached.

    Attributes:
        radius: within so many metres of the last fix, that exactly included.
        fixes: at each of so many fixes, the distance is less than at the one before.
        closing: over these fixes it has become less by so many metres at least: more than a receiver errs.
        angle: the way from the first of these fixes to the last, and the way from there to the place, differ by so many
            degrees at most.
        every: of fixes that are less than so many microseconds apart, only the first is part of a walk: from one second
            to the next, a receiver errs by more than anybody walks.
        gap: fixes that are further apart than so many microseconds are of two walks.

    Raises:
        ValueError: one of them is not sound; the message names it.
    """

    radius: float = 300.0
    fixes: int = 3
    closing: float = 15.0
    angle: float = 45.0
    every: int = 10 * SECOND
    gap: int = 2 * MINUTE

    def __post_init__(self) -> None:
        for name, (least, most) in {"radius": (1, 50_000), "closing": (0, 50_000), "angle": (0, 180)}.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give a number from {least:,} to {most:,}")
        for name, least in (("fixes", 2), ("every", 0), ("gap", 1)):
            value = getattr(self, name)
            if value.__class__ is not int or value < least:
                raise ValueError(f"{name} is {value!r}: give an int of {least} or more")


def approached(rule: ApproachRule, track: Sequence[Vector], places: Grid[P]) -> Iterator[tuple[float, P]]:
    """The places that somebody approaches, and how far they are, in metres.

    Args:
        rule: what approaching is.
        track: the last fixes of one walk, oldest first; with fewer than the rule's, nothing is approached.
        places: in a grid of the rule's radius.

    Yields:
        The nearest first; equally near ones in their own order.
    """
    if len(track) < rule.fixes:
        return
    track = track[-rule.fixes :]
    first, here = track[0], track[-1]
    *earlier, last = (minus(b, a) for a, b in pairwise(track))
    for squared, place in places.near(here, last):
        # Who is in the door has arrived: there is no direction to go in.
        if squared and dot(place.at, last) > 0 and all(dot(place.at, step) > 0 for step in earlier):
            metres = metres_of(squared)
            closing = distance(first, place.at) - metres
            if closing >= rule.closing and turn(first, here, place.at) <= rule.angle:
                yield metres, place
