"""From raw files to published hours: whatever arrives, however late or often, each hour is what the core says."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from include.streams import rules
from include.streams.encoding import canonical
from include.streams_lake import publish, raw
from include.streams_lake.publish import PublishError
from include.streams_lake.streams import CLICKSTREAM, ORDERS, WEB_LOGS
from include.tables import catalog, contract
from local.data import clickstream, order_lines
from tests.clicks import brute_force, fields

START = datetime(2026, 3, 1, 10, 58, tzinfo=UTC)
TEN, ELEVEN, TWELVE, ONE = "2026-03-01T10", "2026-03-01T11", "2026-03-01T12", "2026-03-01T13"


@pytest.fixture
def clicks():
    """Four minutes around eleven o'clock."""
    return list(islice(clickstream.clicks(5, 0, START, timedelta(milliseconds=400)), 600))


def parsed(clicks):
    return [rules.parse_click(canonical(click)) for click in clicks]


def published_sessions(query):
    columns = ("session_id", "events", "first_url", "last_url", "duration")
    return query(f"SELECT {', '.join(columns)} FROM vitrine_silver.sessions ORDER BY session_id")


def expected_sessions(clicks):
    made = brute_force("sessions", parsed(clicks)).select("session_id", "events", "first_url", "last_url", "duration")
    return [tuple(map(str, row)) for row in made.sort("session_id").iter_rows()]


def test_hours_are_published_as_the_core_has_them(lake, query, clicks):
    rng = random.Random(1)
    poison = [b"{", b"", b"\xff", canonical({**clicks[0], "device": "toaster"})]
    first = [*clicks[:400], *rng.sample(clicks[:400], 50), *poison]
    rng.shuffle(first)
    lake.deliver(CLICKSTREAM, TEN, "a", first)
    lake.deliver(CLICKSTREAM, ELEVEN, "b", [*clicks[350:], *clicks[:20]])
    run = lake.run(CLICKSTREAM, TEN, TWELVE, check=True)
    assert run.arrived == [TEN, ELEVEN]
    assert run.snapshot.hours == [TEN, ELEVEN]
    ten, eleven = run.loaded["hours"]
    assert (ten["rows_in"], ten["rows"], ten["duplicates"], ten["rejected"]) == (454, 400, 50, 4)
    assert ten["reasons"] == {"device": 1, "record": 3}
    assert (eleven["rows"], eleven["event_hours"]) == (270, {TEN: 20, ELEVEN: 250})
    assert (run.refined["rows_in"], run.refined["duplicates"]) == (670, 70)
    assert published_sessions(query) == expected_sessions(clicks)
    assert query("SELECT count(*), sum(events) FROM vitrine_silver.sources")[0][1] == "600"
    reasons = query("SELECT bronze, field, record FROM vitrine_quarantine.stream_rejects ORDER BY field, record")
    assert [row[:2] for row in reasons] == [("clicks", "device"), *[("clicks", "record")] * 3]
    assert {row[2] for row in reasons[1:]} == {"{", "", "\\xff"}


def test_a_run_again_does_nothing_and_a_rebuild_changes_no_byte(lake, clicks):
    lake.deliver(CLICKSTREAM, TEN, "a", clicks[:200])
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    again = lake.run(CLICKSTREAM, TEN, ELEVEN)
    assert (again.arrived, again.snapshot.hours) == ([], [])
    rebuilt = lake.run(CLICKSTREAM, TEN, ELEVEN, rebuild=[TEN])
    assert rebuilt.snapshot.hours == [TEN]
    assert set(rebuilt.changed) == set(CLICKSTREAM.refined)
    assert not any(rebuilt.changed.values())


def test_a_late_file_republishes_just_the_hours_it_touches(lake, query, clicks):
    lake.deliver(CLICKSTREAM, TEN, "a", [click for click in clicks[:300] if click["touchproduct"] != 7])
    lake.deliver(CLICKSTREAM, ELEVEN, "b", clicks[300:])
    lake.run(CLICKSTREAM, TEN, TWELVE)
    before = catalog.partitions(lake.glue, contract.load("sessions"))
    late = [fields("2026-03-01T10:59:59.999999", custid=77, url="/late")]
    lake.deliver(CLICKSTREAM, TWELVE, "c", [*late, *clicks[300:310]])
    run = lake.run(CLICKSTREAM, TEN, ONE)
    assert run.arrived == [TWELVE]
    assert run.snapshot.hours == [TEN, ELEVEN], "of eleven's clicks, ten came again: its bronze is another"
    assert run.changed["sessions"] == [TEN], "and its rows are the same"
    after = catalog.partitions(lake.glue, contract.load("sessions"))
    assert after[("2026-03-01", "11")].location == before[("2026-03-01", "11")].location
    assert query("SELECT events FROM vitrine_silver.sessions WHERE custid = 77") == [("1",)]


def test_a_file_that_comes_after_its_hour_was_loaded(lake, query, clicks):
    lake.deliver(CLICKSTREAM, TEN, "a", clicks[:100])
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    lake.deliver(CLICKSTREAM, TEN, "b", clicks[100:200])
    run = lake.run(CLICKSTREAM, TEN, ELEVEN)
    assert (run.arrived, run.snapshot.hours) == ([TEN], [TEN])
    assert published_sessions(query) == expected_sessions(clicks[:200])


