"""Live offers: how long a fix takes, by the number of establishments, beside a scan of all of them.

    python -m benchmarks.offers [--fixes 20000]

Establishments lie in towns of 5 km, a third of them within 500 m of a town's centre; walkers go about the towns, a fix
every 15 s. Each fix is measured on its own, processor time from its coordinates to the user's next state: look-up,
geometry, limits. The limits are such that every fix is looked up; a user who had an offer less than the pause ago is
not, usually. The scan does the same with all establishments in one list, and must make the same offers.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import time
from collections.abc import Iterator
from statistics import mean, quantiles

from include.streams.assigners import SECOND
from include.streams.establishments import Ad, Establishment
from include.streams.grid import Grid
from include.streams.offers import Advisor, OfferRule, Point, State
from include.streams.sphere import Vector, squared_chord, squared_chord_of, vector

SIZES = (1_000, 10_000, 100_000)
A_TOWN = 10_000
"""Establishments of a town: 100 000 are ten."""
WALKERS = 500
SCANNED_FIXES = 300
START = 1_772_359_200 * SECOND
METRES_OF_A_DEGREE = 111_195.0


class Scan:
    """What the grid replaces: every establishment is looked at."""

    def __init__(self, points: list[tuple[Vector, Establishment]], radius: float) -> None:
        self._points, self._limit = points, squared_chord_of(radius)

    def near(self, at: Vector, step: Vector) -> list[tuple[float, Establishment]]:
        """As `Grid.near`."""
        chords = ((squared_chord(at, place), what) for place, what in self._points)
        return sorted((squared, what) for squared, what in chords if squared <= self._limit)


def towns(establishments: int) -> list[tuple[float, float]]:
    """Their centres: at usual latitudes, at the antimeridian and far north."""
    fixed = [(-3.73, -38.52), (0.0, 179.999), (69.65, 18.96)]
    rng = random.Random(1)
    more = [(rng.uniform(-50, 60), rng.uniform(-180, 180)) for _ in range(establishments // A_TOWN)]
    return (fixed + more)[: max(1, establishments // A_TOWN)]


def around(centre: tuple[float, float], metres: float, rng: random.Random) -> tuple[float, float]:
    """A place in a square around another."""
    north, east = rng.uniform(-metres, metres), rng.uniform(-metres, metres)
    across = METRES_OF_A_DEGREE * math.cos(math.radians(centre[0]))
    return centre[0] + north / METRES_OF_A_DEGREE, (centre[1] + east / across + 180) % 360 - 180


def establishments(number: int) -> list[Establishment]:
    """So many, town by town."""
    rng, centres = random.Random(2), towns(number)
    found = []
    for index in range(number):
        metres = 500 if rng.random() < 1 / 3 else 2_500
        place = around(centres[index % len(centres)], metres, rng)
        found.append(Establishment(f"e{index:07}", "name", "games", *place, vector(*place), Ad("a", "c", 0.1)))
    return found


def walks(number: int, fixes: int) -> Iterator[tuple[str, Point]]:
    """So many fixes of walkers in turn: straight on, with a new course now and then."""
    rng, centres = random.Random(3), towns(number)
    people = [
        [*around(centres[index % len(centres)], 600, rng), rng.uniform(0, 2 * math.pi)] for index in range(WALKERS)
    ]
    for index in range(fixes):
        walker = people[index % WALKERS]
        if rng.random() < 0.05:
            walker[2] = rng.uniform(0, 2 * math.pi)
        walker[0] += 20 * math.cos(walker[2]) / METRES_OF_A_DEGREE
        across = METRES_OF_A_DEGREE * math.cos(math.radians(walker[0]))
        walker[1] = (walker[1] + 20 * math.sin(walker[2]) / across + 180) % 360 - 180
        moment = START + index // WALKERS * 15 * SECOND + index % WALKERS
        yield f"u{index % WALKERS}", Point(moment, index, walker[0], walker[1])


def measured(advisor: Advisor, fixes: list[tuple[str, Point]]) -> tuple[list[int], list[tuple[str, int, str]]]:
    """Processor time of each fix in nanoseconds, and the offers."""
    states: dict[str, State] = {}
    spent, offers = [], []
    for user, point in fixes:
        before = states.get(user, State())
        began = time.thread_time_ns()
        step = advisor.advance(user, before, (point,))
        spent.append(time.thread_time_ns() - began)
        states[user] = step.state
        offers += [(user, offer.time, offer.establishment.establishment_id) for offer in step.offers]
    return spent, offers


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offers")
    parser.add_argument("--fixes", type=int, default=20_000)
    count = parser.parse_args().fixes
    print("| establishments | near a fix | offers | mean µs | p50 | p99 | p99.9 | scan, mean µs |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    rule = OfferRule(cooldown=1, pause=1, daily=1_000_000_000)
    for size in SIZES:
        places, fixes = establishments(size), list(walks(size, count))
        advisor = Advisor(rule, places)
        scanning = Advisor(rule, ())
        points = [(one.at, one) for one in places]
        scanning._places = Scan(points, rule.approach.radius)  # type: ignore[assignment]
        gc.collect()
        few = fixes[: SCANNED_FIXES + 3 * WALKERS]
        sample = [fix for fix in few if int(fix[0][1:]) < max(1, SCANNED_FIXES * 1_000 // size)]
        slow, wanted = measured(scanning, sample)
        assert measured(advisor, sample)[1] == wanted
        spent, offers = measured(advisor, fixes)
        grid = Grid(points, rule.approach.radius)
        near = mean(len(list(grid.near(vector(point.latitude, point.longitude)))) for _, point in fixes[:2_000])
        cuts = quantiles(spent, n=1000)
        print(
            f"| {size:,} | {near:,.0f} | {len(offers):,} | {mean(spent) / 1e3:,.0f} | {cuts[499] / 1e3:,.0f} |"
            f" {cuts[989] / 1e3:,.0f} | {cuts[998] / 1e3:,.0f} | {mean(slow) / 1e3:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
