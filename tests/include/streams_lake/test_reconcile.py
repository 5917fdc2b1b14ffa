"""The two layers side by side: what the speed layer wrote to DynamoDB, and what the batch layer made of raw files."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice

import boto3
import pytest

from include.jobs import speed
from include.sql import SQL
from include.streams import rules
from include.streams.encoding import canonical
from include.streams.items import Items
from include.streams.records import Record
from include.streams.state import States
from include.streams.state_items import KEYS
from include.streams_lake import publish, reconcile
from include.streams_lake.reconcile import ReconcileError, Totals
from include.streams_lake.streams import CLICKSTREAM, SPEED
from include.tables import contract
from local.data import clickstream
from tests import athena
from tests.include.streams_lake.conftest import LAKE

START = datetime(2026, 3, 1, 10, 58, tzinfo=UTC)
TEN, ELEVEN, TWELVE = HOURS = "2026-03-01T10", "2026-03-01T11", "2026-03-01T12"


@pytest.fixture(scope="module")
def clicks():
    """Four minutes around eleven o'clock."""
    return list(islice(clickstream.clicks(9, 0, START, timedelta(milliseconds=600)), 400))


class Speed:
    """The speed layer: states in a table of its own."""

    def __init__(self, lake) -> None:
        self.lake, self.dynamodb = lake, boto3.client("dynamodb")
        self.table = f"windows-{uuid.uuid4().hex[:8]}"
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": KEYS[0], "KeyType": "HASH"}, {"AttributeName": KEYS[1], "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in KEYS],
            BillingMode="PAY_PER_REQUEST",
        )
        items = Items(self.dynamodb, self.table, KEYS, time.monotonic() + 600)
        self.states = States(items, "sessions")

    def take(self, clicks, lateness=rules.ALLOWED_LATENESS) -> int:
        """Handles a batch, and gives the number of late events."""
        far = rules.micros("2030-01-01T00:00:00")
        batch = [
            (Record("shard-0", str(number), "", b"", far), rules.parse_click(canonical(click)))
            for number, click in enumerate(clicks)
        ]
        added = self.states.add(rules.RULES.values(), batch, lateness)
        assert added.failed == []
        return added.late

    def publish(self, hours) -> dict:
        version = self.lake.version()
        report = speed.Export(self.states, self.lake.s3, LAKE, version).write(hours)
        for name in SPEED:
            noted = dict.fromkeys(hours, version)
            publish.publish_hours(
                self.lake.s3, self.lake.glue, LAKE, contract.load(name), report["tables"][name], noted
            )
        return report


@pytest.fixture
def speed_layer(lake):
    layer = Speed(lake)
    yield layer
    layer.dynamodb.delete_table(TableName=layer.table)


def compared(lake, hours) -> list[Totals]:
    """Compares hours and publishes the differences."""
    location = f"s3://{LAKE}/gold/reconcile/v={lake.version()}/"
    athena.rows(reconcile.unload(hours, location))
    publish.publish_differences(lake.s3, lake.glue, LAKE, location, hours)
    return [Totals(row[0], *map(int, row[1:])) for row in athena.query(reconcile.totals(hours))]


@pytest.mark.long
def test_the_layers_are_equal_whatever_came_twice(lake, speed_layer, clicks):
    speed_layer.take([*clicks[:250], *clicks[200:], *clicks[:40]])
    report = speed_layer.publish([TEN, ELEVEN])
    lake.check(report)
    lake.deliver(CLICKSTREAM, TEN, "a", [*clicks[:250], *clicks[:9]])
    lake.deliver(CLICKSTREAM, ELEVEN, "b", clicks[240:])
    lake.run(CLICKSTREAM, TEN, TWELVE)
    found = compared(lake, [TEN, ELEVEN])
    assert [one.rule for one in sorted(found)] == sorted(rules.RULES)
    assert all(one.batch_windows == one.speed_windows > 10 for one in found)
    assert all(line.endswith("equal") for line in reconcile.judge(found, 0.0))
    assert athena.query("SELECT count(*) FROM vitrine.reconcile") == [("0",)]


