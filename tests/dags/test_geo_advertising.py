"""The geo lake's DAG, run for real on the local stack, beside plain arithmetic on the files that were delivered."""

import hmac
import math
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import boto3
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.geo.tables import ANALYSED, PUBLISHED, VISITS
from include.tables import contract
from local import geo
from local.aws import settings
from local.data import city
from local.stack import running
from tests.athena import query
from tests.geo_lake import LAKE, PREFIXES, clear

DAG = "geo_advertising"
TABLES = (*VISITS, *ANALYSED)
FIRST, DAYS = date(2026, 7, 27), 10
AGAIN, BROKEN_DAY = "2026-09-02", "2026-09-03"
ZONE_HOURS = 3  # Fortaleza is so far behind UTC, without summer time
MONTHS = ("2026-07", "2026-08")
FLOOR = 5
QUALITY = "FROM vitrine.quality WHERE run LIKE 'geo-%'"
SEEN = ("campaign_id", "ad_id", "establishment_id", "category", "action", "moment")
WRONG_LOCATIONS = {
    "user_id is missing": {"user_id": None},
    "latitude is not from -90 to 90": {"latitude": 90.01},
    "longitude is not from -180 to 180": {"longitude": math.nan},
    "moment is missing": {"moment": None},
    "moment is after the delivery": {"moment": datetime(2026, 9, 5, 0, 0, 1)},
    "moment is more than 400 days before the delivery": {"moment": datetime(2025, 7, 1)},
    "user_id is missing; latitude is not from -90 to 90": {"user_id": " ", "latitude": None},
}
WRONG_INTERACTIONS = {
    "action is not view or click": {"action": "hover"},
    "establishment_id is unknown": {"establishment_id": "E99999"},
    "ad_id is missing": {"ad_id": None},
}


def changed(row: dict, count: int, **values) -> list[dict]:
    return [{**row, **values}] * count


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A city of few days on both sides of a month's end, with people on some of the days only."""
    folder = tmp_path_factory.mktemp("city")
    return city.generate(folder, 0.012, seed=3, start=FIRST, days=DAYS, establishments=100)


@pytest.fixture(scope="module")
def tables(made):
    return {table: pl.read_parquet(made.file(table)) for table in city.TABLES}


