from math import asin, cos, radians, sin, sqrt

import narwhals as nw
import polars as pl
import pytest

from include.transforms.geography import EARTH_RADIUS_KM, unit_vector, with_distance_km

COLUMNS = ("lat1", "lng1", "lat2", "lng2")
PAIRS = [
    (-23.5505, -46.6333, -22.9068, -43.1729),  # São Paulo to Rio de Janeiro
    (2.8206, -60.6738, -33.5206, -53.3681),  # Boa Vista to Chuí
    (-23.5505, -46.6333, -23.5505, -46.6333),
    (-23.5505, -46.6333, -23.5504, -46.6333),
    (10.0, 20.0, -10.0, -160.0),  # antipodes
    (10.0, 20.0, -9.0, -159.0),
    (90.0, 0.0, 0.0, 77.0),
]


def haversine_km(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    half = sin(radians(lat2 - lat1) / 2) ** 2
    half += cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lng2 - lng1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half)))


def distances(engine, pairs):
    rows = engine.take(pl.DataFrame(pairs, schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row"))
    for end in ("1", "2"):
        x, y, z = unit_vector(nw.col(f"lat{end}"), nw.col(f"lng{end}"))
        rows = rows.with_columns(x.alias(f"x{end}"), y.alias(f"y{end}"), z.alias(f"z{end}"))
    made = engine.give(with_distance_km(rows, ("x1", "y1", "z1"), ("x2", "y2", "z2"), "km"))
    return {pair: km for *pair_, km in made.select(*COLUMNS, "km").rows() for pair in [tuple(pair_)]}


def test_distances_are_those_of_the_haversine_formula(engine):
    measured = distances(engine, PAIRS)
    for pair in PAIRS:
        assert measured[pair] == pytest.approx(haversine_km(*pair), abs=0.0011), pair


def test_there_is_no_distance_to_an_unknown_place(engine):
    assert distances(engine, [(-23.5, -46.6, None, None)]) == {(-23.5, -46.6, None, None): None}
