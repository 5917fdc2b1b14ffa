"""Which of many points are near a place, without looking at all of them.

The grid is of cubes, in the space that the earth is in, not of degrees: a cube is as wide everywhere, and has the same
neighbours at the poles, and where longitude jumps from 180 to -180.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import product
from math import floor
from operator import itemgetter
from typing import Generic, TypeVar

from include.streams.sphere import Vector, squared_chord_of

T = TypeVar("T")

_CUBES = 4  # To the radius.
_SLACK = 1e-9  # Of a cube's width: what rounding may take from a distance.


class Grid(Generic[T]):
    """Points that are looked up by place.

    Args:
        points: where they are, and what.
        radius: how far is near, in metres; from 1 to 1 000 000.

    Raises:
        ValueError: the radius is another.
    """

    def __init__(self, points: Iterable[tuple[Vector, T]], radius: float) -> None:
        if not 1 <= radius <= 1e6:
            raise ValueError(f"radius is {radius!r}: give metres, from 1 to 1 000 000")
        self._limit = squared_chord_of(radius)
        self._scale = _CUBES / (self._limit**0.5 * (1 + _SLACK))
        self._cubes: dict[tuple[int, int, int], list[tuple[float, float, float, T]]] = {}
        for at, what in points:
            self._cubes.setdefault(self._cube(at), []).append((*at, what))

    def near(self, at: Vector, step: Vector = (0.0, 0.0, 0.0)) -> Iterator[tuple[float, T]]:
        """The points within the radius of a place, itself included; looked up only as far as they are asked for.

        Args:
            at: the place.
            step: how one came to it, the difference of the vectors: points that one went away from are left out.

        Yields:
            The squares of their chords, and what they are: the nearest first, equally near ones in their own order.
        """
        i, j, k = self._cube(at)
        x, y, z = at
        u, v, w = step
        cubes, limit = self._cubes, self._limit
        waiting: list[tuple[float, T]] = []
        for reach, shell in enumerate(_SHELLS, start=1):
            for di, dj, dk in shell:
                if cube := cubes.get((i + di, j + dj, k + dk)):
                    # A point of the sphere is nearer to a than to b when its product with a - b is positive.
                    waiting += [
                        (squared, what)
                        for px, py, pz, what in cube
                        if px * u + py * v + pz * w >= 0
                        and (squared := (px - x) * (px - x) + (py - y) * (py - y) + (pz - z) * (pz - z)) <= limit
                    ]
            waiting.sort()
            # What is within so many widths of a cube has been seen; of what is further, something may be missing.
            seen = bisect_right(waiting, (reach / self._scale) ** 2, key=_squared) if reach < _CUBES else len(waiting)
            yield from waiting[:seen]
            del waiting[:seen]

    def _cube(self, at: Vector) -> tuple[int, int, int]:
        scale = self._scale
        return floor(at[0] * scale), floor(at[1] * scale), floor(at[2] * scale)


_squared = itemgetter(0)
_AROUND = list(product(range(-_CUBES, _CUBES + 1), repeat=3))
_SHELLS = [[one for one in _AROUND if max(1, *map(abs, one)) == reach] for reach in range(1, _CUBES + 1)]
"""The cubes around one's own: it and its neighbours, those around these, and so on."""
