import json
from math import log, pi, radians, tan

import pytest

from include.reports import basemap, charts, maps
from include.reports.maps import Bounds
from include.reports.tracks import Track, tracks
from include.streams.establishments import Ad, Establishment
from include.streams.sphere import vector
from tests.geography import haversine
from tests.include.reports import world

TOWN = basemap.parse(
    json.dumps(
        {
            "type": "FeatureCollection",
            "name": "Town",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"kind": "neighbourhood", "name": "Quad"},
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[-38.6, -3.8], [-38.4, -3.8], [-38.4, -3.7], [-38.6, -3.7], [-38.6, -3.8]]],
                    },
                }
            ],
        }
    ).encode()
)
ROWS = [
    {"label": "E1", "category": "cafés", "longitude": -38.5, "latitude": -3.73, "visits": 100, "said": "100 visits"},
    {"label": "E2", "category": "games", "longitude": -38.52, "latitude": -3.75, "visits": 400, "said": "400 visits"},
    {"label": "E3", "category": "games", "longitude": -38.55, "latitude": -3.71, "visits": 1, "said": "1 visit"},
]
COLOURS = charts.palette(["cafés", "games"])


@pytest.fixture(scope="module")
def track():
    shop = Establishment("E1", world.NASTY, "cafés", -3.73, -38.5, vector(-3.73, -38.5), Ad("C1-A", "C1", 0.1))
    return tracks(world.TABLES["location_records"], [shop], world.ZONE, 1)[0]


def pixels(spec, longitude, latitude):
    """Where Mercator's projection of a picture puts a place."""
    projection = spec["projection"]

    def plane(u, p):
        return radians(u), log(tan(pi / 4 + radians(p) / 2))

    (x, y), (u, v) = plane(longitude, latitude), plane(*projection["center"])
    scale, (left, top) = projection["scale"], projection["translate"]
    return left + scale * (x - u), top - scale * (y - v)


@pytest.mark.parametrize("latitude", [-3.73, 0.0, 60.0])
def test_bounds_have_room_around_the_points_and_are_never_tiny(latitude):
    one = Bounds.around([(-38.5, latitude)])
    wide = haversine((latitude, one.west), (latitude, one.east))
    high = haversine((one.south, -38.5), (one.north, -38.5))
    assert wide == pytest.approx(720, rel=0.01)
    assert high == pytest.approx(720, rel=0.01)
    two = Bounds.around([(-38.5, latitude), (-38.3, latitude + 0.1)])
    assert (two.west, two.east) == pytest.approx((-38.52, -38.28))
    assert (two.south, two.north) == pytest.approx((latitude - 0.01, latitude + 0.11))


def test_a_circles_area_is_the_figure():
    found = maps.places(ROWS, "visits", COLOURS, TOWN)
    features = found["points"]["features"]
    assert [(one["properties"]["figure"], one["properties"]["said"]) for one in features] == [
        (400, "E2\n400 visits"),
        (100, "E1\n100 visits"),
        (1, "E3\n1 visit"),
    ]
    great, middle, small = (one["properties"]["radius"] for one in features)
    assert (great / middle) ** 2 == pytest.approx(4)
    assert 0 < small < middle
    assert features[0]["geometry"]["coordinates"] == [-38.52, -3.75]
    assert found["legend"] == [[COLOURS["cafés"], "cafés"], [COLOURS["games"], "games"]]


def test_a_map_of_places_shows_the_whole_city():
    (west, south), (east, north) = maps.places(ROWS, "visits", COLOURS, TOWN)["bounds"]
    assert west < -38.6 < -38.4 < east
    assert south < -3.8 < -3.7 < north
    (west, _), (east, _) = maps.places(ROWS, "visits", COLOURS, basemap.NONE)["bounds"]
    assert (west, east) == pytest.approx((-38.555, -38.495))


def test_a_picture_shows_all_that_is_within_the_bounds():
    spec = maps.places_picture(ROWS, "visits", COLOURS, TOWN, "visits", ",d")
    assert spec["datasets"]["rows"] == [ROWS[1], ROWS[0], ROWS[2]]
    assert [one["properties"]["name"] for one in spec["datasets"]["neighbourhood"]] == ["Quad"]
    corners = [pixels(spec, *corner) for corner in [(-38.6, -3.8), (-38.4, -3.8), (-38.6, -3.7), (-38.4, -3.7)]]
    assert all(0 < x < spec["width"] and 0 < y < spec["height"] for x, y in corners)
    assert max(x for x, _ in corners) - min(x for x, _ in corners) > 0.75 * spec["width"]


def test_a_track_shows_records_offers_and_their_places(track):
    found = maps.track(track)
    assert len(track.offers) == 1
    line = found["line"]["features"][0]["geometry"]["coordinates"]
    assert line == [[row["longitude"], row["latitude"]] for row in track.points]
    (way,) = found["ways"]["features"]
    assert way["geometry"]["coordinates"][1] == [-38.5, -3.73]
    assert [one["properties"]["label"] for one in found["places"]["features"]] == [world.NASTY]
    (west, south), (east, north) = found["bounds"]
    assert all(west < x < east and south < y < north for x, y in [*line, [-38.5, -3.73]])
    spec = maps.track_picture(track, TOWN)
    assert spec["datasets"]["points"] == track.points
    assert spec["datasets"]["offers"] == track.offers


def test_a_track_without_offers_is_a_map_too(track):
    alone = Track(track.user, track.day, track.points, [])
    assert maps.track(alone)["offers"]["features"] == []
    assert maps.track_picture(alone, basemap.NONE)["datasets"].keys() == {"points", "offers", "places"}


def test_hours_have_the_scales_colours():
    assert [maps.colour_of(hour) for hour in (0, 8, 16, 24)] == list(maps.HOURS)
    assert maps.colour_of(4) == "#72246c"  # half-way between #2c115f and #b73779
