import json
from itertools import pairwise
from pathlib import Path

import pytest

from include.reports import basemap
from include.reports.basemap import BasemapError
from local.data import city_map

SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]
HOLE = [[0.5, 0.5], [0.5, 1], [1, 1], [1, 0.5], [0.5, 0.5]]


def collection(*features):
    return json.dumps({"type": "FeatureCollection", "name": "Town", "features": list(features)}).encode()


def feature(kind, shape, coordinates, **properties):
    geometry = {"type": shape, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"kind": kind, **properties}, "geometry": geometry}


def clockwise(ring):
    return sum((b[0] - a[0]) * (b[1] + a[1]) for a, b in pairwise(ring)) > 0


@pytest.mark.parametrize("square", [SQUARE, SQUARE[::-1]], ids=["against", "with"])
def test_rings_are_wound_as_d3_wants_them(square):
    polygon, many = basemap.parse(
        collection(
            feature("sea", "Polygon", [square, HOLE]),
            feature("neighbourhood", "MultiPolygon", [[square], [[[x + 5, y] for x, y in square]]], name="Twins"),
        )
    )["features"]
    outer, hole = polygon["geometry"]["coordinates"]
    assert clockwise(outer)
    assert not clockwise(hole)
    assert all(clockwise(part[0]) for part in many["geometry"]["coordinates"])
    assert sorted(outer) == sorted(square)


def test_the_generated_citys_map_is_a_basemap():
    found = basemap.parse(Path(city_map.MAP).read_bytes())
    names = [place.name for place in city_map.neighbourhoods()]
    assert [label["name"] for label in basemap.labels(found)] == names
    assert {one["properties"]["kind"] for one in found["features"]} == set(basemap.KINDS)
    assert len(basemap.points(found)) == sum(len(place.outline) for place in city_map.neighbourhoods())
    assert all(set(one["properties"]) == {"kind", "name"} for one in found["features"])


def test_a_label_stands_in_the_middle():
    found = basemap.parse(collection(feature("neighbourhood", "Polygon", [SQUARE], name="Quad")))
    assert basemap.labels(found) == [{"name": "Quad", "longitude": 1, "latitude": 1}]


def test_other_kinds_are_left_out():
    assert basemap.parse(collection(feature("road", "LineString", SQUARE)))["features"] == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "no JSON"),
        (b"[]", "no GeoJSON FeatureCollection"),
        (collection(feature("coastline", "Point", [0, 0])), r"features\[0\].geometry.type is 'Point': a coastline has"),
        (collection({"type": "Feature", "geometry": {}}), r"features\[0\] of the basemap .* give properties.kind"),
        (collection(feature("sea", "Polygon", 3)), r"features\[0\] of the basemap"),
    ],
    ids=["json", "list", "shape", "kind", "coordinates"],
)
def test_what_cannot_be_drawn_is_named(data, said):
    with pytest.raises(BasemapError, match=said):
        basemap.parse(data)
