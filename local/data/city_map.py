"""The map of the generated city: its coastline and neighbourhoods, points in them, and distances.

`city.geojson` was drawn for this; no such city exists. Coordinates are longitude and latitude in degrees, WGS 84.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAP = Path(__file__).parent / "city.geojson"
METRES_PER_DEGREE = 111_195.08
"""Of latitude, on a sphere of the Earth's mean radius."""


@dataclass(frozen=True)
class Neighbourhood:
    """A neighbourhood and its share of what people do, relative to the others.

    Attributes:
        name: Its name.
        outline: (n × 2) longitudes and latitudes, the first one repeated at the end.
        homes: Share of the people who live here.
        workplaces: Share of the people who work here.
        shops: Share of the establishments.
    """

    name: str
    outline: np.ndarray
    homes: float
    workplaces: float
    shops: float

    def points(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """So many random points inside, as (count × 2) latitudes and longitudes."""
        low, high = self.outline.min(axis=0), self.outline.max(axis=0)
        found = np.empty((0, 2))
        while len(found) < count:
            tried = rng.uniform(low, high, (2 * count + 16, 2))
            found = np.concatenate([found, tried[self._inside(tried)]])
        return found[:count, ::-1]

    def _inside(self, points: np.ndarray) -> np.ndarray:
        """Whether points are inside: a ray to the east crosses the outline an odd number of times."""
        (x0, y0), (x1, y1) = self.outline[:-1].T, self.outline[1:].T
        x, y = points[:, :1], points[:, 1:]
        spans = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crosses = spans & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        return crosses.sum(axis=1) % 2 == 1


def neighbourhoods() -> list[Neighbourhood]:
    """The neighbourhoods of the map."""
    features = json.loads(MAP.read_text(encoding="utf-8"))["features"]
    return [
        Neighbourhood(
            feature["properties"]["name"],
            np.array(feature["geometry"]["coordinates"][0]),
            *(feature["properties"][share] for share in ("homes", "workplaces", "shops")),
        )
        for feature in features
        if feature["properties"]["kind"] == "neighbourhood"
    ]


def scattered(rng: np.random.Generator, places: list[Neighbourhood], share: str, count: int) -> np.ndarray:
    """Points all over the city by a share of its neighbourhoods, as (count × 2) latitudes and longitudes."""
    weights = np.array([getattr(place, share) for place in places])
    chosen = rng.choice(len(places), count, p=weights / weights.sum())
    points = np.empty((count, 2))
    for number, place in enumerate(places):
        here = chosen == number
        points[here] = place.points(rng, int(here.sum()))
    return points.round(6)


def metres(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distances of latitudes and longitudes in the last axis, as on a plane: good to a metre within a city."""
    north = end[..., 0] - start[..., 0]
    east = (end[..., 1] - start[..., 1]) * np.cos(np.radians(start[..., 0]))
    return METRES_PER_DEGREE * np.hypot(north, east)
