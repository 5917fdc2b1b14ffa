import json
import random
from datetime import datetime

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams import rules
from include.streams.rules import (
    RULES,
    SESSIONS,
    SOURCES_1M,
    VISITORS_1M,
    VISITORS_15S,
    Click,
    RecordError,
    parse_click,
)
from include.streams.windows import MINUTE, SECOND, Windows, fold

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Machines are busy at times.

CLICK = {
    "custid": 42,
    "trafficfrom": "google",
    "url": "/shoes",
    "device": "browser",
    "touchproduct": 7,
    "trans_timestamp": "2026-03-01T10:00:00.123456",
}
TEN = 1_772_359_200 * SECOND  # 2026-03-01T10:00:00


def record(**changes):
    return json.dumps({**CLICK, **changes}).encode()


def test_a_click_is_parsed():
    click = parse_click(record())
    assert click[:6] == (42, "google", "/shoes", "browser", 7, TEN + 123_456)
    assert click.identity == rules.identity(CLICK)
    assert parse_click(record().decode()) == click


def test_the_same_fields_are_the_same_event_however_they_are_written():
    spaced = json.dumps(dict(reversed(CLICK.items())), indent=2)
    assert parse_click(spaced) == parse_click(record())
    whole = parse_click(record(trans_timestamp="2026-03-01T10:00:00"))
    assert whole == parse_click(record(trans_timestamp="2026-03-01T10:00:00.000000"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("custid", 43),
        ("trafficfrom", "bing"),
        ("url", "/shoes/"),
        ("device", "app_tablet"),
        ("touchproduct", 0),
        ("trans_timestamp", "2026-03-01T10:00:00.123457"),
    ],
)
def test_any_other_field_is_another_event(field, value):
    assert parse_click(record(**{field: value})).identity != parse_click(record()).identity


def test_an_identity_is_the_same_for_ever():
    assert rules.identity(CLICK) == 0xF5F0DAE87C0CD773
    assert 0 <= rules.identity({}) < 2**64


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        (b"\xff", "record", "not UTF-8 at byte 0"),
        (b"", "record", "not JSON"),
        (b"{", "record", "not JSON"),
        (b"[" * 100_000, "record", "not JSON"),
        (b'{"custid": ' + b"1" * 5_000 + b"}", "record", "not usable JSON"),
        (b"[]", "record", "JSON list"),
        (b"null", "record", "JSON NoneType"),
        (b'{"custid": 1, "custid": 2}', "custid", "there twice"),
        (json.dumps({k: v for k, v in CLICK.items() if k != "url"}).encode(), "url", "is missing: add it"),
        (record(url=None), "url", "is null"),
        (record(url=""), "url", "not empty"),
        (record(url=7), "url", "is 7"),
        (record(url="\ud800"), "url", "half a surrogate pair"),
        (record(trafficfrom=["google"]), "trafficfrom", "text"),
        (record(custid="42"), "custid", 'is "42": an integer from 0'),
        (record(custid=True), "custid", "is true"),
        (record(custid=42.0), "custid", "is 42.0"),
        (record(custid=-1), "custid", "is -1"),
        (record(custid=2**63), "custid", "an integer from 0 to 9223372036854775807"),
        (record(touchproduct=251), "touchproduct", "from 0 to 250"),
        (record(touchproduct=float("nan")), "touchproduct", "is NaN"),
        (record(device="Browser"), "device", "one of app_mobile, app_tablet, browser"),
        (record(referrer="x"), "referrer", "not a field of a click"),
        (record(trans_timestamp="2026-03-01 10:00:00"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="2026-03-01T10:00:00Z"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="2026-03-01T10:00:00+01:00"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="2026-03-01T10:00:00.1234567"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="2026-03-01"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="٢٠٢٦-03-01T10:00:00"), "trans_timestamp", "without a zone"),
        (record(trans_timestamp="2026-02-30T10:00:00"), "trans_timestamp", "no such time exists"),
        (record(trans_timestamp="2026-03-01T24:00:01"), "trans_timestamp", "no such time exists"),
        (record(trans_timestamp=1_772_359_200), "trans_timestamp", "text"),
    ],
)
def test_poison_names_its_field(data, field, reason):
    with pytest.raises(RecordError) as caught:
        parse_click(data)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert str(caught.value) == f"{field} {caught.value.reason}"


@PATIENT
@given(
    st.binary(max_size=40) | st.dictionaries(st.sampled_from([*CLICK, "x"]), st.text() | st.integers()).map(json.dumps)
)
def test_no_record_breaks_the_parser(data):
    with pytest.raises(RecordError):
        parse_click(data)


