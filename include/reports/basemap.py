"""The land below the maps: GeoJSON that comes with the data, of a sea, a coastline and neighbourhoods."""

import json
from typing import Any

KINDS = {
    "sea": ("Polygon", "MultiPolygon"),
    "coastline": ("LineString", "MultiLineString"),
    "neighbourhood": ("Polygon", "MultiPolygon"),
}
"""Kinds of features, and the geometries that they may have."""
NONE: dict[str, Any] = {"type": "FeatureCollection", "name": "", "features": []}
"""Where no basemap was delivered."""


class BasemapError(ValueError):
    """A basemap that cannot be drawn; the message names feature, field and fix."""


def parse(data: bytes) -> dict[str, Any]:
    """A basemap from a file: longitude and latitude, WGS 84.

    Args:
        data: A GeoJSON FeatureCollection (RFC 7946). Features have the properties `kind`, one of `KINDS`, and `name`;
            others are left out, of features and of properties.

    Returns:
        The same, with rings wound as D3 wants them: those around an area clockwise, unlike in GeoJSON.

    Raises:
        BasemapError: it is no such file.
    """
    try:
        whole = json.loads(data)
    except ValueError as error:
        raise BasemapError(f"the basemap is no JSON: {error}") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("features"), list):
        raise BasemapError("the basemap is no GeoJSON FeatureCollection: give an object with a list `features`")
    features = [_feature(number, one) for number, one in enumerate(whole["features"])]
    return {**NONE, "name": str(whole.get("name") or ""), "features": [one for one in features if one]}


def _feature(number: int, one: Any) -> dict[str, Any] | None:
    try:
        kind, geometry = one["properties"]["kind"], one["geometry"]
        if kind not in KINDS:
            return None
        shape, coordinates = geometry["type"], geometry["coordinates"]
        if shape not in KINDS[kind]:
            raise BasemapError(
                f"features[{number}].geometry.type is {shape!r}: a {kind} has {' or '.join(KINDS[kind])}"
            )
        if shape == "Polygon":
            coordinates = _polygon(coordinates)
        elif shape == "MultiPolygon":
            coordinates = [_polygon(part) for part in coordinates]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, BasemapError):
            raise
        raise BasemapError(
            f"features[{number}] of the basemap cannot be read ({error!r}): give properties.kind and a geometry"
        ) from error
    properties = {"kind": kind, "name": str(one["properties"].get("name") or "")}
    return {"type": "Feature", "properties": properties, "geometry": {"type": shape, "coordinates": coordinates}}


def _polygon(rings: list[list[list[float]]]) -> list[list[list[float]]]:
    return [ring if (_area(ring) < 0) == (number == 0) else ring[::-1] for number, ring in enumerate(rings)]


def _area(ring: list[list[float]]) -> float:
    """Twice the area, positive where the ring runs against the clock."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))


def points(basemap: dict[str, Any]) -> list[tuple[float, float]]:
    """Longitudes and latitudes of the neighbourhoods' outlines: what a map of the whole city must show."""
    found: list[tuple[float, float]] = []
    for feature in basemap["features"]:
        if feature["properties"]["kind"] == "neighbourhood":
            _collect(feature["geometry"]["coordinates"], found)
    return found


def labels(basemap: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the neighbourhoods' names stand: the middle of their extent."""
    found = []
    for feature in basemap["features"]:
        if feature["properties"]["kind"] == "neighbourhood" and feature["properties"]["name"]:
            corners: list[tuple[float, float]] = []
            _collect(feature["geometry"]["coordinates"], corners)
            longitudes, latitudes = zip(*corners, strict=True)
            found.append(
                {
                    "name": feature["properties"]["name"],
                    "longitude": round((min(longitudes) + max(longitudes)) / 2, 6),
                    "latitude": round((min(latitudes) + max(latitudes)) / 2, 6),
                }
            )
    return found


def _collect(coordinates: Any, found: list[tuple[float, float]]) -> None:
    if coordinates and isinstance(coordinates[0], int | float):
        found.append((float(coordinates[0]), float(coordinates[1])))
    else:
        for part in coordinates:
            _collect(part, found)
