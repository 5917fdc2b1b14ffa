"""People who walk a small city, fix by fix, and the establishments that they walk to.

They go straight from one establishment to another, stay for minutes, and go on; their phones err by some metres. A fix
is a function of the seed and its index, so a stream can go on where it stopped.
"""

import gzip
import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

CENTRE = (-3.7305, -38.5218)
"""Of the city, latitude and longitude: a centre at the sea."""
SIZE = 2_400.0
"""Metres from one edge of it to the other."""
ESTABLISHMENTS = 90
CATEGORIES = ("restaurants", "pharmacies", "games", "hotels", "bookshops", "cafés")
WALKERS = 150
"""This many people walk at a time; each sends a fix in turn."""

_ROUNDS = 240
_BLOCK = WALKERS * _ROUNDS
_BLOCKS_APART = 40  # As many blocks are others' before somebody walks again.
_METRES_OF_A_DEGREE = 111_195.0
_SPEED = (1.1, 1.7)  # Metres a second.
_STAY_SECONDS = (60, 400)
_ERROR_METRES = 4.0
_NEAR = 15.0
_CONSENT = 0.95
_WORDS = ("Sol", "Mar", "Lua", "Praia", "Jardim", "Central", "Iracema", "Dragão", "Norte", "Sul")
_ADVERTISING = 0.9


def establishments() -> list[dict[str, Any]]:
    """The establishments with their ads, of which each has the lower bound of its click-through rate."""
    rng = random.Random("establishments")
    found = []
    for number in range(ESTABLISHMENTS):
        latitude, longitude = _place(rng.uniform(-SIZE / 2, SIZE / 2), rng.uniform(-SIZE / 2, SIZE / 2))
        category = CATEGORIES[number % len(CATEGORIES)]
        campaigns = rng.randint(1, 3) if rng.random() < _ADVERTISING else 0
        ads = [
            {
                "ad_id": f"ad-{number:03}-{ad}",
                "campaign_id": f"campaign-{number:03}-{ad // 2}",
                "ctr_low": None if rng.random() < 0.1 else round(rng.betavariate(2, 60), 4),
            }
            for ad in range(2 * campaigns)
        ]
        found.append(
            {
                "establishment_id": f"establishment-{number:03}",
                "name": f"{category.capitalize()} {rng.choice(_WORDS)} {number}",
                "category": category,
                "latitude": latitude,
                "longitude": longitude,
                "ads": ads,
            }
        )
    return found


def reference() -> bytes:
    """The establishments as the function of the live offers reads them: gzipped, a JSON object a line."""
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in establishments())
    return gzip.compress(lines.encode(), mtime=0)


def fixes(seed: int, first: int, start: datetime, interval: timedelta) -> Iterator[dict[str, Any]]:
    """The fixes from one on, without end, in the order of their times.

    Args:
        seed: The same seed, start and interval give the same fixes.
        first: Index of the first, from 0.
        start: The time of fix 0, in UTC.
        interval: Between two fixes of all people together; 20 ms are 3 s between two of the same.
    """
    block, offset = divmod(first, _BLOCK)
    index = first
    while True:
        for fix in islice(_block(seed, block, interval * WALKERS), offset, None):
            moment = (start + index * interval).astimezone(UTC).replace(tzinfo=None)
            yield fix | {"moment": moment.isoformat(timespec="microseconds")}
            index += 1
        block, offset = block + 1, 0


def _block(seed: int, block: int, pause: timedelta) -> Iterator[dict[str, Any]]:
    """So many fixes of so many people, in turn; the times are missing."""
    goals = [_metres(one["latitude"], one["longitude"]) for one in establishments()]
    people = []
    for number in range(WALKERS):
        rng = random.Random(f"walkers {seed} {block} {number}")
        consent = rng.random() < _CONSENT
        user = f"user-{block % _BLOCKS_APART * WALKERS + number:05}"
        people.append((user, consent, _walk(rng, goals, pause.total_seconds())))
    for _ in range(_ROUNDS):
        for user, consent, walk in people:
            latitude, longitude = _place(*next(walk))
            yield {"user_id": user, "latitude": latitude, "longitude": longitude, "consent": consent}


def _walk(rng: random.Random, goals: list[tuple[float, float]], seconds: float) -> Iterator[tuple[float, float]]:
    """Where somebody is, in metres north and east of the centre, every so many seconds; without end."""
    speed = rng.uniform(*_SPEED)
    north, east = rng.uniform(-SIZE / 2, SIZE / 2), rng.uniform(-SIZE / 2, SIZE / 2)
    while True:
        goal = rng.choice(goals)
        staying = rng.uniform(*_STAY_SECONDS)
        while staying > 0:
            yield north + rng.gauss(0, _ERROR_METRES), east + rng.gauss(0, _ERROR_METRES)
            far = math.dist((north, east), goal)
            if far < _NEAR:
                staying -= seconds
                continue
            step = min(speed * seconds, far)
            north, east = north + (goal[0] - north) * step / far, east + (goal[1] - east) * step / far


def _place(north: float, east: float) -> tuple[float, float]:
    """Latitude and longitude, to a centimetre, of a place in metres from the centre."""
    across = _METRES_OF_A_DEGREE * math.cos(math.radians(CENTRE[0]))
    return round(CENTRE[0] + north / _METRES_OF_A_DEGREE, 7), round(CENTRE[1] + east / across, 7)


def _metres(latitude: float, longitude: float) -> tuple[float, float]:
    across = _METRES_OF_A_DEGREE * math.cos(math.radians(CENTRE[0]))
    return (latitude - CENTRE[0]) * _METRES_OF_A_DEGREE, (longitude - CENTRE[1]) * across
