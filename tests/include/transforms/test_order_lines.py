import random
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

from include.jobs import records
from include.streams import orders_to_history
from include.streams.assigners import MINUTE, SECOND
from include.streams.encoding import canonical
from include.streams.fields import micros
from include.streams.items import Item
from include.streams.orders import history_key, parse_order
from include.streams.rate import RateRule
from include.transforms import order_lines
from include.transforms.order_lines import micros_of

ARRIVAL = micros("2026-03-01T10:00:00")
FIELDS = {
    "InvoiceNo": "600000",
    "StockCode": "20000",
    "Description": "RED MUG",
    "Quantity": "6",
    "InvoiceDate": "3/1/2026 10:05",
    "UnitPrice": "2.55",
    "Customer": "12000",
    "Country": "EIRE",
    "LineNo": "1",
    "EventTime": "2026-03-01T10:05:00.000001",
}


def bronze(*changes: dict[str, str | None]) -> pl.DataFrame:
    """Lines as the job parses them; None takes a field away."""
    lines = [{name: value for name, value in (FIELDS | change).items() if value is not None} for change in changes]
    rows = [records.ORDERS.parse(canonical(line), ARRIVAL) for line in lines]
    return pl.from_arrow(pa.Table.from_pylist(rows, records.ORDERS.columns))


def test_of_a_line_the_latest_version_of_an_hour_stays(engine):
    later = {"EventTime": "2026-03-01T10:05:00.000002"}
    rows = bronze(
        {}, {"Quantity": "7"}, {**later, "Quantity": "1"}, {"EventTime": "2026-03-01T11:00:00", "Quantity": "9"}
    )
    for order in (rows, rows.reverse()):
        found = engine.give(order_lines.order_lines(engine.take(order))).sort("hour")
        assert found.select("hour", "quantity").rows() == [("10", 1), ("11", 9)]


def test_it_is_the_version_that_the_history_keeps(engine):
    rng = random.Random(2)
    times = [f"2026-03-01T10:05:0{second}" for second in range(3)]
    changes = [
        {
            "EventTime": rng.choice([*times, None]),
            "Quantity": str(rng.randint(1, 3)),
            "LineNo": rng.choice(["1", "2", None]),
            "Customer": rng.choice(["12000", ""]),
        }
        for _ in range(200)
    ]
    history: dict[tuple[str, str], Item] = {}
    for change in changes:
        line = {name: value for name, value in (FIELDS | change).items() if value is not None}
        order = parse_order(canonical(line), ARRIVAL)
        item = orders_to_history.attributes(order)
        history[history_key(order)] = max(history.get(history_key(order), {}), item, key=orders_to_history._age)
    found = engine.give(order_lines.order_lines(engine.take(bronze(*changes))))
    kept = {(row["customer"], row["order_line"]): row["content"] for row in found.iter_rows(named=True)}
    assert kept == {place: canonical(item).decode() for place, item in history.items()}


HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, 10)


def lines(events):
    return [
        {
            "event_time": START + timedelta(microseconds=at),
            "placed_at": "x",
            "invoice": id_,
            "line_identity": f"{n:016x}",
        }
        for n, (at, id_) in enumerate(events)
    ]


@pytest.mark.parametrize("unit", ["orders", "lines"])
@pytest.mark.parametrize("cooldown", [0, SECOND, MINUTE])
def test_hour_by_hour_gives_the_alarms_of_the_whole(cooldown, unit):
    rng = random.Random(4)
    bursts = [rng.randrange(3 * 3600) * SECOND for _ in range(20)] + [3600 * SECOND - 5, 7200 * SECOND]
    events = [(burst + rng.randrange(SECOND), f"{rng.randrange(30)}") for burst in bursts for _ in range(14)]
    events = [event for event in events if event[0] < 3 * 3600 * SECOND]
    rule = RateRule(threshold=8, cooldown=cooldown, unit=unit)
    all_lines = lines(events)
    whole = rule.alarms(
        (micros_of(line["event_time"]), rule.id(line["invoice"], int(line["line_identity"], 16))) for line in all_lines
    )
    assert len(whole) > 10
    hours = [START + number * HOUR for number in range(3)]
    assert order_lines.rate_alarms(all_lines, rule, hours, {}) == whole

    alone = []
    for hour in hours:
        around = [line for line in all_lines if hour - HOUR <= line["event_time"] < hour + HOUR]
        after = {hour: START + timedelta(microseconds=alone[-1].time - micros_of(START))} if alone else {}
        alone += order_lines.rate_alarms(around, rule, [hour], after)
    assert alone == whole


def test_lines_of_an_unknown_time_raise_no_alarm():
    unknown = [{**line, "placed_at": ""} for line in lines([(n, str(n)) for n in range(20)])]
    assert order_lines.rate_alarms(unknown, RateRule(), [START], {}) == []