@PATIENT
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_times_are_microseconds_there_and_back(moment):
    text = moment.isoformat(timespec="microseconds")
    assert rules.iso(rules.micros(text)) == text


def clicks(n, seed=4):
    """Clicks of few customers and pages, several at the same microsecond, on edges too, with duplicates, shuffled."""
    rng = random.Random(seed)
    made = [
        parse_click(
            record(
                custid=rng.randrange(8),
                trafficfrom=rng.choice(["google", "bing", "mail"]),
                url=rng.choice(["/", "/shoes", "/hats"]),
                device=rng.choice(rules.DEVICES),
                touchproduct=rng.randrange(251),
                trans_timestamp=rules.iso(TEN + rng.randrange(40) * 15 * SECOND + rng.choice([-1, 0, 1, 7_000_000])),
            )
        )
        for _ in range(n)
    ]
    return rng.sample(made * 2, 2 * n)


def rows(rule, events):
    states = fold(rule.assigner, rule.reducer, map(rule.event, events))
    found = [rule.row(window, key, rule.reducer.result(state)) for (window, key), state in states.items()]
    return sorted(found, key=lambda row: [row[name] for name in rule.keys])


SQL = {
    SESSIONS: """
        SELECT format('{}.{}.{}', custid, device, time // 60_000_000 * 60) AS session_id,
            time // 60_000_000 * 60_000_000 AS window_start, custid, device, count(*) AS events,
            first(url ORDER BY time, identity) AS first_url, last(url ORDER BY time, identity) AS last_url,
            min(time) AS begin, max(time) AS "end", max(time) - min(time) AS duration
        FROM clicks GROUP BY ALL""",
    VISITORS_15S: """
        SELECT time // 15_000_000 * 15_000_000 AS window_start, 15 AS window_seconds, url,
            count(DISTINCT custid) AS visitors, true AS exact
        FROM clicks GROUP BY ALL""",
    VISITORS_1M: """
        SELECT time // 60_000_000 * 60_000_000 AS window_start, 60 AS window_seconds, url,
            count(DISTINCT custid) AS visitors, true AS exact
        FROM clicks GROUP BY ALL""",
    SOURCES_1M: """
        SELECT time // 60_000_000 * 60_000_000 AS window_start, trafficfrom, count(*) AS events
        FROM clicks GROUP BY ALL""",
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rules_find_what_sql_finds(rule):
    events = clicks(600)
    with duckdb.connect() as connection:
        types = {"identity": pl.UInt64}
        connection.register("arrivals", pl.DataFrame(events, Click._fields, orient="row", schema_overrides=types))
        connection.execute("CREATE TABLE clicks AS SELECT DISTINCT * FROM arrivals")
        found = connection.execute(f"SELECT * FROM ({SQL[rule]}) ORDER BY {', '.join(rule.keys)}")
        names = [column[0] for column in found.description]
        expected = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert names == list(rule.columns)
    assert rows(rule, events) == expected
    assert len(expected) > 20


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_windows_that_close_find_what_the_batch_finds(rule):
    events = clicks(300)
    windows = Windows(rule.assigner, rule.reducer, lateness=rules.ALLOWED_LATENESS + 60 * MINUTE)
    assert windows.add_many(map(rule.event, events)) == []
    windows.end()
    found = [rule.row(*result) for result in windows.closed()]
    assert sorted(found, key=lambda row: [row[name] for name in rule.keys]) == rows(rule, events)


TYPES = {"string": str, "integer": int, "timestamp": int, "boolean": bool}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rows_have_the_columns_that_are_named(rule):
    for row in rows(rule, clicks(50)):
        assert list(row) == list(rule.columns)
        assert [type(value) for value in row.values()] == [TYPES[kind] for kind in rule.columns.values()]


def test_a_click_on_the_minute_is_in_the_next_session():
    before, on = (parse_click(record(trans_timestamp=rules.iso(time))) for time in (TEN - 1, TEN))
    assert [row["session_id"] for row in rows(SESSIONS, [before, on])] == [
        "42.browser.1772359140",
        "42.browser.1772359200",
    ]


def test_the_busiest_source_has_most_events_and_then_the_alphabet():
    assert rules.busiest({"google": 2, "mail": 3, "bing": 3}) == "bing"
    with pytest.raises(ValueError, match="empty"):
        rules.busiest({})
