"""The geometry of live offers by the textbook, from degrees: what the project's vectors are compared with."""

from math import asin, atan2, cos, degrees, radians, sin, sqrt

RADIUS = 6_371_008.8


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Metres between two latitudes and longitudes."""
    (p, u), (q, v) = (map(radians, one) for one in (a, b))
    return 2 * RADIUS * asin(min(1, sqrt(sin((q - p) / 2) ** 2 + cos(p) * cos(q) * sin((v - u) / 2) ** 2)))


def bearing(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The direction in which one leaves a for b, in degrees from north, clockwise."""
    (p, u), (q, v) = (map(radians, one) for one in (a, b))
    return degrees(atan2(sin(v - u) * cos(q), cos(p) * sin(q) - sin(p) * cos(q) * cos(v - u)))


def moved(a: tuple[float, float], direction: float, metres: float) -> tuple[float, float]:
    """Where one is after so many metres in a direction."""
    p, u, t, d = radians(a[0]), radians(a[1]), radians(direction), metres / RADIUS
    q = asin(max(-1, min(1, sin(p) * cos(d) + cos(p) * sin(d) * cos(t))))
    v = u + atan2(sin(t) * sin(d) * cos(p), cos(d) - sin(p) * sin(q))
    return degrees(q), (degrees(v) + 180) % 360 - 180
