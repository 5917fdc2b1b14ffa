"""Visits against the haversine formula on all pairs, and stays against a walk through the records in their order."""

from datetime import datetime, timedelta
from itertools import groupby
from math import asin, cos, degrees, radians, sin, sqrt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.transforms import visits
from tests.include.transforms.city import arrow, visits_of
from tests.include.transforms.conftest import on_polars

RADIUS = 50.0
EARTH_M = 6_371_008.8
START = datetime(2026, 7, 1, 12)
PLACES = {
    "equator": (0.0, -38.5),
    "fortaleza": (-3.73, -38.52),
    "60 north": (60.0, 24.9),
    "60 south": (-60.0, 0.0),
    "antimeridian": (-17.0, 180.0),
    "antimeridian at 60 north": (60.0, -180.0),
    "arctic": (89.9, 10.0),
    "north pole": (90.0, 0.0),
    "south pole": (-90.0, 0.0),
}


def haversine_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    half = sin(radians(b[0] - a[0]) / 2) ** 2
    half += cos(radians(a[0])) * cos(radians(b[0])) * sin(radians(b[1] - a[1]) / 2) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(half)))


def moved(place: tuple[float, float], metres: float, bearing: float) -> tuple[float, float]:
    """The point so many metres from a place, near enough; latitudes stay on the globe, longitudes within ±180°."""
    latitude = place[0] + degrees(metres * cos(bearing) / EARTH_M)
    latitude = min(90.0, max(-90.0, latitude))
    wide = max(cos(radians(latitude)), 1e-9)
    longitude = place[1] + degrees(metres * sin(bearing) / EARTH_M / wide)
    return latitude, (longitude + 180) % 360 - 180


def frame(points, name: str) -> pl.DataFrame:
    rows = {"latitude": [p[0] for p in points], "longitude": [p[1] for p in points]}
    named = pl.DataFrame(rows, schema={"latitude": pl.Float64, "longitude": pl.Float64}).with_columns(
        pl.Series(name, [f"{number:03d}" for number in range(len(points))], dtype=pl.String)
    )
    if name == "user_id":
        return named.with_columns(moment=pl.lit(START))
    return named.with_columns(category=pl.lit("games"))


def check(engine, pings, stores, radius=RADIUS):
    made = engine.give(visits_of(engine, frame(pings, "user_id"), frame(stores, "establishment_id"), radius))
    found = {
        (int(user), int(store)): metres
        for user, store, metres in made.select("user_id", "establishment_id", "distance_m").rows()
    }
    assert len(found) == made.height
    for i, ping in enumerate(pings):
        for j, store in enumerate(stores):
            exact = haversine_m(ping, store)
            if abs(exact - radius) > 1e-6:
                assert ((i, j) in found) == (exact < radius), (ping, store, exact)
            if (i, j) in found:
                assert found[i, j] == pytest.approx(exact, abs=0.01)
    return found


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(sorted(PLACES)),
    stores=st.lists(st.tuples(st.floats(0, 150), st.floats(0, 6.3)), min_size=1, max_size=4),
    pings=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 6.3)), min_size=1, max_size=12),
    twice=st.booleans(),
    radius=st.sampled_from([1.0, 50.0, 120.0]),
)
def test_any_points_anywhere_on_polars(place, stores, pings, twice, radius):
    centre = PLACES[place]
    shops = [moved(centre, *store) for store in stores]
    check(on_polars(), [moved(centre, *ping) for ping in pings], shops + shops[:1] * twice, radius)


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(sorted(PLACES)),
    bearing=st.floats(0, 6.3),
    off=st.sampled_from([-1.0, -0.011, 0.011, 1.0]),
)
def test_a_centimetre_on_either_side_of_the_radius_is_told_apart(place, bearing, off):
    store = PLACES[place]
    ping = moved(store, RADIUS + off, bearing)
    exact = haversine_m(ping, store)
    found = check(on_polars(), [ping], [store])
    if abs(exact - RADIUS) > 0.001:
        assert bool(found) == (exact < RADIUS)


def test_every_place_at_once_and_shops_at_one_address():
    stores = [place for place in PLACES.values() for _ in range(2)]
    pings = [
        moved(place, metres, bearing) for place in PLACES.values() for metres in (0, 49.9, 50.1) for bearing in (1, 4)
    ]
    found = check(on_polars(), pings, stores)
    assert len(found) >= len(PLACES) * 4 * 2
    assert all((ping, store ^ 1) in found for ping, store in found)


@pytest.mark.parametrize("radius", [0.5, 10_001])
def test_a_radius_out_of_bounds_is_an_error(radius):
    with pytest.raises(ValueError, match="radius_m is"):
        visits.Grid.over(arrow(frame([(0.0, 0.0)], "establishment_id")), radius)


def test_without_establishments_there_are_no_visits():
    assert (
        on_polars()
        .give(visits_of(on_polars(), frame([(0.0, 0.0)], "user_id"), frame([], "establishment_id")))
        .is_empty()
    )


def walked(rows, gap):
    """Stays of sorted (user, establishment, moment), one record after the other."""
    for (user, store), records in groupby(rows, key=lambda row: row[:2]):
        begin = end = None
        pings = 0
        for _, _, moment in records:
            if end is not None and moment - end > gap:
                yield user, store, begin, end, pings
                begin, pings = None, 0
            begin, end, pings = begin or moment, moment, pings + 1
        yield user, store, begin, end, pings


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from("xy"),
            st.integers(0, 90).map(lambda n: n * 60_000_000)
            | st.sampled_from([599_999_999, 600_000_001, 1_200_000_000]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_stays_are_those_of_a_walk_through_the_records(records):
    rows = sorted((user, store, START + timedelta(microseconds=after)) for user, store, after in records)
    near = pl.DataFrame(rows, schema=["user_id", "establishment_id", "moment"], orient="row").cast(
        {"moment": pl.Datetime("us")}
    )
    near = near.with_columns(category=pl.lit("games"), distance_m=0.0)
    made = on_polars().give(visits.stays(on_polars().take(near))).drop("category")
    assert sorted(made.rows()) == list(walked(rows, timedelta(minutes=10)))
