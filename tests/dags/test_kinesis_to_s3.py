"""The clickstream's DAG, run for real: clicks through Kinesis and Firehose to the tables, beside plain arithmetic."""

import gzip
import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from include.streams_lake.publish import REJECTS
from include.streams_lake.streams import CLICKSTREAM
from include.tables import catalog, contract
from tests import clickstream
from tests.athena import query
from tests.clickstream import ELEVEN, STREAM, TEN
from tests.dags import stream_runs
from tests.streams import client

DAG = "kinesis_to_s3"
LAKE = "vitrine-lake"
TABLES = (CLICKSTREAM.bronze, *CLICKSTREAM.refined)
CHECKS = {
    "stream_active",
    "iterator_age",
    "records_delivered",
    "newest_file",
    "poison_count",
    "files_readable",
    "schema_kept",
}


def published():
    """Where each partition of each table is, and what is noted with it."""
    return {name: catalog.partitions(client("glue"), contract.load(name)) for name in (*TABLES, REJECTS)}


def moved(before):
    """Table → the partitions whose files are others than before."""
    now = published()
    changed = {
        name: {of for of, place in places.items() if before[name].get(of) is None or before[name][of][0] != place[0]}
        for name, places in now.items()
    }
    return {name: those for name, those in changed.items() if those}


@pytest.fixture(scope="module")
def at(clicks_sent):
    """When the interval ends in which everything arrived, as the schedule has it."""
    clickstream.clear()
    return stream_runs.after(clicks_sent.arrived)


@pytest.fixture(scope="module")
def first(at, run_dag):
    """The run that finds everything."""
    return run_dag(DAG, at)


class TestARun:
    def test_every_step_succeeds(self, first):
        assert set(first.tasks.values()) == {"success"}, first.tasks
        assert {name.removeprefix("checks.") for name in first.tasks if name.startswith("checks.")} == CHECKS

    def test_what_came_in_was_delivered(self, first, clicks_sent):
        said = first.xcom("checks.records_delivered")
        assert int(said.split()[0]) >= len(clicks_sent.data)
        assert said.split()[0] == said.split()[4], said
        assert f"{clicks_sent.poison} of them poison" in first.xcom("bronze.count_records")

    def test_bronze_has_every_click_once_and_poison_is_quarantined_with_its_reason(self, first, clicks_sent):
        assert query("SELECT count(*), count(DISTINCT event_id) FROM vitrine_bronze.clicks") == [
            (str(len(clicks_sent.clicks)),) * 2
        ]
        reasons = query(f"SELECT reason, row_number FROM vitrine_quarantine.{REJECTS} WHERE bronze = 'clicks'")
        assert len(reasons) == clicks_sent.poison > 0
        assert all(reason and row for reason, row in reasons)

    def test_sessions_are_those_of_the_clicks(self, first, clicks_sent):
        found = query(
            "SELECT custid, device, date_format(window_start, '%Y-%m-%dT%H:%i'), events, first_url, last_url "
            "FROM vitrine_silver.sessions"
        )
        assert sorted(found) == clickstream.sessions(clicks_sent.clicks)

    @pytest.mark.parametrize("seconds", [15, 60])
    def test_visitors_are_the_customers_of_each_page(self, first, clicks_sent, seconds):
        rows = query(
            "SELECT date_format(window_start, '%Y-%m-%d %H:%i:%s'), url, visitors FROM vitrine_silver.visitors "
            f"WHERE window_seconds = {seconds}"
        )
        found = Counter({(start, url): int(visitors) for start, url, visitors in rows})
        assert found == clickstream.visitors(clicks_sent.clicks, seconds)

    def test_sources_and_the_answers_in_gold(self, first, clicks_sent):
        rows = query(
            "SELECT date_format(window_start, '%Y-%m-%d %H:%i'), trafficfrom, events FROM vitrine_silver.sources"
        )
        assert Counter({(start, source): int(events) for start, source, events in rows}) == clickstream.sources(
            clicks_sent.clicks
        )
        devices = query("SELECT device, sum(accesses) FROM vitrine.device_accesses GROUP BY device")
        assert dict(devices) == {
            device: str(count) for device, count in Counter(click["device"] for click in clicks_sent.clicks).items()
        }
        assert query("SELECT sum(events) FROM vitrine.sessions_now") == [(str(len(clicks_sent.clicks)),)]

    def test_rows_add_up(self, first, clicks_sent):
        rows = query("SELECT table_name, rows_in, reconciled FROM vitrine.quality WHERE run LIKE 'clickstream-%'")
        assert {name for name, _, _ in rows} >= {CLICKSTREAM.bronze, *CLICKSTREAM.refined}
        assert {reconciled for *_, reconciled in rows} == {"true"}
        assert {name: count for name, count, _ in rows}[CLICKSTREAM.bronze] == str(len(clicks_sent.data))

    def test_no_candidate_stays(self, first):
        tables = client("glue").get_tables(DatabaseName="vitrine_audit")["TableList"]
        assert [table["Name"] for table in tables if table["Name"].startswith("click_events")] == []


