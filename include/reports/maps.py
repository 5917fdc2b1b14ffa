"""The report's maps: points for MapLibre in the page, and the same as pictures, drawn by Vega-Lite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asinh, cos, degrees, log10, radians, sqrt, tan
from typing import Any

import altair as alt

from include.reports import basemap as land
from include.reports import charts
from include.reports.charts import INK, MUTED, Rows, Spec, named
from include.reports.tracks import Track
from include.streams.sphere import RADIUS

LAND, SEA, BORDER, OFFER = "#f6f3ec", "#d5e4ec", "#cfc8b8", "#00736b"
HOURS = ("#2c115f", "#b73779", "#fc8961", "#f7d47e")
"""Of a day, from the first record to the last: magma, whose lightness grows evenly."""

_WIDTH, _HEIGHT = 640, 420
_LARGEST, _SMALLEST = 16.0, 4.0
_ROOM = 0.10
_NARROWEST = 600.0


@dataclass(frozen=True)
class Bounds:
    """What a map shows, in degrees."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]]) -> "Bounds":
        """The bounds of longitudes and latitudes, with some room, and never less than some hundred metres.

        Args:
            points: At least one. A city across the antimeridian would be drawn as wide as the Earth.
        """
        longitudes, latitudes = zip(*points, strict=True)
        least = degrees(_NARROWEST / RADIUS)
        middle = (min(latitudes) + max(latitudes)) / 2
        wide = max(max(longitudes) - min(longitudes), least / max(cos(radians(middle)), 0.01))
        high = max(max(latitudes) - min(latitudes), least)
        x, y = (min(longitudes) + max(longitudes)) / 2, middle
        half = 0.5 + _ROOM
        return cls(*(round(one, 6) for one in (x - wide * half, y - high * half, x + wide * half, y + high * half)))

    def corners(self) -> list[list[float]]:
        """South-west and north-east, as MapLibre wants them."""
        return [[self.west, self.south], [self.east, self.north]]


