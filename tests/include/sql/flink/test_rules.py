"""Flink says of a stream what the window core says of it, row by row."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from include.streams.fields import RecordError, micros
from include.streams.rate import RateRule
from include.streams.rules import ALLOWED_LATENESS, RULES, busiest, parse_click
from include.streams.windows import Windows
from local.data import clickstream, order_lines
from local.data.order_lines import Burst
from local.producer import poison
from local.producer.injection import Injection, Record, emissions

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
CLICK = {
    "custid": 42,
    "trafficfrom": "search",
    "url": "/shoes",
    "device": "browser",
    "touchproduct": 7,
    "trans_timestamp": "2026-03-01T10:00:00.123456",
}


def sent(made, time, injection, poisoner):
    """Records as a producer sends them, with what is wrong with real streams."""
    records = [Record(number, micros(one[time]), "", json.dumps(one).encode()) for number, one in enumerate(made)]
    return [one.data for one in emissions(records, injection, seed=8, poisoner=poisoner)]


@pytest.fixture(scope="module")
def clicks():
    """Eight minutes: a tenth comes twice, all are shuffled, some come too late, one in a hundred is poison."""
    made = islice(clickstream.clicks(3, 0, START, timedelta(milliseconds=100)), 5_000)
    injection = Injection(duplicates=0.1, disorder=20, lateness=0.05, late_by=160, poison=0.01)
    return sent(made, "trans_timestamp", injection, poison.clicks)


@pytest.fixture(scope="module")
def orders():
    """Some minutes with a burst, every second line twice, shuffled within lateness."""
    made = islice(order_lines.lines(3, 0, START, timedelta(milliseconds=70), Burst(order_lines.BLOCK, 40)), 2_000)
    return sent(made, "EventTime", Injection(duplicates=0.5, disorder=90), poison.orders)


@pytest.fixture(scope="module")
def found(run, clicks, orders):
    return run(clickstream=clicks, orders=orders)


def sound(records):
    for record in records:
        try:
            yield parse_click(record)
        except RecordError:
            continue


def expected(name, records):
    """The rows of a rule by the window core, and how many events were late."""
    rule = RULES[name]
    windows = Windows(rule.assigner, rule.reducer, ALLOWED_LATENESS)
    late = windows.add_many(map(rule.event, sound(records)))
    windows.end()
    return [rule.row(*result) for result in windows.closed()], len(late)


def as_core(rule, row):
    """A row of Flink with times as the core has them."""
    times = {name for name, kind in rule.columns.items() if kind == "timestamp"}
    return {name: micros(value) if name in times else value for name, value in row.items()}


def in_order(rows, keys):
    return sorted(rows, key=lambda row: [row[key] for key in keys])


@pytest.mark.parametrize(
    ("name", "table"),
    [("sessions", "sessions"), ("visitors_15s", "visitors"), ("visitors_1m", "visitors"), ("sources_1m", "sources")],
)
def test_a_rule_finds_what_the_core_finds(name, table, clicks, found):
    rule = RULES[name]
    wanted, late = expected(name, clicks)
    rows = [as_core(rule, row) for row in found[table]]
    if table == "visitors":
        rows = [row for row in rows if row["window_seconds"] * 1_000_000 == rule.assigner.size]
    assert in_order(rows, rule.keys) == in_order(wanted, rule.keys)
    assert late > 50
    assert len(rows) > 30


def test_the_busiest_source_is_the_cores(clicks, found):
    minutes = defaultdict(dict)
    for row in expected("sources_1m", clicks)[0]:
        minutes[row["window_start"]][row["trafficfrom"]] = row["events"]
    wanted = [(start, busiest(events), events[busiest(events)]) for start, events in sorted(minutes.items())]
    rows = [(micros(row["window_start"]), row["trafficfrom"], row["events"]) for row in found["busiest_sources"]]
    assert sorted(rows) == wanted
    assert len(wanted) >= 8


def test_the_rate_is_the_cores_to_the_millisecond(orders, found):
    lines = [json.loads(order) for order in orders]
    events = [(micros(line["EventTime"]) // 1000 * 1000, line["InvoiceNo"]) for line in lines]
    alarms = RateRule(threshold=10, cooldown=0).alarms(events)
    rows = [(micros(row["moment"]), row["orders"]) for row in found["order_rates"]]
    assert sorted(rows) == [(alarm.time, alarm.count) for alarm in alarms]
    assert len(rows) > 20


POISON = {
    "no JSON": b'{"custid": 42',
    "no object": b"[17]",
    "another type": json.dumps({**CLICK, "custid": "seventeen"}).encode(),
    "a field less": json.dumps({name: value for name, value in CLICK.items() if name != "url"}).encode(),
    "a null": json.dumps({**CLICK, "device": None}).encode(),
    "an empty text": json.dumps({**CLICK, "trafficfrom": ""}).encode(),
    "a negative customer": json.dumps({**CLICK, "custid": -1}).encode(),
    "an unknown device": json.dumps({**CLICK, "device": "fridge", "trans_timestamp": "2031-01-01T00:00:00"}).encode(),
    "a product too many": json.dumps({**CLICK, "touchproduct": 251}).encode(),
    "no time": json.dumps({**CLICK, "trans_timestamp": "yesterday"}).encode(),
    "a day too many": json.dumps({**CLICK, "trans_timestamp": "2026-02-29T10:00:00"}).encode(),
    "a zone": json.dumps({**CLICK, "trans_timestamp": "2026-03-01T10:00:00Z"}).encode(),
    "a time too late": json.dumps({**CLICK, "trans_timestamp": "3000-01-01T00:00:00"}).encode(),
    "a time too early": json.dumps({**CLICK, "trans_timestamp": "1969-12-31T23:59:59"}).encode(),
}
LENIENT = {
    101: f"[{json.dumps({**CLICK, 'custid': 101})}]".encode(),
    102: json.dumps({**CLICK, "custid": "102"}).encode(),
    103: json.dumps({**CLICK, "custid": 103, "colour": "red"}).encode(),
}
"""What the core refuses and Flink's JSON format reads as the click of a customer: docs/flink.md tells."""


