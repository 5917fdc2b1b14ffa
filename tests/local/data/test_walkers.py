import json
import math
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from include.streams import establishments
from include.streams.offers import parse_fix
from local.data import walkers
from local.producer import poison
from tests.geography import haversine

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
STEP = timedelta(milliseconds=20)


def take(number, first=0, seed=1):
    return list(islice(walkers.fixes(seed, first, START, STEP), number))


@pytest.mark.parametrize("first", [1, 149, 150, 35_900])
def test_a_fix_is_a_function_of_seed_and_index(first):
    some = take(300, first)
    assert some[200:] == take(100, first + 200)
    assert some != take(300, first, seed=2)


def test_people_walk_at_the_pace_of_people_and_reach_what_they_go_to():
    walks = {}
    for one in take(60 * walkers.WALKERS):
        fix = parse_fix(json.dumps(one))
        walks.setdefault((fix.user, fix.consent), []).append(fix.point)
    assert len(walks) == walkers.WALKERS
    assert 0.85 < sum(consent for _, consent in walks) / len(walks) < 1
    goals = [(one["latitude"], one["longitude"]) for one in walkers.establishments()]
    there = 0
    for points in walks.values():
        assert {b.time - a.time for a, b in pairwise(points)} == {walkers.WALKERS * 20_000}
        places = [(one.latitude, one.longitude) for one in points]
        # 10 fixes are 30 s; a phone errs by 4 m in each direction.
        assert max(haversine(a, b) for a, b in zip(places, places[10:], strict=False)) < 30 * 1.7 + 50
        assert max(haversine(one, walkers.CENTRE) for one in places) < walkers.SIZE / math.sqrt(2) + 50
        there += any(haversine(places[-1], goal) < 30 for goal in goals)
    assert there > 5


def test_the_reference_is_what_the_function_reads():
    found = establishments.parse(walkers.reference())
    assert 60 < len(found) < walkers.ESTABLISHMENTS
    assert walkers.reference() == walkers.reference()


@pytest.mark.parametrize("number", range(5))
def test_spoilt_positions_are_none(number):
    data = json.dumps(take(1)[0]).encode()
    parse_fix(data)
    with pytest.raises(ValueError, match=r".+"):
        parse_fix(poison.positions(number, data)[1])
