"""The orders' DAG, run for real: orders through stream, functions and Firehose, then what the DAG makes of them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice

import pytest

from local.data import order_lines
from local.data.order_lines import Burst
from tests.athena import query
from tests.dags import stream_runs
from tests.streams import client, contents

DAG, STREAM = "order_stream", "orders"
HISTORY, ALARMS, RULE = "vitrine-orders", "vitrine-alarms", "orders>10/1s"
INTERVAL = timedelta(milliseconds=200)
LINES = 400
BURST = Burst(order_lines.BLOCK * 8, 15)
POISON = [b"{", b'{"InvoiceNo": "1"}', json.dumps({"InvoiceNo": "7", "Quantity": "many"}).encode()]
TABLES = (("vitrine_bronze", "stream_orders"), ("vitrine_silver", "order_lines"), ("vitrine", "order_alarms"))


class World:
    """What was sent."""

    def __init__(self) -> None:
        # So the lines are of two hours, and the burst is near their edge.
        self.start = stream_runs.this_hour() - timedelta(hours=1) - BURST.line * INTERVAL - timedelta(seconds=0.4)
        self.lines = list(islice(order_lines.lines(7, 0, self.start, INTERVAL, BURST), LINES))
        self.repeated = self.lines[::7]

    def send(self) -> None:
        """Puts everything, some of it twice and out of order, and waits for both ways to take it."""
        sent = [*reversed(self.lines), *self.repeated]
        records = [(line["Customer"] or line["InvoiceNo"], json.dumps(line).encode()) for line in sent]
        stream_runs.put(STREAM, [*records, *((str(number), data) for number, data in enumerate(POISON))])
        stream_runs.eventually(lambda: len(contents(HISTORY)), LINES)
        stream_runs.eventually(lambda: [item["alarm"]["S"] for item in contents(ALARMS) if "sent" in item], [RULE])
        stream_runs.deliver(STREAM)
        self.date = stream_runs.after(stream_runs.this_hour())

    @property
    def keys(self) -> set[tuple[str, str]]:
        """Customer and order line of each."""
        return {
            (line["Customer"] or f"guest{line['InvoiceNo']}", f"{line['InvoiceNo']}#{int(line['LineNo']):04}")
            for line in self.lines
        }

    def alarms(self) -> list[tuple[str, int]]:
        """Moments at which more than ten orders were placed within a second, a minute apart, and how many."""
        events = sorted({(datetime.fromisoformat(line["EventTime"]), line["InvoiceNo"]) for line in self.lines})
        found: list[tuple[datetime, int]] = []
        for moment, _ in events:
            count = len({invoice for at, invoice in events if moment - timedelta(seconds=1) < at <= moment})
            if count > 10 and (not found or moment - found[-1][0] >= timedelta(minutes=1)):
                found.append((moment, count))
        return [(f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3], count) for moment, count in found]


@pytest.fixture(scope="module")
def world(stack):
    sent = World()
    sent.send()
    return sent


@pytest.fixture(scope="module")
def first(world, run_dag):
    outcome = run_dag(DAG, world.date, hours=4)
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    return outcome


def test_every_line_is_in_the_lake_once(world, first):
    found = query("SELECT customer, order_line FROM vitrine_silver.order_lines")
    assert len(found) == LINES
    assert set(found) == world.keys
    money = sum(int(line["Quantity"]) * Decimal(line["UnitPrice"]) for line in world.lines)
    ((total,),) = query("SELECT sum(quantity * unit_price) FROM vitrine_silver.order_lines")
    assert Decimal(total) == money
    hours = query("SELECT DISTINCT concat(cast(dt AS varchar), 'T', hour) FROM vitrine_silver.order_lines ORDER BY 1")
    assert hours == sorted({(line["EventTime"][:13],) for line in world.lines})
    assert len(hours) == 2


def test_what_came_twice_and_what_is_none_is_counted(world, first):
    sql = "SELECT sum(rows_in), sum(rows_out), sum(rejected) FROM vitrine.quality WHERE table_name = 'stream_orders'"
    ((taken, kept, rejected),) = query(sql)
    assert (int(taken), int(rejected)) == (LINES + len(world.repeated) + len(POISON), len(POISON))
    # What comes again in another hour of arrival is told apart later.
    assert LINES <= int(kept) <= LINES + len(world.repeated)
    reasons = query("SELECT field FROM vitrine_quarantine.stream_rejects WHERE bronze = 'stream_orders' ORDER BY field")
    assert reasons == [("InvoiceNo",), ("StockCode",), ("record",)] or len(reasons) == len(POISON)


def test_the_alarm_is_recomputed(world, first):
    found = query("SELECT date_format(alarm_at, '%Y-%m-%d %H:%i:%s.%f'), counted FROM vitrine.order_alarms ORDER BY 1")
    assert [(moment[:23], int(count)) for moment, count in found] == world.alarms()
    assert len(found) == 1


def test_the_speed_layer_has_the_same(world, first):
    assert first.xcom("history.judge") == [
        f"{LINES} lines: equal",
        "1 alarms raised, 1 by the batch layer: equal",
    ]


@pytest.mark.long
def test_what_is_missing_is_named_until_it_is_there_again(world, first, run_dag, capfd):
    dynamodb = client("dynamodb")
    before = stream_runs.partitions(TABLES)
    lost, (alarm,) = contents(HISTORY)[LINES // 2], contents(ALARMS)
    key = {name: lost[name] for name in ("customer", "order_line")}
    dynamodb.delete_item(TableName=HISTORY, Key=key)
    dynamodb.delete_item(TableName=ALARMS, Key={name: alarm[name] for name in ("alarm", "time")})
    # Further away than the cooldown, or it would stand for the burst.
    early = world.start - timedelta(minutes=1)
    invented = {**alarm, "time": {"S": f"{early:%Y-%m-%dT%H:%M:%S.000000}"}}
    dynamodb.put_item(TableName=ALARMS, Item=invented)

    outcome = run_dag(DAG, world.date, hours=4)
    assert outcome.state == "failed"
    assert {task for task, state in outcome.tasks.items() if state == "failed"} == {"history.judge"}
    said = capfd.readouterr().out
    assert f"line {key['customer']['S']} {key['order_line']['S']} of " in said
    assert "is missing" in said
    moment = "date_format(moment, '%Y-%m-%d %H:%i:%s.%f')"
    gaps = query(f"SELECT subject, name, cause, {moment} FROM vitrine.order_gaps ORDER BY subject, cause")
    assert [gap[:3] for gap in gaps] == [
        ("alarm", RULE, "missing"),
        ("alarm", RULE, "unexpected"),
        ("line", f"{key['customer']['S']} {key['order_line']['S']}", "missing"),
    ]
    assert gaps[0][3][:23] == world.alarms()[0][0]

    dynamodb.delete_item(TableName=ALARMS, Key={name: invented[name] for name in ("alarm", "time")})
    dynamodb.put_item(TableName=ALARMS, Item=alarm)
    dynamodb.put_item(TableName=HISTORY, Item=lost)
    again = run_dag(DAG, world.date, hours=4)
    assert again.state == "success"
    assert {task for task, state in again.tasks.items() if state == "skipped"} >= {"bronze.load", "silver.publish"}
    assert query("SELECT count(*) FROM vitrine.order_gaps") == [("0",)]
    assert stream_runs.partitions(TABLES) == before


@pytest.mark.long
def test_an_interval_without_orders_ends_well(first, run_dag):
    outcome = run_dag(DAG, datetime(2026, 2, 1, 5, 10, tzinfo=UTC))
    assert outcome.state == "success"
    assert outcome.xcom("history.judge") == ["0 lines: equal", "0 alarms raised, 0 by the batch layer: equal"]
