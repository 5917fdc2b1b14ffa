import random
import re
import struct

import pytest
import vl_convert

from include.reports import charts
from tests.include.reports import world


def marks(spec, kind):
    """The marks of a kind as Vega draws them: what each says of itself."""
    svg = vl_convert.vegalite_to_svg(spec, vl_version=charts.vl_version())
    labels = re.findall(rf'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="{kind}"', svg)
    return [dict(part.split(": ", 1) for part in label.split("; ")) for label in labels]


def labelled(rows):
    return [{"label": row["establishment_id"], **row} for row in rows]


def size(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_categories_have_the_same_colours_in_any_order_and_no_two_the_same():
    names = [f"category {number}" for number in range(len(charts.COLOURS))]
    shuffled = random.Random(1).sample(names, len(names))
    assert charts.palette(names) == charts.palette(shuffled)
    assert len(set(charts.palette(names).values())) == len(names)
    assert len(set(charts.palette([*names, "one more"]).values())) == 1


def test_rates_are_the_rows_in_their_order():
    rows = [
        {**row, "label": row["campaign_id"], "establishment": "E"}
        for row in (world.rate("C2", "E2", 400, 40, 1), world.rate("C1", "E1", 200, 10, 2))
    ]
    spec = charts.rates(rows, charts.palette(["cafés"]))
    assert spec["datasets"] == {"rows": rows}
    assert [layer["encoding"]["y"]["sort"] for layer in spec["layer"]] == [["C2", "C1"]] * 3
    points = marks(spec, "point")
    assert [(one["click-through rate"], one["interval from"], one["interval to"]) for one in points] == [
        ("10.00%", "8.00%", "12.50%"),
        ("5.00%", "4.00%", "6.25%"),
    ]
    assert [(one["clicks"], one["views"], one["people"]) for one in points] == [
        ("40", "400", "50"),
        ("10", "200", "50"),
    ]


def test_bars_are_as_long_as_the_figures():
    rows = labelled([world.visited("E2", 1200), world.visited("E1", 90)])
    spec = charts.bars(rows, charts.palette(["cafés"]), "visits", "visits")
    assert [(bar["visits"], bar["stays"], bar["people"]) for bar in marks(spec, "bar")] == [
        ("1,200", "240", "9"),
        ("90", "18", "9"),
    ]


def test_shares_are_stacked_of_clicks_and_views():
    rows = labelled([world.attributed("E1", 90, 9, 36)])
    parts = charts.shares(rows)["datasets"]["parts"]
    assert [(part["through"], part["part"], part["number"]) for part in parts] == [
        ("after a click", 9 / 90, 9),
        ("after a view", 36 / 90, 36),
    ]
    assert sum(part["part"] for part in parts) == pytest.approx(rows[0]["share"])


def test_lift_is_in_percentage_points():
    rows = [{**world.lifted("E1", 0.05, -0.01, 0.09), "label": "E1", "category": "cafés"}]
    (row,) = charts.lifts(rows, charts.palette(["cafés"]))["datasets"]["rows"]
    assert (row["points"], row["from"], row["to"]) == pytest.approx((5, -1, 9))


def test_a_suppressed_hour_is_marked_and_is_no_bar():
    rows = [
        {**row, "peak": row["hour"] == 8, "said": "not published"}
        for row in (world.hour("cafés", 3, None), world.hour("cafés", 8, 40), world.hour("games", 3, 12))
    ]
    spec = charts.hours(rows)
    assert [row["interactions"] for row in spec["datasets"]["rows"]] == [None, 40, 12]
    assert sorted((bar["hour"], bar["interactions"]) for bar in marks(spec, "bar")) == [("3", "12"), ("8", "40")]
    assert [(text["category"], text["figures"]) for text in marks(spec, "text mark")] == [("cafés", "not published")]


def test_a_profile_frames_what_is_preferred():
    looks = [row for row in world.TABLES["interaction_profile"] if row["user_id"] == world.USER]
    goes = world.TABLES["visit_profile"]
    spec = charts.profile(looks, goes)
    assert spec["datasets"]["looks"] == looks
    assert [row["weekday"] for row in spec["datasets"]["goes"]] == ["Tue"]
    cells = marks(spec, "rect mark")
    assert len([cell for cell in cells if cell["preferred"] == "true"]) == 2 * 2  # the cell and its frame
    assert len([cell for cell in cells if cell["preferred"] == "false"]) == 1


def test_a_picture_grows_with_its_bars():
    few, many = (
        size(charts.png(charts.bars(rows, charts.palette(["cafés"]), "visits", "visits"), "Title", "Notes"))
        for rows in (labelled([world.visited(f"E{n}", n + 1) for n in range(count)]) for count in (3, 15))
    )
    assert few[0] > 430 * charts.PNG_SCALE
    assert many[1] - few[1] == 12 * 22 * charts.PNG_SCALE
