"""The handlers of the click-stream, from records to rows."""

import random
import time
from itertools import islice

import pytest

from include.streams import aws, sessions, state_items, visitors
from include.streams.items import Items
from include.streams.rules import ALLOWED_LATENESS, SESSIONS, SOURCES_1M, VISITORS_1M, VISITORS_15S, micros, parse_click
from include.streams.state import States
from include.streams.windows import MINUTE
from local.data.clickstream import clicks as generated
from local.producer import poison
from tests.streams import ARRIVED, Context, contents, encoded, event, failures, throttle

TEN = micros("2026-03-01T10:00:00")


@pytest.fixture
def clicks():
    """Records of 400 clicks within two minutes and a half."""
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    return encoded(islice(generated(3, 0, start, timedelta(seconds=0.37)), 400))


def rows(table, rule):
    stored = States(Items(aws.client("dynamodb"), table, state_items.KEYS, time.monotonic() + 120), "")
    return [row for start in range(TEN, TEN + 4 * MINUTE, rule.assigner.size) for row in stored.rows(rule, start)]


def session_rows(clicks):
    """Sessions by brute force: the clicks of each minute, customer and device, each once."""
    groups = {}
    for one in {parse_click(record) for record in clicks}:
        groups.setdefault((one.time // MINUTE * MINUTE, one.custid, one.device), []).append(one)
    found = []
    for (start, custid, device), group in groups.items():
        group.sort(key=lambda one: (one.time, one.identity))
        found.append((start, custid, device, len(group), group[0].url, group[-1].url, group[0].time, group[-1].time))
    return sorted(found)


def visitor_rows(clicks, size):
    groups = {}
    for one in map(parse_click, clicks):
        groups.setdefault((one.time // size * size, one.url), set()).add(one.custid)
    return sorted((*key, len(group)) for key, group in groups.items())


def source_rows(clicks):
    groups = {}
    for one in map(parse_click, clicks):
        groups.setdefault((one.time // MINUTE * MINUTE, one.trafficfrom), set()).add(one.identity)
    return sorted((*key, len(group)) for key, group in groups.items())


def columns(rows, *names):
    return sorted(tuple(row[name] for name in names) for row in rows)


def assert_are_those_of_a_batch(table, clicks):
    names = ("window_start", "custid", "device", "events", "first_url", "last_url", "begin", "end")
    assert columns(rows(table, SESSIONS), *names) == session_rows(clicks)
    for rule in (VISITORS_15S, VISITORS_1M):
        found = columns(rows(table, rule), "window_start", "url", "visitors")
        assert found == visitor_rows(clicks, rule.assigner.size)
    assert columns(rows(table, SOURCES_1M), "window_start", "trafficfrom", "events") == source_rows(clicks)


def handled(records, size=150):
    for first in range(0, len(records), size):
        batch = event(records[first : first + size], first=1000 + first)
        for handler in (sessions.handler, visitors.handler):
            assert failures(handler(batch, Context(120))) == []


def test_shuffled_doubled_and_poisoned_clicks_come_to_the_rows_of_a_batch(windows_table, quarantined, clicks):
    rng = random.Random(6)
    sent = [*clicks, *clicks]
    sent.sort(key=lambda record: parse_click(record).time + rng.randrange(ALLOWED_LATENESS))
    spoilt = {place: poison.clicks(place, sent[place])[1] for place in range(50, len(sent), 100)}
    stream = [
        record for place, good in enumerate(sent) for record in ([spoilt[place]] if place in spoilt else []) + [good]
    ]
    handled(stream)
    assert_are_those_of_a_batch(windows_table, clicks)
    found = quarantined()
    assert len(found) == 2 * len(spoilt) == 16
    expected = {str(1000 + stream.index(record)) for record in spoilt.values()}
    assert {name.split("/")[2] for name in found} == expected
    assert {name.split("/")[0] for name in found} == {"sessions", "visitors"}
    assert all(item["reason"] for item in found.values())
    before = contents(windows_table)
    handled(stream, size=333)  # A replay of the whole stream.
    assert contents(windows_table) == before
    assert quarantined() == found


def test_a_table_that_throttles_a_third_loses_nothing(windows_table, quarantined, clicks):
    throttle(windows_table, 0.3)
    for handler in (sessions.handler, visitors.handler):
        records = clicks[:50]
        while records:
            failed = failures(handler(event(records), Context(120)))
            records = records[int(failed[0]) - 100 :] if failed else []
    throttle(windows_table, 0)
    assert_are_those_of_a_batch(windows_table, clicks[:50])


def test_without_a_table_that_answers_all_records_are_reported_and_poison_is_put_aside(
    windows_table, quarantined, clicks
):
    throttle(windows_table, 1)
    batch = event([clicks[0], b"{", clicks[1]])
    assert failures(sessions.handler(batch, Context(5.2))) == ["100", "102"]
    assert [name.split("/")[2] for name in quarantined()] == ["101"]
    throttle(windows_table, 0)
    assert contents(windows_table) == []


def test_poison_that_is_not_put_aside_is_reported(windows_table, quarantined, clicks, monkeypatch):
    monkeypatch.setenv("QUARANTINE", "s3://no-such-bucket-here/q/")
    assert failures(sessions.handler(event([clicks[0], b"{", clicks[1]]), Context(120))) == ["101"]
    assert sum(row["events"] for row in rows(windows_table, SESSIONS)) == 2


def test_records_of_nothing_but_poison_touch_no_window(windows_table, quarantined):
    assert failures(visitors.handler(event([b"", b"[]", b"\xff"]), Context(120))) == []
    assert len(quarantined()) == 3
    assert contents(windows_table) == []


def test_the_arrival_of_a_record_decides_how_long_its_items_are_kept(windows_table, quarantined, clicks):
    sessions.handler(event(clicks[:2], arrived=ARRIVED + 3600.5), Context(120))
    kept = {int(item["expires"]["N"]) for item in contents(windows_table)}
    assert kept == {int(ARRIVED) + 3600 + 14 * 24 * 3600}