def land(stack, made, tables) -> None:
    """The city by month; a day of it again, twice; and every fault that we know."""
    clear()
    settings.use(settings.Settings(stack.state, running(stack.state).port))
    geo.land(made.directory, "month")
    for table in ("locations", "interactions"):
        some = tables[table].head(200)
        geo.put(f"landing/geo/2026-08-01/{table}_again.parquet", geo.parquet(some))
        geo.put(f"landing/geo/{AGAIN}/{table}.parquet", geo.parquet(some))
    for table, faults in (("locations", WRONG_LOCATIONS), ("interactions", WRONG_INTERACTIONS)):
        row = tables[table].filter("consent").row(0, named=True)
        # Of a day within what is plausible for the delivery.
        rows = [one for number, fault in enumerate(faults.values(), 1) for one in changed(row, number, **fault)]
        wrong = pl.DataFrame(rows, tables[table].schema)
        geo.put(f"landing/geo/{BROKEN_DAY}/{table}-wrong.parquet", geo.parquet(wrong))
        unasked = wrong.with_columns(consent=pl.Series([None, *[False] * (wrong.height - 1)]))
        geo.put(f"landing/geo/{BROKEN_DAY}/{table}-unasked.parquet", geo.parquet(unasked))
    whole = geo.parquet(tables["locations"])
    geo.put(f"landing/geo/{BROKEN_DAY}/locations-cut.parquet", whole[: len(whole) // 2])
    geo.put(f"landing/geo/{BROKEN_DAY}/locations-typed.parquet", geo.parquet(tables["locations"].cast({"moment": str})))
    geo.put(f"landing/geo/{BROKEN_DAY}/interactions.parquet", geo.parquet(tables["interactions"].drop("action")))
    geo.put(f"landing/geo/{BROKEN_DAY}/readme.txt", b"hello")


@pytest.fixture(scope="module")
def outcome(stack, made, tables, run_dag):
    land(stack, made, tables)
    outcome = run_dag(DAG, load_date="2026-09-30")
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    return outcome


@pytest.fixture(scope="module")
def lake(stack, outcome) -> dict[str, pl.DataFrame]:
    return published_rows(stack)


def published(*names: str) -> dict[tuple[str, str], str]:
    """Where each month of the tables points."""
    glue = boto3.client("glue")
    found = {}
    for name in names or TABLES:
        pages = glue.get_paginator("get_partitions").paginate(DatabaseName=contract.load(name).database, TableName=name)
        for part in (part for page in pages for part in page["Partitions"]):
            found[name, part["Values"][0]] = part["StorageDescriptor"]["Location"]
    return found


def published_rows(stack) -> dict[str, pl.DataFrame]:
    rows = defaultdict(list)
    for (name, _), location in published().items():
        folder = stack.state / "s3" / location.removeprefix("s3://")
        rows[name].append(pl.read_parquet(folder / "*.parquet", hive_partitioning=False))
    return {name: pl.concat(parts) for name, parts in rows.items()}


@pytest.fixture(scope="module")
def named():
    """From an id to its pseudonym, by the salt that the template made."""
    salt = boto3.client("secretsmanager").get_secret_value(SecretId="vitrine/geo-salt")["SecretString"].encode()
    return cache(lambda user: hmac.new(salt, user.encode(), "sha256").hexdigest()[:32])


@pytest.fixture(scope="module")
def expected(tables, named):
    """The figures, counted row by row."""
    locations, interactions = (tables[table].filter("consent") for table in ("locations", "interactions"))
    places = tables["establishments"]
    latitude, longitude = (np.radians(locations[name].to_numpy())[:, None] for name in ("latitude", "longitude"))
    place_latitude, place_longitude = (
        np.radians(places[name].to_numpy())[None, :] for name in ("latitude", "longitude")
    )
    haversine = (
        np.sin((latitude - place_latitude) / 2) ** 2
        + np.cos(latitude) * np.cos(place_latitude) * np.sin((longitude - place_longitude) / 2) ** 2
    )
    metres = 2 * 6_371_008.8 * np.arcsin(np.sqrt(haversine))
    visits = []
    for record, place in zip(*np.nonzero(metres < 50), strict=True):
        user, moment = named(locations["user_id"][int(record)]), locations["moment"][int(record)]
        at = places.row(int(place), named=True)
        visits.append((user, at["establishment_id"], at["category"], moment, float(metres[record, place])))
    seen = [(named(row["user_id"]), *(row[name] for name in SEEN)) for row in interactions.iter_rows(named=True)]
    days = {(named(user), local(moment).date()) for user, moment in locations.select("user_id", "moment").rows()}
    return SimpleNamespace(visits=sorted(visits), seen=sorted(seen), days=days)


def local(moment: datetime) -> datetime:
    return moment - timedelta(hours=ZONE_HOURS)


def months_of(moment: datetime) -> tuple[str, str]:
    return f"{local(moment):%Y-%m}", "all"


def cells(table: pl.DataFrame, *key: str) -> dict:
    """The rows of a table by key and month."""
    rows = {tuple(row[name] for name in (*key, "month")): row for row in table.iter_rows(named=True)}
    assert len(rows) == table.height
    return rows


def assert_cells(rows: dict, counted: dict, people: dict, figures: tuple[str, ...]) -> None:
    """Whole counts in cells of five people or more, nothing in smaller ones; both kinds there."""
    assert rows.keys() == counted.keys()
    small = {key for key, those in people.items() if len(those) < FLOOR}
    assert 0 < len(small) < len(rows)
    for key, row in rows.items():
        assert row["suppressed"] == (key in small), key
        if key in small:
            assert {row[name] for name in (*figures, "people")} == {None}, row
        else:
            assert tuple(row[name] for name in figures) == counted[key], key
            assert row["people"] == len(people[key]), key


def test_visits_are_records_less_than_50_m_away(lake, expected):
    found = sorted(lake["visits"].drop("month").rows())
    assert [row[:4] for row in found] == [row[:4] for row in expected.visits]
    assert max(abs(row[4] - other[4]) for row, other in zip(found, expected.visits, strict=True)) < 1e-6
    assert set(lake["visits"]["month"]) == set(MONTHS)
    days = {(user, day.date()) for user, day in lake["active_days"].select("user_id", "day").rows()}
    assert days == expected.days


def test_visits_and_stays_of_establishments(lake, expected):
    counted, people, ways = defaultdict(lambda: [0, 0]), defaultdict(set), defaultdict(list)
    for user, place, category, moment, _ in expected.visits:
        ways[user, place, category].append(moment)
        for month in months_of(moment):
            counted[place, category, month][0] += 1
            people[place, category, month].add(user)
    for (user, place, category), moments in ways.items():
        before = None
        for moment in sorted(moments):
            if before is None or moment - before > timedelta(minutes=10):
                for month in months_of(moment):
                    counted[place, category, month][1] += 1
                    people[place, category, month].add(user)
            before = moment
    rows = cells(lake["establishment_visits"], "establishment_id", "category")
    assert_cells(rows, {key: tuple(value) for key, value in counted.items()}, people, ("visits", "stays"))


def test_views_and_clicks_of_campaigns(lake, expected):
    counted, people = defaultdict(lambda: [0, 0]), defaultdict(set)
    for user, campaign, _, place, category, action, moment in expected.seen:
        for month in months_of(moment):
            counted[campaign, place, category, month][action == "click"] += 1
            people[campaign, place, category, month].add(user)
    rows = cells(lake["campaign_ctr"], "campaign_id", "establishment_id", "category")
    assert_cells(rows, {key: tuple(value) for key, value in counted.items()}, people, ("views", "clicks"))
    told = [row for row in rows.values() if row["ctr"] is not None]
    assert told
    assert all(row["ctr"] == row["clicks"] / row["views"] and row["low"] <= row["ctr"] <= row["high"] for row in told)


def test_attribution_is_of_the_last_touch_within_six_hours(lake, expected):
    touches = defaultdict(list)
    for user, campaign, ad, place, _, action, moment in expected.seen:
        # Of equal moments a click wins, then the ad that sorts first.
        touches[user, place].append((moment, action == "click", [-ord(letter) for letter in ad], ad, campaign, action))
    attributed, counted, people = [], defaultdict(lambda: [0, 0, 0]), defaultdict(set)
    for user, place, category, moment, _ in expected.visits:
        window = [one for one in touches[user, place] if moment - timedelta(hours=6) <= one[0] <= moment]
        last = max(window, default=None)
        told = (last[0], last[4], last[3], last[5]) if last else (None,) * 4
        attributed.append((user, place, category, moment, *told, months_of(moment)[0]))
        for month in months_of(moment):
            counted[place, category, month][0] += 1
            people[place, category, month].add(user)
            if last:
                counted[place, category, month][1 if last[5] == "click" else 2] += 1
    assert sum(row[4] is not None for row in attributed) > 20
    assert sorted(lake["attributed_visits"].rows(), key=str) == sorted(attributed, key=str)
    rows = cells(lake["attribution"], "establishment_id", "category")
    whole = {key: tuple(value) for key, value in counted.items()}
    assert_cells(rows, whole, people, ("visits", "click_through", "view_through"))
    for row in (row for row in rows.values() if not row["suppressed"]):
        assert row["attributed"] == row["click_through"] + row["view_through"]
        assert row["share"] == row["attributed"] / row["visits"]


def test_lift_compares_exposed_days_with_others(lake, expected):
    exposed, visited = defaultdict(set), defaultdict(set)
    for user, _, _, place, _, _, moment in expected.seen:
        if (user, local(moment).date()) in expected.days:
            exposed[place].add((user, local(moment).date()))
    for user, place, _, moment, _ in expected.visits:
        visited[place].add((user, local(moment).date()))

    def within(days: set, month: str) -> set:
        return days if month == "all" else {one for one in days if f"{one[1]:%Y-%m}" == month}

    counted, people = {}, {}
    for place, days in exposed.items():
        for month in (*MONTHS, "all"):
            shown, others = within(days, month), within(expected.days - days, month)
            if shown:
                people[place, month] = min(({user for user, _ in days} for days in (shown, others)), key=len)
                counted[place, month] = tuple(
                    map(len, (shown, shown & visited[place], others, others & visited[place]))
                )
    figures = ("exposed", "exposed_visited", "unexposed", "unexposed_visited")
    rows = cells(lake["visit_lift"], "establishment_id")
    assert_cells(rows, counted, people, figures)
    for key, row in rows.items():
        if not row["suppressed"]:
            shown, shown_visited, others, others_visited = counted[key]
            assert row["lift"] == pytest.approx(shown_visited / shown - others_visited / others)
            assert row["low"] <= row["lift"] <= row["high"]


def test_hours_of_categories(lake, expected):
    counted, people = defaultdict(lambda: [0, 0, 0]), defaultdict(set)
    for user, _, _, _, category, action, moment in expected.seen:
        for month in months_of(moment):
            key = category, local(moment).hour, month
            counted[key][0] += 1
            counted[key][2 if action == "click" else 1] += 1
            people[key].add(user)
    rows = cells(lake["category_hours"], "category", "hour")
    whole = {key: tuple(value) for key, value in counted.items()}
    assert_cells(rows, whole, people, ("interactions", "views", "clicks"))


def assert_profile(table: pl.DataFrame, counted: dict[tuple, Counter], cell: str, count: str) -> None:
    found = defaultdict(dict)
    for row in table.iter_rows(named=True):
        found[row["user_id"], row["month"], row[cell]][row["category"]] = row
    assert found.keys() == counted.keys()
    for key, categories in found.items():
        assert {name: row[count] for name, row in categories.items()} == counted[key]
        most = max(counted[key].values())
        first = min(name for name, number in counted[key].items() if number == most)
        assert {name for name, row in categories.items() if row["preferred"]} == {first}
        assert sum(row["share"] for row in categories.values()) == pytest.approx(1)


def test_profiles_of_people(lake, expected):
    by_period, by_weekday, ways = defaultdict(Counter), defaultdict(Counter), defaultdict(list)
    periods = ("night", "morning", "afternoon", "evening")
    for user, _, _, _, category, _, moment in expected.seen:
        for month in months_of(moment):
            by_period[user, month, periods[local(moment).hour // 6]][category] += 1
    for user, place, category, moment, _ in expected.visits:
        ways[user, place, category].append(moment)
    for (user, _, category), moments in ways.items():
        before = None
        for moment in sorted(moments):
            if before is None or moment - before > timedelta(minutes=10):
                for month in months_of(moment):
                    by_weekday[user, month, local(moment).isoweekday()][category] += 1
            before = moment
    assert_profile(lake["interaction_profile"], by_period, "period", "interactions")
    assert_profile(lake["visit_profile"], by_weekday, "weekday", "visits")


def test_bad_rows_are_in_quarantine_with_their_reason(outcome):
    rows = query("SELECT table_name, reason, count(*) FROM vitrine_quarantine.geo_rejects GROUP BY table_name, reason")
    wrong = {"location_records": WRONG_LOCATIONS, "ad_interactions": WRONG_INTERACTIONS}
    assert {(table, reason): int(count) for table, reason, count in rows} == {
        (table, reason): number for table, faults in wrong.items() for number, reason in enumerate(faults, 1)
    }


def test_files_that_cannot_be_loaded_say_why(outcome):
    rows = query("SELECT source_file, reason FROM vitrine.geo_deliveries WHERE status = 'quarantined'")
    reasons = {Path(file).name: reason for file, reason in rows}
    assert reasons == {
        "locations-cut.parquet": "it is no Parquet file, or cut off",
        "locations-typed.parquet": "moment is large_string, it must be timestamp[us]",
        "interactions.parquet": reasons["interactions.parquet"],
        "readme.txt": "the file's name is that of no table",
    }
    assert reasons["interactions.parquet"].startswith("it has no column action, only user_id, ")


def test_every_row_is_accounted_for(outcome, tables):
    rows = {row[0]: row[1:] for row in query(f"SELECT table_name, rows_in, rows_out, rejected {QUALITY}")}
    assert {row[0] for row in query(f"SELECT DISTINCT reconciled {QUALITY}")} == {"true"}
    for table, source, faults in (
        ("location_records", "locations", WRONG_LOCATIONS),
        ("ad_interactions", "interactions", WRONG_INTERACTIONS),
    ):
        wrong = sum(range(len(faults) + 1))
        # 200 rows came with the first delivery again, and once more with one of their own.
        again = tables[source].head(200)
        kept = tables[source].filter("consent").height + again.filter("consent").height
        delivered = tables[source].height + 2 * again.height + 2 * wrong
        assert tuple(map(int, rows[table])) == (delivered, kept, wrong)
        counted = query(f"SELECT count(*), sum(copies) FROM vitrine_bronze.{table}")
        assert counted == [(str(kept), str(kept + again.filter("consent").height))]


def test_nobody_is_known_by_name_and_who_refused_is_nowhere(stack, outcome, tables, named):
    users = set(tables["locations"]["user_id"]) | set(tables["interactions"]["user_id"])
    refusing = set(tables["locations"].filter(~pl.col("consent"))["user_id"])
    assert len(refusing) > 3
    forbidden = users | {named(user) for user in refusing}
    lake, seen = stack.state / "s3" / LAKE, set()
    files = [file for prefix in PREFIXES for file in (lake / prefix).rglob("*") if file.is_file()]
    for file in files:
        if file.suffix == ".parquet":
            rows = pl.read_parquet(file, hive_partitioning=False)
            seen |= set(rows["user_id"]) if "user_id" in rows.columns else set()
            texts = {text for column in rows.iter_columns() if column.dtype == pl.String for text in column.unique()}
            assert not texts & forbidden, file
        else:
            content = file.read_bytes()
            assert not [user for user in forbidden if user.encode() in content], file
    assert {named(user) for user in users - refusing} <= seen


def test_what_follows_has_been_made_of_what_was_published(outcome):
    s3 = boto3.client("s3")
    pages = s3.list_objects_v2(Bucket=LAKE, Prefix="reports/geo_advertising/")["Contents"]
    assert any(page["Key"].endswith("index.html") for page in pages)
    assert s3.head_object(Bucket=LAKE, Key="reference/establishments.jsonl.gz")["ContentLength"] > 0
    assert boto3.client("glue").get_tables(DatabaseName="vitrine_audit")["TableList"] == []


def test_with_nothing_new_a_run_ends_at_once(outcome, run_dag):
    before = published()
    again = run_dag(DAG, load_date="2026-09-30")
    assert again.state == "success"
    assert {task for task, state in again.tasks.items() if state == "success"} == {
        "plan",
        "has_landed",
        "drop_candidates",
    }
    assert published() == before


@pytest.mark.long
@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_every_engine_makes_the_same(stack, lake, made, tables, run_dag, engine):
    land(stack, made, tables)
    outcome = run_dag(DAG, load_date="2026-09-30", engine=engine)
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    for name, rows in published_rows(stack).items():
        keys = [column for column, dtype in lake[name].schema.items() if dtype != pl.Float64]
        expected = lake[name].sort(keys)
        assert_frame_equal(rows.select(expected.columns).sort(keys), expected, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.long
class TestLater:
    """What comes after the first run."""

    @pytest.fixture(scope="class")
    def outcome(self, stack, made, tables, run_dag):
        """A first run of its own, for others clear the lake."""
        land(stack, made, tables)
        return run_dag(DAG, load_date="2026-09-30")

    def test_building_again_publishes_nothing_new(self, outcome, run_dag):
        before = published()
        again = run_dag(DAG, load_date="2026-09-30", rebuild=True)
        assert again.tasks["analyses.publish"] == "success"
        assert published() == before

    def test_a_late_file_changes_its_month_and_the_whole(self, stack, outcome, run_dag, tables):
        before, others = published(), published_rows(stack)["visits"].filter(month="2026-08")
        place = tables["establishments"].row(0, named=True)
        record = tables["locations"].filter("consent").row(0, named=True)
        late = {**record, **{name: place[name] for name in ("latitude", "longitude")}}
        geo.put(
            "landing/geo/2026-09-04/locations.parquet", geo.parquet(pl.DataFrame([late], tables["locations"].schema))
        )
        assert run_dag(DAG, load_date="2026-09-30").state == "success"
        moved = {key for key, where in published().items() if before.get(key) != where}
        assert {month for _, month in moved} == {"2026-07", "all"}
        assert {name for name, _ in moved} <= {*VISITS, *ANALYSED} - {"campaign_ctr", "category_hours"}
        rows = published_rows(stack)["visits"]
        assert rows.filter(month="2026-08").sort(pl.all()).equals(others.sort(pl.all()))
        at = (pl.col("moment") == late["moment"]) & (pl.col("establishment_id") == place["establishment_id"])
        assert rows.filter(at)["distance_m"].to_list() == [0.0]

    def test_a_shop_that_is_told_of_later_gets_its_interactions(self, outcome, run_dag, tables):
        known = tables["establishments"]
        new = known.head(1).with_columns(establishment_id=pl.lit("E99999"))
        geo.put("landing/geo/2026-09-05/establishments.parquet", geo.parquet(pl.concat([known, new])))
        assert run_dag(DAG, load_date="2026-09-30").state == "success"
        unknown = "SELECT count(*) FROM vitrine_quarantine.geo_rejects WHERE reason = 'establishment_id is unknown'"
        assert query(unknown) == [("0",)]
        sql = "SELECT count(*) FROM vitrine_bronze.ad_interactions WHERE establishment_id = 'E99999'"
        assert query(sql) == [("1",)]


@pytest.mark.long
def test_what_was_planted_is_found(stack, run_dag, tmp_path):
    """Rates within their intervals, lift where ads work and only there."""
    made = city.generate(tmp_path, 0.3, seed=5)
    clear()
    settings.use(settings.Settings(stack.state, running(stack.state).port))
    geo.land(made.directory, "month")
    assert run_dag(DAG, load_date="2026-12-31").state == "success"
    found = published_rows(stack)
    planted = pl.DataFrame(made.truth["campaigns"])
    rates = found["campaign_ctr"].filter(month="all").join(planted, on="campaign_id", suffix="_planted")
    within = rates.select((pl.col("ctr_planted") >= pl.col("low")) & (pl.col("ctr_planted") <= pl.col("high")))
    assert rates.height == planted.height
    assert within.to_series().sum() >= rates.height - 3
    lift = found["visit_lift"].filter(month="all").join(planted, on="establishment_id")
    works = pl.col("effect") > 0
    assert (lift.filter(works)["low"] > 0).all()
    assert (lift.filter(~works)["low"] > 0).sum() <= 1
    assert {name for name, _ in published(*PUBLISHED)} == set(PUBLISHED)