def places(rows: Rows, figure: str, colours: Mapping[str, str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Establishments as circles whose area is a figure: the map of the page.

    Args:
        rows: label, category, longitude, latitude, said (the text of the tooltip) and the figure; at least one.
        figure: Column, 0 or more.
        colours: Of the categories.
        base: The basemap.

    Returns:
        `kind`, `bounds`, `legend` (colours and what they stand for), and `points`, the greatest first, for the smaller
        ones to lie above them.
    """
    greatest = max(row[figure] for row in rows) or 1
    features = [
        _point(
            row,
            radius=round(max(_LARGEST * sqrt(row[figure] / greatest), _SMALLEST), 2),
            colour=colours[row["category"]],
            said=f"{row['label']}\n{row['said']}",
            figure=row[figure],
        )
        for row in sorted(rows, key=lambda row: (-row[figure], row["label"]))
    ]
    bounds = Bounds.around(land.points(dict(base)) or [(row["longitude"], row["latitude"]) for row in rows])
    legend = [[colours[name], name] for name in sorted({row["category"] for row in rows})]
    return {"kind": "places", "bounds": bounds.corners(), "legend": legend, "points": _collection(features)}


def places_picture(
    rows: Rows, figure: str, colours: Mapping[str, str], base: Mapping[str, Any], title: str, format_: str
) -> Spec:
    """The map of `places`, for a PNG.

    Args:
        rows: As there.
        figure: As there.
        colours: As there.
        base: As there.
        title: Of the legend of the circles' sizes.
        format_: Of the figures in that legend, in D3's notation.
    """
    bounds = Bounds.around(land.points(dict(base)) or [(row["longitude"], row["latitude"]) for row in rows])
    names = sorted({row["category"] for row in rows})
    greatest = max(row[figure] for row in rows) or 1
    size = alt.Size(f"{figure}:Q", title=title).scale(domain=[0, greatest], range=[30, (2 * _LARGEST) ** 2 * 0.8])
    size = size.legend(format=format_, values=_steps(greatest), symbolFillColor=MUTED, symbolStrokeColor="white")
    scale = alt.Scale(domain=names, range=[colours[name] for name in names])
    ordered = sorted(rows, key=lambda row: (-row[figure], row["label"]))
    circles = named("rows").mark_circle(opacity=0.85, stroke="white", strokeWidth=1, clip=True)
    circles = circles.encode(
        longitude="longitude:Q",
        latitude="latitude:Q",
        size=size,
        color=alt.Color("category:N", title=None, scale=scale),
    )
    return _drawn([circles], {"rows": ordered}, base, bounds)


def track(one: Track) -> dict[str, Any]:
    """A day's track and its offers: the map of the page.

    Args:
        one: The track.
    """
    line = {"type": "LineString", "coordinates": [[row["longitude"], row["latitude"]] for row in one.points]}
    ways = [
        {
            "type": "LineString",
            "coordinates": [[o["longitude"], o["latitude"]], [o["place_longitude"], o["place_latitude"]]],
        }
        for o in one.offers
    ]
    return {
        "kind": "track",
        "bounds": _bounds(one).corners(),
        "legend": [*([colour_of(hour), f"{hour} h"] for hour in range(0, 25, 4)), [OFFER, "offer"], [INK, "its place"]],
        "points": _collection([_point(row, colour=colour_of(row["hour"]), said=row["said"]) for row in one.points]),
        "line": _collection([{"type": "Feature", "properties": {}, "geometry": line}]),
        "ways": _collection([{"type": "Feature", "properties": {}, "geometry": way} for way in ways]),
        "offers": _collection([_point(row, said=row["said"], label=row["number"]) for row in one.offers]),
        "places": _collection([_point(row, said=row["label"], label=row["label"]) for row in _targets(one)]),
    }


def track_picture(one: Track, base: Mapping[str, Any]) -> Spec:
    """The map of `track`, for a PNG."""
    bounds = _bounds(one)
    geo = {"longitude": "longitude:Q", "latitude": "latitude:Q"}
    line = named("points").mark_line(color=MUTED, strokeWidth=1.2, opacity=0.8, clip=True)
    line = line.encode(**geo, order="order:Q")
    colour = alt.Color("hour:Q", title="hour of the day", scale=alt.Scale(domain=_DAY, range=list(HOURS)))
    fixes = named("points").mark_circle(size=38, opacity=1, stroke="white", strokeWidth=0.5, clip=True)
    ways = named("offers").mark_rule(color=OFFER, strokeWidth=2, strokeDash=[5, 3], clip=True)
    layers = [
        line,
        fixes.encode(**geo, color=colour.legend(values=[0, 6, 12, 18, 24], format="d")),
        ways.encode(**geo, longitude2="place_longitude:Q", latitude2="place_latitude:Q"),
        named("places").mark_square(size=90, color=INK, opacity=1, stroke="white", clip=True).encode(**geo),
    ]
    for above, dy in (("datum.above", -15), ("!datum.above", 19)):  # By turns: neighbours don't cover each other.
        halo = named("places").mark_text(dy=dy, fontWeight=600, stroke="white", strokeWidth=3, strokeJoin="round")
        text = named("places").mark_text(dy=dy, fontWeight=600, color=INK)
        layers += [shape.encode(**geo, text="label:N").transform_filter(above) for shape in (halo, text)]
    layers.append(named("offers").mark_circle(size=260, color=OFFER, opacity=1, stroke="white").encode(**geo))
    layers.append(named("offers").mark_text(color="white", fontWeight=700).encode(**geo, text="number:N"))
    return _drawn(layers, {"points": one.points, "offers": one.offers, "places": _targets(one)}, base, bounds)


_DAY = [0, 8, 16, 24]


def _bounds(one: Track) -> Bounds:
    return Bounds.around([(row["longitude"], row["latitude"]) for row in (*one.points, *_targets(one))])


def _targets(one: Track) -> list[dict[str, Any]]:
    """The establishments of the offers, each of them once."""
    rows = {row["establishment_id"]: row for row in one.offers}.values()
    return [
        {
            "label": row["label"],
            "longitude": row["place_longitude"],
            "latitude": row["place_latitude"],
            "above": number % 2 == 0,
        }
        for number, row in enumerate(sorted(rows, key=lambda row: (row["place_longitude"], row["establishment_id"])))
    ]


def colour_of(hour: float) -> str:
    """An hour's colour, from 0 to 24: between those of `HOURS`, as the picture's scale has it."""
    step = min(int(hour // 8), 2)
    part = hour / 8 - step
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in HOURS[step : step + 2]]
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(*ends, strict=True))


def _point(row: Mapping[str, Any], **properties: Any) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features}


def _steps(greatest: float) -> list[float]:
    """Three round figures up to the greatest."""
    unit = 10 ** (int(log10(greatest)) - (greatest < 1))
    top = next(unit * m for m in (5, 2, 1, 0.5) if unit * m <= greatest)
    return [top / 5, top / 2, top] if top >= 10 or greatest <= 1 else [top]


def _land(base: Mapping[str, Any]) -> tuple[list[alt.Chart], dict[str, Rows]]:
    """Layers of the basemap, and their data."""
    styles: dict[str, dict[str, Any]] = {
        "sea": {"fill": SEA, "stroke": None},
        "neighbourhood": {"fill": None, "stroke": BORDER, "strokeWidth": 1},
        "coastline": {"filled": False, "stroke": "#8fb0c2", "strokeWidth": 1.5},
    }
    data = {kind: [one for one in base["features"] if one["properties"]["kind"] == kind] for kind in styles}
    layers = [named(kind).mark_geoshape(clip=True, **style) for kind, style in styles.items() if data[kind]]
    if names := land.labels(dict(base)):
        data["names"] = names
        text = named("names").mark_text(color=MUTED, fontSize=10, fontStyle="italic", clip=True)
        layers.append(text.encode(longitude="longitude:Q", latitude="latitude:Q", text="name:N"))
    return layers, {name: rows for name, rows in data.items() if rows}


def _drawn(layers: Sequence[alt.Chart], data: Mapping[str, Rows], base: Mapping[str, Any], bounds: Bounds) -> Spec:
    """Layers above the basemap, in Mercator's projection, so that the bounds fit."""
    below, shapes = _land(base)
    south, north = (asinh(tan(radians(one))) for one in (bounds.south, bounds.north))
    scale = min(_WIDTH / radians(bounds.east - bounds.west), _HEIGHT / (north - south))
    middle = [(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2]
    chart = alt.layer(*below, *layers).properties(width=_WIDTH, height=_HEIGHT)
    chart = chart.project("mercator", scale=scale, center=middle, translate=[_WIDTH / 2, _HEIGHT / 2])
    return charts.finished(chart.properties(view=alt.ViewBackground(fill=LAND, stroke=BORDER)), {**shapes, **data})
