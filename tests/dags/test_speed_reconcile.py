"""The comparison of both layers, run for real: clicks in DynamoDB by the functions, in the lake by the batch layer."""

from collections import Counter

import pytest

from include.streams_lake.streams import SPEED
from include.tables import catalog, contract
from tests import clickstream
from tests.athena import query
from tests.clickstream import ELEVEN, LATE, TEN
from tests.dags import stream_runs
from tests.streams import client

DAG = "speed_reconcile"
WINDOWS = "vitrine-windows"


@pytest.fixture(scope="module")
def batch(clicks_sent, run_dag):
    """The clicks, when the batch layer has them too."""
    clickstream.clear()
    assert run_dag("kinesis_to_s3", stream_runs.after(clicks_sent.arrived)).state == "success"
    return clicks_sent.clicks


def of_hour(clicks, hour):
    return [click for click in clicks if click["trans_timestamp"].startswith(hour)]


def exported():
    """Where the speed layer's tables are."""
    return {name: catalog.partitions(client("glue"), contract.load(name)) for name in SPEED}


def differences(hour):
    """Rule, key, cause and both counts of the windows that differ."""
    return query(
        "SELECT rule, window_key, cause, speed_count, batch_count FROM vitrine.reconcile "
        f"WHERE dt = DATE '{hour[:10]}' AND hour = '{hour[-2:]}' ORDER BY 1, 2"
    )


@pytest.fixture(scope="module")
def equal(batch, run_dag):
    """A run for the hour in which nothing came late."""
    return run_dag(DAG, hour=ELEVEN, threshold=0.0)


def test_the_layers_are_equal_whatever_came_twice_or_in_disorder(equal, batch):
    assert set(equal.tasks.values()) == {"success"}, equal.tasks
    said = equal.xcom("judge")
    assert len(said) == 4
    assert all(line.endswith("equal") for line in said)
    assert differences(ELEVEN) == []


def test_the_speed_layer_says_what_the_clicks_say(equal, batch):
    clicks = of_hour(batch, ELEVEN)
    rows = query(
        "SELECT custid, device, date_format(window_start, '%Y-%m-%dT%H:%i'), events, first_url, last_url "
        "FROM vitrine_silver.speed_sessions WHERE hour = '11'"
    )
    assert sorted(rows) == clickstream.sessions(clicks)
    rows = query(
        "SELECT date_format(window_start, '%Y-%m-%d %H:%i'), trafficfrom, events FROM vitrine_silver.speed_sources "
        "WHERE hour = '11'"
    )
    assert Counter({(start, source): int(events) for start, source, events in rows}) == clickstream.sources(clicks)


@pytest.mark.long
def test_a_rerun_publishes_nothing_new(equal, run_dag):
    before = exported()
    assert run_dag(DAG, hour=ELEVEN, threshold=0.0).state == "success"
    assert {name: {of: place[0] for of, place in places.items()} for name, places in exported().items()} == {
        name: {of: place[0] for of, place in places.items()} for name, places in before.items()
    }


@pytest.mark.long
def test_what_came_too_late_for_the_speed_layer_is_said_to_be_late(batch, run_dag):
    assert run_dag(DAG, hour=TEN, threshold=1.0).state == "success"
    found = differences(TEN)
    assert {cause for _, _, cause, _, _ in found} == {"late"}
    late = [(rule, int(speed), int(counted)) for rule, key, _, speed, counted in found if key == "/late"]
    assert late == [("visitors_15s", 0, LATE), ("visitors_1m", 0, LATE)]
    # Another test may have sent one more to another page.
    ((late_clicks,),) = query("SELECT count(*) FROM vitrine_silver.click_events WHERE url IN ('/late', '/later')")
    sources = [(key, int(counted) - int(speed)) for rule, key, _, speed, counted in found if rule == "sources_1m"]
    assert sources == [("ads", int(late_clicks))]
    assert sum(rule == "sessions" for rule, *_ in found) == int(late_clicks)


@pytest.mark.long
def test_a_window_that_was_tampered_with_is_found_and_fails_the_run(equal, batch, run_dag, capfd):
    dynamodb, window = client("dynamodb"), f"sources_1m#{ELEVEN}:03:00.000000"
    found = dynamodb.query(
        TableName=WINDOWS,
        KeyConditionExpression="#window = :window",
        ExpressionAttributeNames={"#window": "window"},
        ExpressionAttributeValues={":window": {"S": window}},
    )["Items"]
    item = next(item for item in found if item["key"]["S"] == "search")
    key = {name: item[name] for name in ("window", "key")}
    dynamodb.delete_item(TableName=WINDOWS, Key=key)
    try:
        failed = run_dag(DAG, hour=ELEVEN, threshold=0.0)
    finally:
        dynamodb.put_item(TableName=WINDOWS, Item=item)
    assert failed.state == failed.tasks["judge"] == "failed"
    said = capfd.readouterr().out
    assert "more than 0.00% of the windows differ: sources_1m:" in said
    assert "0 late, 1 missing, 0 duplicate" in said
    clicks = sum(click["trafficfrom"] == "search" for click in of_hour(batch, ELEVEN))
    assert differences(ELEVEN) == [("sources_1m", "search", "missing", "0", str(clicks))]
    assert run_dag(DAG, hour=ELEVEN, threshold=0.0).state == "success"
    assert differences(ELEVEN) == []
