import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from include.streams.approach import ApproachRule, approached
from include.streams.grid import Grid
from include.streams.sphere import Vector, distance, squared_chord_of, turn, vector
from tests.geography import bearing, haversine, moved

PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # Busy machines.

CENTRES = {
    "a city": (-3.73, -38.52),
    "the equator": (0.0, 10.0),
    "60 degrees north": (60.0, 25.0),
    "the antimeridian": (-17.0, 180.0),
    "the north pole": (89.9995, 0.0),
    "the south pole itself": (-90.0, 0.0),
    "both meridians": (0.0, -180.0),
}


@dataclass(frozen=True, order=True)
class Shop:
    name: int
    place: tuple[float, float]

    @property
    def at(self) -> Vector:
        return vector(*self.place)


def around(centre, metres, count, seed):
    rng = random.Random(seed)
    return [moved(centre, rng.uniform(0, 360), metres * rng.random() ** 0.5) for _ in range(count)]


POINTS = st.sampled_from(list(CENTRES.values())).flatmap(
    lambda centre: st.lists(
        st.tuples(st.floats(0, 360), st.floats(0, 900)).map(lambda way: moved(centre, *way)), min_size=3, max_size=3
    )
)


@PATIENT
@given(POINTS)
def test_distances_and_turns_are_those_of_the_textbook(points):
    before, here, there = points
    assert distance(vector(*before), vector(*here)) == pytest.approx(haversine(before, here), abs=1e-3)
    assume(haversine(before, here) > 1 and haversine(here, there) > 1)
    # Away from where one came from; at the pole itself, bearings depend on the meridian that one says one is on.
    assume(abs(here[0]) < 89.9999)
    wanted = abs((bearing(here, there) - bearing(here, before) - 180 + 180) % 360 - 180)
    assert turn(vector(*before), vector(*here), vector(*there)) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES)
def test_the_grid_finds_what_a_scan_finds(centre):
    places = around(centre, 1_500, 400, 1)
    shops = [Shop(number, place) for number, place in enumerate([*places, *places[:3]])]  # Some share a house.
    grid = Grid(((shop.at, shop) for shop in shops), 250)
    for here in [centre, *around(centre, 1_500, 60, 2)]:
        distances = {shop: haversine(here, shop.place) for shop in shops}
        assert min(abs(metres - 250) for metres in distances.values()) > 1e-6
        assert {shop for _, shop in grid.near(vector(*here))} == {one for one, far in distances.items() if far <= 250}


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 360))
@settings(deadline=None, max_examples=100)
def test_at_the_edge_of_the_radius_no_cube_is_missed(latitude, longitude, direction):
    here, radius = (latitude, longitude), 50.0
    inside, outside = (vector(*moved(here, direction, metres)) for metres in (radius - 1e-4, radius + 1e-4))
    ((squared, name),) = Grid([(inside, "inside"), (outside, "outside")], radius).near(vector(*here))
    assert name == "inside"
    assert squared == pytest.approx(squared_chord_of(radius - 1e-4), rel=1e-5)


RULES = st.builds(
    ApproachRule,
    radius=st.floats(50, 600),
    fixes=st.integers(2, 4),
    closing=st.floats(0, 60),
    angle=st.floats(5, 175),
)


def by_definition(rule, track, shops):
    """Every condition of the definition for every shop, and how close the closest decision was."""
    found, margin = {}, 1.0
    for shop in shops:
        far = [haversine(fix, shop.place) for fix in track[-rule.fixes :]]
        way, there = bearing(track[-1], track[-rule.fixes]) + 180, bearing(track[-1], shop.place)
        angle = abs((way - there + 180) % 360 - 180)
        slacks = [
            rule.radius - far[-1],
            far[0] - far[-1] - rule.closing,
            rule.angle - angle,
            *(a - b for a, b in pairwise(far)),
        ]
        margin = min(margin, *(abs(slack) for slack in slacks))
        if all(slack > 0 for slack in slacks):
            found[shop] = far[-1]
    return found, margin


@PATIENT
@given(
    rule=RULES,
    centre=st.sampled_from([one for one in CENTRES.values() if abs(one[0]) < 90]),
    seed=st.integers(0, 10_000),
    course=st.floats(0, 360),
    step=st.floats(5, 80),
)
def test_what_is_approached_is_what_the_definition_says(rule, centre, seed, course, step):
    rng = random.Random(seed)
    track = [centre]
    for _ in range(5):
        track.append(moved(track[-1], course + rng.uniform(-40, 40), step))
    shops = [Shop(number, place) for number, place in enumerate(around(track[-1], 700, 60, seed))]
    wanted, margin = by_definition(rule, track, shops)
    assume(margin > 1e-4)
    grid = Grid(((shop.at, shop) for shop in shops), rule.radius)
    found = {shop: metres for metres, shop in approached(rule, [vector(*fix) for fix in track], grid)}
    assert found == pytest.approx(wanted, abs=1e-3)
    assert not list(approached(rule, [vector(*fix) for fix in track[: rule.fixes - 1]], grid))


def towards(shop, *metres, sideways=0.0):
    """Fixes so many metres south of a shop, and east of it."""
    return [vector(*moved(moved(shop.place, 180, far), 90, sideways)) for far in metres]


@pytest.mark.parametrize(
    ("track", "is_approach"),
    [
        ((200, 150, 100), True),
        ((200, 150), False),  # Two fixes of three.
        ((200, 210, 100), False),  # Away in between.
        ((100, 150, 200), False),
        ((400, 350, 301), False),  # Not there yet.
        ((400, 350, 299), True),
        ((120, 115, 106), False),  # No more than a receiver errs.
        ((120, 115, 104), True),
        ((60, 30, 0), False),  # In the door.
    ],
)
def test_walks_to_a_shop(track, is_approach):
    shop = Shop(1, CENTRES["a city"])
    grid = Grid([(shop.at, shop)], 300)
    assert bool(list(approached(ApproachRule(), towards(shop, *track), grid))) is is_approach


def test_who_passes_by_turns_away_from_it():
    shop = Shop(1, CENTRES["a city"])
    grid = Grid([(shop.at, shop)], 300)
    assert list(approached(ApproachRule(), towards(shop, 200, 150, 110, sideways=100), grid))
    assert not list(approached(ApproachRule(), towards(shop, 200, 150, 90, sideways=100), grid))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"radius": 0}, "radius is 0: give a number from 1 to 50,000"),
        ({"fixes": 1}, "fixes is 1: give an int of 2 or more"),
        ({"fixes": 2.5}, "fixes is 2.5: give an int"),
        ({"angle": 181}, "angle is 181"),
        ({"closing": -1}, "closing is -1"),
        ({"gap": 0}, "gap is 0"),
        ({"every": -1}, "every is -1"),
        ({"radius": float("nan")}, "radius is nan"),
    ],
)
def test_an_unsound_rule_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        ApproachRule(**values)