def test_edges(run):
    """Poison neither counts, nor stops the job, nor moves the watermark; the rest is on the edge of something."""

    def click(time, **changes):
        return json.dumps({**CLICK, **changes, "trans_timestamp": time}).encode()

    for record in [*POISON.values(), *LENIENT.values()]:
        with pytest.raises(RecordError):
            parse_click(record)
    edges = [
        *POISON.values(),
        *LENIENT.values(),
        click("2026-03-01T10:00:00"),
        click("2026-03-01T10:00:00.000"),  # The same event.
        click("2026-03-01T10:00:59.999999"),
        click("2026-03-01T10:01:00", url="/b"),
        click("2026-03-01T10:01:00", url="/a"),  # Of the same microsecond.
        click("2026-03-01T10:02:59.999999", custid=7),
        click("2026-03-01T10:00:30", custid=2),  # In time, by a microsecond.
        click("2026-03-01T10:03:00", custid=7),
        click("2026-03-01T10:00:30", custid=3),  # Late, by none.
    ]
    rows = run(clickstream=edges)
    rule = RULES["sessions"]
    wanted, late = expected("sessions", edges)
    assert late == 1
    (tied,) = (row for row in wanted if row["window_start"] == micros("2026-03-01T10:01:00"))
    tied |= {"first_url": "/a", "last_url": "/b"}  # The core takes the least identity first, Flink the least url.
    sessions = [as_core(rule, row) for row in rows["sessions"]]
    assert sorted(row["custid"] for row in sessions if row["custid"] in LENIENT) == [*LENIENT]
    strict = [row for row in sessions if row["custid"] not in LENIENT]
    assert in_order(strict, rule.keys) == in_order(wanted, rule.keys)
    assert rows["order_rates"] == []
