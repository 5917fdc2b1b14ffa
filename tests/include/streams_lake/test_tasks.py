"""The tasks one after the other, as a DAG has them; the local Glue runs the jobs from what a deployment uploads."""

import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import SimpleNamespace

import boto3
import pytest
from airflow.exceptions import AirflowFailException

from include import aws
from include.lakehouse import candidates
from include.streams_lake import runs, speed_tasks, tasks
from include.streams_lake.assets import REFINED
from include.streams_lake.streams import CLICKSTREAM, ORDERS, SPEED
from include.tables import catalog, contract
from local import deploy
from local.data import clickstream, order_lines
from tests import athena
from tests.include.streams_lake.conftest import LAKE
from tests.include.streams_lake.test_reconcile import Speed

START = datetime(2026, 3, 1, 10, 59, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOBS = ("clicks", "orders", "web_logs", "speed")


class Try:
    """A task instance at its first try."""

    try_number = 1


@pytest.fixture
def own_lake(lake, monkeypatch):
    """The tasks' lake is the tests'."""
    monkeypatch.setattr(aws, "lake", lambda: LAKE)


@pytest.fixture
def glue(lake, own_lake):
    """Glue with the streams' jobs, which have nothing but what is shipped."""
    code = f"s3://{LAKE}/vitrine/{deploy.upload(lake.s3, LAKE)}"
    there = {job["Name"] for job in lake.glue.get_jobs()["Jobs"]}
    made = []
    for name in JOBS:
        job = {
            "Name": f"vitrine-{name.replace('_', '-')}",
            "Role": "glue",
            "GlueVersion": "5.0",
            "Command": {"Name": "glueetl", "ScriptLocation": f"{code}/{name}.py"},
            "DefaultArguments": {"--extra-py-files": f"{code}/modules.zip", "--lake": LAKE},
        }
        if job["Name"] not in there:
            made.append(lake.glue.create_job(**job)["Name"])
    yield lake.glue
    for name in made:
        lake.glue.delete_job(JobName=name)


def run(glue, job: str, planned: dict, **arguments: str) -> str:
    """Runs a job to its end, as the operator does."""
    version = f"{planned['version']}-{'-'.join(arguments)}"
    given = {"--version": version, "--lake": LAKE, "--report": f"s3://{LAKE}/runs/streams/{version}.json"}
    given |= {f"--{name.replace('_', '-')}": value for name, value in arguments.items()}
    name = f"vitrine-{job}"
    run_id = glue.start_job_run(JobName=name, Arguments=given)["JobRunId"]
    while (found := glue.get_job_run(JobName=name, RunId=run_id)["JobRun"])["JobRunState"] in ("STARTING", "RUNNING"):
        time.sleep(0.1)
    assert found["JobRunState"] == "SUCCEEDED", found["ErrorMessage"]
    return run_id


def verdicts(staged: list[dict[str, str]]) -> list[dict[str, str]]:
    for check in staged:
        athena.rows(check["query"])
    return [{"table": check["table"], "warnings": ""} for check in staged]


def through(glue, stream, told=None, **rule) -> dict:
    """All tasks of a stream, from the plan to the measures."""
    planned = tasks.plan_arrivals.function(stream.name, NOON - timedelta(hours=2), NOON)
    loaded = run(glue, stream.job, planned, files=planned["files"])
    assert tasks.publish_bronze.function(stream.name, planned, loaded) == planned["arrived"]
    fixed = tasks.snapshot.function(stream.name, planned, Try, **rule)
    refined = run(glue, stream.job, planned, inputs=fixed["inputs"])
    staged = tasks.stage.function(stream.name, planned, fixed["rows"], refined)
    published = tasks.publish_refined.function(stream.name, planned, fixed["digests"], refined, verdicts(staged), told)
    tasks.drop_candidates.function(stream.job, refined)
    version = f"{planned['version']}-inputs"
    audited = [found["Name"] for found in glue.get_tables(DatabaseName="vitrine_audit")["TableList"]]
    assert not set(audited) & {candidates.name(contract.load(name), version) for name in stream.refined}
    return tasks.measure.function(stream.name, planned, Try, fixed["rows"], loaded, refined, published)


@pytest.mark.long
def test_orders_from_raw_to_alarms(lake, glue):
    lines = list(islice(order_lines.lines(1, 0, START, timedelta(seconds=1), order_lines.Burst(48, 15)), 120))
    lake.deliver(ORDERS, "2026-03-01T10", "a", lines[:70])
    lake.deliver(ORDERS, "2026-03-01T11", "b", [*lines[60:], b"poison"])
    rule = {"rule": {"threshold": 10, "window": 1_000_000}}
    measured = through(glue, ORDERS, **rule)
    assert measured["bronze"] == {"rows": 130, "rejected": 1}
    assert measured["silver"] == {"rows": 120, "rejected": 0}
    assert measured["gold"] == {"rows": 1, "rejected": 0}
    assert athena.query("SELECT counted, threshold FROM vitrine.order_alarms") == [("11", "10")]
    quality = athena.query("SELECT table_name, reconciled FROM vitrine.quality WHERE run LIKE 'orders-%' ORDER BY 1")
    assert quality == [("order_alarms", "true"), ("order_lines", "true"), ("stream_orders", "true")]


@pytest.mark.long
def test_clicks_of_both_layers_are_compared(lake, glue):
    clicks = list(islice(clickstream.clicks(2, 0, START, timedelta(seconds=1)), 120))
    lake.deliver(CLICKSTREAM, "2026-03-01T10", "a", clicks[:100])
    lake.deliver(CLICKSTREAM, "2026-03-01T11", "b", clicks[90:])
    told = defaultdict(SimpleNamespace)
    assert through(glue, CLICKSTREAM, told)["bronze"] == {"rows": 130, "rejected": 0}
    changed = {"hours": ["2026-03-01T10", "2026-03-01T11"], "until": "2026-03-01T12"}
    assert told[REFINED[CLICKSTREAM.name]].extra == changed
    layer = Speed(lake)
    layer.take(clicks[:-1])
    planned = speed_tasks.plan_speed.function(NOON - timedelta(hours=2), NOON)
    assert planned["hours"] == ["2026-03-01T10", "2026-03-01T11"]
    exported = run(glue, "speed", planned, hours=planned["document"], windows_table=layer.table)
    assert speed_tasks.publish_speed.function(planned, exported).keys() == set(SPEED)
    compared = speed_tasks.compare.function(planned, Try)
    athena.rows(compared["unload"])
    assert speed_tasks.publish_differences.function(planned, compared["location"]) == ["2026-03-01T11"]
    query = boto3.client("athena").start_query_execution(QueryString=compared["totals"], WorkGroup="vitrine")
    athena.query(compared["totals"])
    deadline = time.monotonic() + 60
    while True:
        state = boto3.client("athena").get_query_execution(QueryExecutionId=query["QueryExecutionId"])
        if state["QueryExecution"]["Status"]["State"] == "SUCCEEDED":
            break
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    with pytest.raises(AirflowFailException, match=r"sources_1m: \d+ windows in speed"):
        speed_tasks.judge.function(query["QueryExecutionId"], {"threshold": 0.0})
    assert len(speed_tasks.judge.function(query["QueryExecutionId"], {"threshold": 0.5})) == 4
    layer.dynamodb.delete_table(TableName=layer.table)
    assert catalog.partitions(glue, contract.load("speed_sessions")).keys() == {
        ("2026-03-01", "10"),
        ("2026-03-01", "11"),
    }


@pytest.mark.parametrize(
    ("start", "end", "first", "last", "number"),
    [
        (NOON - timedelta(hours=1), NOON + timedelta(minutes=10), "2026-03-01T11", "2026-03-01T11", 1),
        (NOON - timedelta(hours=32), NOON - timedelta(hours=8), "2026-02-28T00", "2026-02-28T23", 24),
    ],
)
def test_an_intervals_hours_are_compared_and_whole_days_of_a_longer_one(own_lake, start, end, first, last, number):
    planned = speed_tasks.plan_speed.function(start, end)
    assert planned["hours"] == planned["exported"] == runs.read(planned["document"])
    assert (planned["hours"][0], planned["hours"][-1], len(planned["hours"])) == (first, last, number)


def test_one_hour_is_compared_when_it_is_named(own_lake):
    planned = speed_tasks.plan_speed.function(NOON - timedelta(days=1), NOON, params={"hour": "2026-02-03T04"})
    assert planned["hours"] == planned["exported"] == ["2026-02-03T04"]


def test_after_a_publication_whole_hours_are_compared_and_the_open_one_is_exported(own_lake):
    extra = {"hours": ["2026-03-01T07", "2026-03-01T10", "2026-03-01T11"], "until": "2026-03-01T12"}
    told = {REFINED[CLICKSTREAM.name]: [SimpleNamespace(extra=extra)]}
    planned = speed_tasks.plan_speed.function(
        dag_run=SimpleNamespace(run_after=NOON), triggering_asset_events=told, params={"hour": None}
    )
    # What happened as 11 o'clock's hour ended arrives after 12.
    assert planned["hours"] == ["2026-03-01T07", "2026-03-01T10"]
    assert planned["exported"] == ["2026-03-01T07", "2026-03-01T10", "2026-03-01T12"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (NOON - timedelta(hours=3), NOON, ("2026-03-01T09", "2026-03-01T12")),
        (NOON, NOON, ("2026-03-01T11", "2026-03-01T12")),
        (None, None, ("2026-03-01T11", "2026-03-01T12")),
    ],
)
def test_the_hours_of_a_run(start, end, expected):
    assert tasks.interval(start, end, NOON + timedelta(minutes=20)) == expected