@pytest.mark.long
def test_differences_have_their_cause_until_they_are_gone(lake, speed_layer, clicks):
    clicks = [click for click in clicks if click["trans_timestamp"] < "2026-03-01T11"]
    first, last = clicks[0]["trans_timestamp"][:16], clicks[-1]["trans_timestamp"][:16]
    late = [click for click in clicks if click["trans_timestamp"].startswith(first)][-3:]
    missing = [click for click in clicks if click["trans_timestamp"].startswith(last)][:4]
    extra = {**clicks[150], "custid": 5, "trafficfrom": "nowhere"}
    speed_layer.take([*(click for click in clicks if click not in late and click not in missing), extra])
    # A customer whom a page has seen already changes nothing there, so is not late.
    assert 2 * len(late) < speed_layer.take(late, lateness=1) <= 4 * len(late)
    speed_layer.publish([TEN])
    lake.deliver(CLICKSTREAM, TEN, "a", clicks)
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    found = {one.rule: one for one in compared(lake, [TEN])}
    sources = found["sources_1m"]
    assert sources.late == len({click["trafficfrom"] for click in late})
    assert sources.missing == len({click["trafficfrom"] for click in missing})
    assert (sources.duplicate, sources.other) == (1, 0)
    assert found["sessions"].late
    causes = athena.query(
        "SELECT cause, speed_value, batch_value, late_events FROM vitrine.reconcile "
        "WHERE rule = 'sources_1m' AND window_key = 'nowhere'"
    )
    assert causes == [("duplicate", "1", None, "0")]
    with pytest.raises(ReconcileError, match=r"sources_1m: .* differ: \d+ late, \d+ missing, 1 duplicate"):
        reconcile.judge(list(found.values()), 0.01)
    assert reconcile.judge(list(found.values()), 1.0)

    speed_layer.take(clicks, lateness=None)
    lake.deliver(CLICKSTREAM, TEN, "b", [extra])
    lake.run(CLICKSTREAM, TEN, ELEVEN)
    speed_layer.publish([TEN])
    assert all(one.differing == 0 for one in compared(lake, [TEN]))
    assert athena.query("SELECT count(*) FROM vitrine.reconcile") == [("0",)]


def test_the_seam_has_neither_overlap_nor_hole_while_both_layers_move(lake, speed_layer, clicks):
    """One publishes hours of both layers, turn about; another reads all the time, and always sees every click once."""
    speed_layer.take(clicks)
    speed_layer.publish([TEN, ELEVEN])
    lake.deliver(CLICKSTREAM, TEN, "a", [click for click in clicks if click["trans_timestamp"] < "2026-03-01T11"])
    lake.deliver(CLICKSTREAM, ELEVEN, "b", [click for click in clicks if click["trans_timestamp"] > "2026-03-01T11"])
    glue = lake.glue
    for name in ("sessions", "visitors", "sources"):
        table = contract.load(name)
        publish.catalog.ensure_table(glue, table, f"s3://{LAKE}/silver/{name}/")
        athena.rows((SQL / "athena" / "views" / "streams" / f"{name}_now.sql").read_text())

    def move() -> None:
        lake.run(CLICKSTREAM, TEN, ELEVEN)
        speed_layer.publish([ELEVEN])
        lake.run(CLICKSTREAM, TEN, TWELVE)
        publish.catalog.drop_partitions(glue, contract.load("sessions"), [("2026-03-01", "11")])
        lake.run(CLICKSTREAM, TEN, TWELVE, rebuild=[ELEVEN])

    sql = "SELECT count(*), count(DISTINCT session_id), sum(events) FROM vitrine.sessions_now"
    (expected,) = athena.query(sql)
    assert (expected[0], expected[2]) == (expected[1], "400")
    seen, layers = [], set()
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move)
        while not moving.done():
            seen += athena.query(sql)
            layers.add(
                tuple(athena.query("SELECT DISTINCT hour, layer FROM vitrine.sessions_now ORDER BY hour, layer"))
            )
        moving.result()
    assert len(seen) > 5
    assert set(seen) == {expected}
    assert layers >= {(("10", "batch"), ("11", "speed"))}
    assert athena.query("SELECT DISTINCT layer FROM vitrine.sessions_now") == [("batch",)]
    assert athena.query("SELECT sum(events) FROM vitrine.sources_now") == [("400",)]


def test_no_hours_are_no_comparison():
    with pytest.raises(ValueError, match="hours is empty: name at least one"):
        reconcile.within([])