def test_an_hour_that_is_not_over_waits(lake, query, clicks):
    lake.deliver(CLICKSTREAM, TEN, "a", clicks[:400])
    run = lake.run(CLICKSTREAM, TEN, ELEVEN)
    assert (run.snapshot.hours, run.snapshot.rows, run.snapshot.waiting) == ([TEN], 300, 100)
    assert query("SELECT DISTINCT hour FROM vitrine_silver.sessions") == [("10",)]
    run = lake.run(CLICKSTREAM, ELEVEN, TWELVE)
    assert (run.arrived, run.snapshot.hours) == ([], [ELEVEN])
    assert published_sessions(query) == expected_sessions(clicks[:400])


def test_of_two_runs_at_once_the_one_that_saw_more_publishes(lake, query, clicks):
    lake.deliver(CLICKSTREAM, TEN, "a", clicks[:100])
    slow = lake.load(CLICKSTREAM, TEN, ELEVEN)
    snapshot = publish.snapshot(lake.glue, CLICKSTREAM, ELEVEN)
    refined = lake.refine(CLICKSTREAM, snapshot)
    lake.deliver(CLICKSTREAM, TEN, "b", clicks[100:200])
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    assert slow.arrived == [TEN]
    changed = publish.publish_refined(lake.s3, lake.glue, "lake-of-the-streams", CLICKSTREAM, refined, snapshot.digests)
    assert not any(changed.values())
    fewer = {TEN: raw.listing(lake.s3, "lake-of-the-streams", "clickstream", TEN, ELEVEN)[TEN][:1]}
    assert (
        publish.publish_bronze(lake.s3, lake.glue, "lake-of-the-streams", CLICKSTREAM, "fewer", slow.loaded, fewer)
        == []
    )
    assert published_sessions(query) == expected_sessions(clicks[:200])


def test_a_raw_file_that_is_gone_stops_the_publication(lake, clicks):
    gone = lake.deliver(CLICKSTREAM, TEN, "a", clicks[:10])
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    lake.s3.delete_object(Bucket="lake-of-the-streams", Key=gone)
    lake.deliver(CLICKSTREAM, TEN, "b", clicks[10:20])
    with pytest.raises(PublishError, match=r"a\.gz, which arrived once and is gone: put it back"):
        lake.load(CLICKSTREAM, TEN, ELEVEN)


def test_a_broken_file_is_told_and_the_rest_is_loaded(lake, query, clicks):
    key = lake.deliver(CLICKSTREAM, TEN, "a", clicks[:100])
    body = lake.s3.get_object(Bucket="lake-of-the-streams", Key=key)["Body"].read()
    lake.s3.put_object(Bucket="lake-of-the-streams", Key=key, Body=body[: len(body) // 2])
    lake.deliver(CLICKSTREAM, TEN, "b", clicks[100:110])
    (hour,) = lake.run(CLICKSTREAM, TEN, ELEVEN).loaded["hours"]
    assert hour["reasons"]["file"] == 1
    assert 10 < hour["rows"] < 110
    assert query("SELECT count(*) FROM vitrine_quarantine.stream_rejects WHERE field = 'file'") == [("1",)]


def test_alarms_are_those_of_the_rule_across_the_hour(lake, query):
    def orders(moment, number, first):
        line = next(order_lines.lines(1, 0, START, timedelta(seconds=1)))
        return [
            {
                **line,
                "InvoiceNo": str(first + n),
                "LineNo": "1",
                "EventTime": rules.iso(rules.micros(moment) + n * 1000),
            }
            for n in range(number)
        ]

    edge = orders("2026-03-01T10:59:59.990000", 11, 100)  # the eleventh is of eleven o'clock, sharp
    lake.deliver(ORDERS, TEN, "a", edge[:10])
    lake.deliver(ORDERS, ELEVEN, "b", [*edge[10:], *edge[:3], *orders("2026-03-01T11:00:30", 20, 200)])
    run = lake.run(ORDERS, TEN, TWELVE, check=True)
    assert run.snapshot.hours == [TEN, ELEVEN]
    alarms = query("SELECT hour, alarm_at, counted FROM vitrine.order_alarms ORDER BY alarm_at")
    assert alarms == [("11", "2026-03-01 11:00:00.000", "11")], "half a minute later it was cooling down"
    # One more before the hour: the alarm is raised before it, and eleven's is within its cooldown.
    lake.deliver(ORDERS, TWELVE, "c", orders("2026-03-01T10:59:59.995500", 1, 999))
    run = lake.run(ORDERS, TEN, ONE)
    assert run.snapshot.hours == [TEN, ELEVEN], "eleven's alarms depend on ten's"
    alarms = query("SELECT hour, alarm_at, counted FROM vitrine.order_alarms ORDER BY alarm_at")
    assert alarms == [("10", "2026-03-01 10:59:59.999", "11")]
    assert query("SELECT count(*) FROM vitrine_silver.order_lines") == [("32",)]


def test_web_logs_count_equal_requests(lake, query):
    line = b'1.2.3.4 - - [01/Mar/2026:10:00:00 +0000] "GET /a?b=1 HTTP/1.1" %d 100 "-" "-"'
    lines = [line % 200, line % 200, line % 404, line % 500, b"no line", line.replace(b"100", b"-") % 304]
    lake.deliver(WEB_LOGS, TEN, "a", lines)
    run = lake.run(WEB_LOGS, TEN, ELEVEN, check=True)
    assert run.loaded["hours"][0]["rejected"] == 1
    statuses = query("SELECT status, requests, bytes, clients FROM vitrine.status_requests ORDER BY status")
    assert statuses == [
        ("200", "2", "200", "1"),
        ("304", "1", "0", "1"),
        ("404", "1", "100", "1"),
        ("500", "1", "100", "1"),
    ]
    assert query("SELECT path, requests, errors, bytes FROM vitrine.page_requests") == [("/a", "5", "2", "400")]
