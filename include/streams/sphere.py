"""Points on the earth as unit vectors: distances and directions without seams, at the antimeridian and the poles too.

    here, there = vector(-3.73, -38.52), vector(-3.74, -38.52)
    distance(here, there)            # metres along the great circle
    turn(before, here, there)        # degrees between the way one goes and the way there

Two points are compared by the square of their chord, which grows with their distance and costs no trigonometry. Chords
are of the unit sphere. Between points a few metres apart they are exact to a nanometre.
"""

from math import asin, atan2, cos, degrees, radians, sin, sqrt

RADIUS = 6_371_008.8
"""Metres: the mean radius of the earth (IUGG), as everywhere in the analyses."""

Vector = tuple[float, float, float]
"""From the centre to a point on the unit sphere."""


def vector(latitude: float, longitude: float) -> Vector:
    """The point at a latitude and longitude, in degrees."""
    phi, lam = radians(latitude), radians(longitude)
    across = cos(phi)
    return across * cos(lam), across * sin(lam), sin(phi)


def squared_chord(a: Vector, b: Vector) -> float:
    """The square of the straight line between two points, through the sphere."""
    x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return x * x + y * y + z * z


def squared_chord_of(metres: float) -> float:
    """The square of the chord between two points at a distance, which is at most half around the earth."""
    return (2 * sin(metres / (2 * RADIUS))) ** 2


def metres_of(squared: float) -> float:
    """The distance of two points, in metres, from the square of their chord."""
    return 2 * RADIUS * asin(min(sqrt(squared) / 2, 1.0))


def distance(a: Vector, b: Vector) -> float:
    """Metres along the great circle, equal to the haversine formula's."""
    return metres_of(squared_chord(a, b))


def turn(before: Vector, here: Vector, there: Vector) -> float:
    """By how many degrees one who came from a point would have to turn here to go to another: from 0 to 180.

    0 where one of them is here: there is no direction then.
    """
    along, to = _tangent(here, before, -1.0), _tangent(here, there, 1.0)
    cross = (
        along[1] * to[2] - along[2] * to[1],
        along[2] * to[0] - along[0] * to[2],
        along[0] * to[1] - along[1] * to[0],
    )
    return degrees(atan2(sqrt(dot(cross, cross)), dot(along, to)))


def _tangent(at: Vector, other: Vector, sign: float) -> Vector:
    """The direction from a point to another, or away from it, in the plane that touches the sphere at the first."""
    x, y, z = sign * (other[0] - at[0]), sign * (other[1] - at[1]), sign * (other[2] - at[2])
    up = x * at[0] + y * at[1] + z * at[2]
    return x - up * at[0], y - up * at[1], z - up * at[2]


def minus(a: Vector, b: Vector) -> Vector:
    """The way from b to a."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Vector, b: Vector) -> float:
    """The scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
