"""The history and the alarms as the handlers write them, beside what the batch layer found."""

import time
import uuid
from datetime import datetime, timedelta

import boto3
import pytest

from include.jobs import history, records
from include.streams import alarms, orders_to_history
from include.streams.assigners import SECOND
from include.streams.encoding import canonical
from include.streams.fields import iso, micros
from include.streams.items import Items
from include.streams.orders import history_key, parse_order
from include.streams.rate import RateRule
from tests.include.transforms.test_order_lines import ARRIVAL, FIELDS

EPOCH = datetime(1970, 1, 1)


@pytest.fixture
def table(stack):
    """Makes the items of a new table."""
    dynamodb, made = boto3.client("dynamodb"), []

    def make(keys):
        made.append(f"history-{uuid.uuid4().hex[:8]}")
        dynamodb.create_table(
            TableName=made[-1],
            KeySchema=[{"AttributeName": keys[0], "KeyType": "HASH"}, {"AttributeName": keys[1], "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return Items(dynamodb, made[-1], keys, time.monotonic() + 60)

    yield make
    for name in made:
        dynamodb.delete_table(TableName=name)


def line(number: int, **changes: str) -> bytes:
    return canonical({**FIELDS, "LineNo": str(number), **changes})


def put(items, record: bytes) -> None:
    order = parse_order(record, ARRIVAL)
    customer, order_line = history_key(order)
    item = {**orders_to_history.attributes(order), "customer": {"S": customer}, "order_line": {"S": order_line}}
    items.client.put_item(TableName=items.table, Item={**item, "version": {"N": "1"}})


def test_lines_are_there_or_in_a_later_version(table):
    items = table(orders_to_history.KEYS)
    for record in (line(1), line(2, EventTime="2026-03-01T10:05:01"), line(3, Quantity="5")):
        put(items, record)
    batch = [records.ORDERS.parse(record, ARRIVAL) for record in (line(1), line(2), line(3, Quantity="7"), line(4))]
    rows = [{**row, "event_time": EPOCH + timedelta(microseconds=row["event_time"])} for row in batch]
    count, gaps = history.line_gaps(items, [rows[:3], rows[3:]])
    assert count == 4
    assert [(gap.name, gap.cause) for gap in gaps] == [
        ("12000 600000#0003", "outdated"),
        ("12000 600000#0004", "missing"),
    ]


HOUR = micros("2026-03-01T10:00:00")
RULE = RateRule(threshold=2, window=SECOND, cooldown=60 * SECOND)


def burst(at: int, orders: int = 3) -> list[tuple[int, str]]:
    """So many orders, the last of them at a time."""
    return [(at - number, f"{at}-{number}") for number in range(orders)]


def compared(table, raised, events, settled="2026-03-01T11:00:00", hours=("2026-03-01T10",), **item):
    items = table(alarms.KEYS)
    for moment in raised:
        key = {"alarm": {"S": alarms.name_of(RULE)}, "time": {"S": iso(moment)}}
        items.client.put_item(TableName=items.table, Item={**key, **(item or {"sent": {"S": iso(moment)}})})
    count, gaps = history.alarm_gaps(items, RULE, hours, events, settled)
    return count, [(micros(gap.moment.isoformat(timespec="microseconds")), gap.cause) for gap in gaps]


@pytest.mark.parametrize("away", [0, 1, 59_999_999, -59_999_999])
def test_any_alarm_within_the_cooldown_stands_for_a_burst(table, away):
    at = HOUR + 600 * SECOND
    raised = at + away
    assert compared(table, [raised], burst(at) + burst(raised)) == (1, [])


def test_a_burst_without_an_alarm_near_is_missing_one(table):
    at = HOUR + 600 * SECOND
    assert compared(table, [at + 60 * SECOND], burst(at) + burst(at + 60 * SECOND)) == (1, [(at, "missing")])


def test_an_alarm_without_cause_is_unexpected_once_all_has_arrived(table):
    at = HOUR + 600 * SECOND
    events = [(at - SECOND, "out of the window"), *burst(at, 2)]
    assert compared(table, [at], events) == (1, [(at, "unexpected")])
    assert compared(table, [at], events, settled="2026-03-01T10:10:00") == (1, [])


def test_an_alarm_that_nobody_was_told_of_is_unsent_when_its_claim_has_ended(table):
    at = HOUR + 600 * SECOND
    assert compared(table, [at], burst(at), claimed={"N": "1"}) == (1, [(at, "unsent")])
    assert compared(table, [at], burst(at), claimed={"N": str(time.time() + 60)}) == (1, [])


def test_windows_and_cooldowns_reach_over_the_hours_edge(table):
    before = [(HOUR - 1, "a"), (HOUR - 2, "b")]
    assert compared(table, [], [*before, (HOUR, "c")]) == (0, [(HOUR, "missing")])
    assert compared(table, [HOUR - 30 * SECOND], [*before, (HOUR, "c")]) == (0, [])
    assert compared(table, [], [*before, (HOUR - SECOND, "c"), (HOUR, "d")], hours=("2026-03-01T11",)) == (0, [])
