"""Great-circle distances from the functions that every engine has (no arc sine among them)."""

from functools import reduce
from math import pi

import narwhals as nw

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""

Vector = tuple[str, str, str]
"""Names of the columns of x, y and z."""

_ARCSINE = (1.0, 1 / 6, 3 / 40, 15 / 336, 105 / 3456, 945 / 42240, 10395 / 599040, 135135 / 9676800)
"""Coefficients of x, x³, x⁵ … in the series of the arc sine."""


def unit_vector(latitude: nw.Expr, longitude: nw.Expr) -> tuple[nw.Expr, nw.Expr, nw.Expr]:
    """The point on the unit sphere of a latitude and longitude in degrees."""
    across, up = longitude * (pi / 180), latitude * (pi / 180)
    return up.cos() * across.cos(), up.cos() * across.sin(), up.sin()


def with_distance_km(places: nw.LazyFrame, start: Vector, end: Vector, name: str) -> nw.LazyFrame:
    """Adds the great-circle distance in km, to the metre, of two points on the unit sphere; null where either is.

    The arc over a chord c is 2·asin(c/2): the haversine formula without its sines, which `unit_vector` has taken once
    a place rather than once a pair. The angle is halved twice, asin x = 2·asin(x / √(2·(1 + √(1 − x²)))), for the
    series to close in; what it leaves off is under a metre anywhere on Earth.

    Args:
        places: Has the coordinates of both points.
        start: Columns of x, y and z of the one point.
        end: Columns of x, y and z of the other.
        name: Of the new column.
    """
    x = nw.col(name)
    square_of_chord = sum(((nw.col(b) - nw.col(a)) ** 2 for a, b in zip(start, end, strict=True)), nw.lit(0.0))
    places = places.with_columns((square_of_chord.sqrt() / 2).clip(upper_bound=1.0).alias(name))
    for _ in range(2):  # a column a step: in one expression, x would be written out again for each of its uses
        places = places.with_columns(x / (((1 - x * x).sqrt() + 1) * 2).sqrt())
    series = reduce(lambda sum_, coefficient: sum_ * (x * x) + coefficient, reversed(_ARCSINE), nw.lit(0.0))
    places = places.with_columns(x * series * (2 * 4 * EARTH_RADIUS_KM * 1000))
    # Engines divide by a constant in their own way, to the last bit; rounding makes them agree.
    return places.with_columns(((x + 0.5).floor() / 1000).round(3))
