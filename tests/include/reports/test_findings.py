import json
from dataclasses import replace
from datetime import date
from functools import cache

import pytest

from include.reports import findings
from include.reports.findings import Tables
from include.reports.tracks import Track
from tests.include.reports import world

PUBLIC = ("campaign_ctr", "establishment_visits", "attribution", "visit_lift", "category_hours", "establishments")
TABLES = Tables(**{name: world.TABLES[name] for name in PUBLIC})


def of(month="all", tables=TABLES):
    return published(month) if tables is TABLES else {one.section: one for one in findings.of_month(tables, month)}


@cache
def published(month):
    return {one.section: one for one in findings.of_month(TABLES, month)}


def shown(finding, data="rows"):
    return finding.chart["datasets"][data]


@pytest.mark.parametrize(
    ("month", "said"), [("2026-07", "July 2026"), ("all", "the whole period"), ("2025-12", "December 2025")]
)
def test_months_as_people_say_them(month, said):
    assert findings.said(month) == said


def test_months_are_those_of_any_table():
    more = replace(TABLES, attribution=[world.attributed("E1", 90, 9, 36, "2025-12")])
    assert more.months == ["all", "2025-12", "2026-07"]
    assert Tables().months == ["all"]


def test_campaigns_are_ranked_as_the_table_says():
    found = of()["ctr"]
    assert [row["campaign_id"] for row in shown(found)] == ["C2", "C1"]
    assert found.title == "Best click-through rate of the whole period: C2 of Farol, 10.0% (40 of 400 views)"
    assert found.table[1] == [
        ("C2", "40", "400", "50", "10.0%", "8.0% to 12.5%"),
        ("C1", "10", "200", "50", "5.0%", "4.0% to 6.2%"),
    ]
    assert "1 campaign of fewer than 5 people left out." in found.notes
    assert "100 views or more" in found.notes


def test_a_month_without_enough_views_says_so():
    found = of("2026-07")["ctr"]
    assert found.empty == found.title == "No campaign has 100 views in July 2026."
    assert (found.chart, found.map, found.pictures) == (None, None, ())


def test_visits_are_ordered_and_the_suppressed_ones_are_counted_only():
    found = of()["visits"]
    assert [(row["establishment_id"], row["visits"]) for row in shown(found)] == [("E2", 120), ("E1", 90)]
    assert found.title == "Most visited in the whole period: Farol, 120 visits (24 stays of 9 people)"
    assert "less than 50 m" in found.notes
    assert "1 establishment of fewer than 5 people left out." in found.notes
    points = found.map["points"]["features"]
    assert [one["properties"]["figure"] for one in points] == [120, 90]
    assert "E3" not in json.dumps([found.chart, found.map])
    assert [picture.name for picture in found.pictures] == ["visits-all", "visits-all-map"]
    assert of("2026-07")["visits"].empty == "No establishment has visits of 5 people in July 2026."


def test_of_equally_visited_establishments_the_first_by_id_comes_first():
    rows = [world.visited(which, 7) for which in ("E3", "E1", "E2")]
    found = of(tables=replace(TABLES, establishment_visits=rows))["visits"]
    assert [row["establishment_id"] for row in shown(found)] == ["E1", "E2", "E3"]


def test_only_so_many_are_shown_and_the_notes_say_of_how_many():
    rows = [world.visited(f"X{number:02}", 100 - number) for number in range(20)]
    found = of(tables=replace(TABLES, establishment_visits=rows))["visits"]
    assert [row["visits"] for row in shown(found)] == list(range(100, 85, -1))
    assert "The first 15 of 20 establishments." in found.notes
    assert found.map is None  # nobody knows where they are


def test_shares_have_a_floor_of_visits():
    rows = [world.attributed("E1", 90, 9, 36), world.attributed("E2", 29, 29, 0), world.attributed("E3", 60, 0, 0)]
    found = of(tables=replace(TABLES, attribution=rows))["attribution"]
    assert [(row["establishment_id"], row["share"]) for row in shown(found)] == [("E1", 0.5)]
    assert [one["properties"]["figure"] for one in found.map["points"]["features"]] == [0.5]
    assert "50.0% (45 of 90 visits)" in found.title
    assert "30 visits or more" in found.notes
    assert "6 hours" in found.notes


def test_lift_is_shown_with_its_interval():
    found = of()["lift"]
    assert [row["establishment_id"] for row in shown(found)] == ["E1", "E2"]
    assert found.title == "Ads brought visits to 1 of 2 establishments in the whole period, by the 95 % interval"
    assert [row[-1] for row in found.table[1]] == ["+5.0 (+1.0 to +9.0)", "+2.0 (-1.0 to +5.0)"]
    assert of("2026-07")["lift"].empty


def test_the_peak_of_each_category():
    found = of()["hours"]
    assert found.title == "When ads are looked at most in the whole period: cafés at 8 h, games at 21 h"
    assert [(row["hour"], row["interactions"], row["peak"]) for row in shown(found)] == [
        (3, None, False),
        (8, 40, True),
        (9, 25, False),
        (21, 60, True),
    ]
    assert "1 hour of fewer than 5 people" in found.notes
    assert of("2026-07")["hours"].empty == "No hour of a category has 5 people in July 2026."


def test_establishments_of_one_name_are_told_apart_and_one_without_has_its_id():
    places = [world.place("E1", "Sol"), world.place("E2", "Sol"), world.place("E3", None)]
    rows = [world.visited(which, 9) for which in ("E1", "E2", "E3", "E4")]
    found = of(tables=replace(TABLES, establishments=places, establishment_visits=rows))["visits"]
    assert [row["label"] for row in shown(found)] == ["Sol (E1)", "Sol (E2)", "E3", "E4"]


def test_nothing_at_all():
    for one in findings.of_month(Tables(), "all"):
        assert one.empty
        assert one.chart is None


def test_what_a_person_prefers():
    looks = [row for row in world.TABLES["interaction_profile"] if row["user_id"] == world.USER]
    found = findings.of_person(world.USER, "all", looks, world.TABLES["visit_profile"], "Person a")
    assert found.title == "Person a in the whole period: 40 interactions with ads, 3 stays"
    rows = {row[0]: tuple(row[1:]) for row in found.table[1]}
    assert rows["morning"] == ("cafés", "75%", "40 ads")
    assert rows["Tue"] == ("cafés", "100%", "3 stays")
    assert rows["night"] == rows["Mon"] == ("–", "–", "–")
    assert list(rows) == ["night", "morning", "afternoon", "evening", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert [picture.name for picture in found.pictures] == [f"profile-{world.USER}-all"]
    july = findings.of_person(world.USER, "2026-07", looks, [], "Person a")
    assert july.pictures == ()
    assert findings.of_person(world.USER, "2026-07", [], [], "Person a").empty


def test_a_track_without_offers_says_so():
    point = {"longitude": -38.5, "latitude": -3.7, "hour": 9.0, "order": 0, "said": "09:00:00"}
    found = findings.of_track(Track(world.USER, date(2026, 7, 14), [point], []), "Person a", TABLES.basemap)
    assert found.title == "Person a on Tue 2026-07-14: nothing was approached"
    assert found.table is None
    assert found.map["points"]["features"][0]["properties"]["said"] == "09:00:00"