def test_a_rerun_publishes_nothing_new(first, at, run_dag):
    before = published()
    again = run_dag(DAG, at)
    assert again.state == "success"
    assert {again.tasks[name] for name in ("bronze.load", "refined.build", "refined.publish", "view")} == {"skipped"}
    assert published() == before


def test_an_interval_without_data_loads_nothing(first, run_dag):
    before = published()
    quiet = run_dag(DAG, datetime(2026, 3, 9, 11, 10, tzinfo=UTC))
    assert quiet.state == "success"
    assert quiet.xcom("checks.newest_file") == "nothing came in in 2026-03-09T10"
    assert quiet.tasks["bronze.load"] == "skipped"
    assert published() == before


def test_checks_that_fail_say_what_is_wrong_and_nothing_is_loaded(first, clicks_sent, at, run_dag, capfd):
    s3, hour, before = client("s3"), clicks_sent.arrived, published()
    folder, moment = f"dt={hour:%Y-%m-%d}/", f"{hour:%Y-%m-%d-%H}-00-00"
    broken, other = (f"raw/clickstream/{folder}hour={hour:%H}/{name}.gz" for name in ("broken", "other"))
    files = {
        broken: gzip.compress(b'{"custid": 1}\n' * 999)[:30],
        other: gzip.compress(b'{"customer": 1}\n' * 99),
        f"raw-errors/clickstream/processing-failed/{folder}{STREAM}-1-{moment}-a": b'{"errorCode": "x"}\n',
    }
    for key, body in files.items():
        s3.put_object(Bucket=LAKE, Key=key, Body=body)
    try:
        failed = run_dag(DAG, at, poison_share=0.0)
    finally:
        s3.delete_objects(Bucket=LAKE, Delete={"Objects": [{"Key": key} for key in files]})
    states = {name: failed.tasks[f"checks.{name}"] for name in CHECKS}
    assert {name for name, state in states.items() if state != "success"} == {
        "poison_count",
        "files_readable",
        "schema_kept",
    }
    said = capfd.readouterr().out
    assert f"1 records of {hour:%Y-%m-%dT%H} are below raw-errors/clickstream/" in said
    assert f"{broken} is cut off" in said
    assert re.search(
        r"\d+ of \d+ sampled records keep the schema; at most 0.00% may break it: \d+ x trans_timestamp", said
    )
    assert failed.state == "failed"
    assert failed.tasks["bronze.load"] == failed.tasks["refined.publish"] == "upstream_failed"
    assert published() == before


@pytest.mark.long
def test_a_late_click_republishes_its_hour_only(first, at, clicks_sent, run_dag):
    before = published()
    late = {**clicks_sent.late[0], "custid": 999_999, "url": "/later"}
    clickstream.put([late, late, clicks_sent.late[0]])
    clickstream.settle()
    assert run_dag(DAG, at).state == "success"
    changed = moved(before)
    assert changed.keys() >= {"clicks", "click_events", "sessions"}
    assert {of for name, those in changed.items() if name in CLICKSTREAM.refined for of in those} == {
        tuple(TEN.split("T"))
    }
    clicks = [*clicks_sent.clicks, late]
    assert query("SELECT count(*) FROM vitrine_silver.click_events") == [(str(len(clicks)),)]
    assert query("SELECT visitors FROM vitrine_silver.visitors WHERE url = '/later' AND window_seconds = 60") == [
        ("1",)
    ]
    assert query(f"SELECT count(*) FROM vitrine_silver.click_events WHERE hour = '{ELEVEN[-2:]}'") != [("0",)]
