"""Airflow as `make up` runs it: scheduler, triggerer, DAG processor and API in their own processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from local import airflow as local_airflow
from local import load
from local import stack as local_stack
from local.snowflake import connection, setup
from tests.athena import query
from tests.deliveries import clear, deliver, expected, split
from tests.include.warehouse.gold import money, redshift

ROOT = Path(__file__).parents[2]
UNTIL = date(2026, 3, 1)
PATIENCE = 300

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Api:
    """Airflow's REST API, logged in, and the environment of its processes."""

    url: str
    token: str
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, method, path, body=None):
        """The answer to a request, as JSON."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def ended(self, dag_id, run_id):
        """The run, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while (run := self("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, run
            time.sleep(1)
        return run

    def trigger(self, dag_id, **conf):
        """Starts a run; its id."""
        request = {"logical_date": None, "conf": conf}
        return self("POST", f"/api/v2/dags/{dag_id}/dagRuns", request)["dag_run_id"]

    def unpause(self, dag_id):
        """Lets runs of the DAG begin."""
        self("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def runs(self, dag_id, count):
        """The runs of a DAG, of which there must be so many."""
        found = self("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        assert len(found) == count, [run["dag_run_id"] for run in found]
        return found

    def states(self, dag_id, run_id):
        """The states of a run's tasks."""
        found = self("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def said(attempt):
    """What an attempt gives, once it succeeds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except (OSError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture(scope="module")
def api(stack, tmp_path_factory):
    """A running Airflow, as a user gets it."""
    home, port = tmp_path_factory.mktemp("standalone"), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW__API__PORT": str(port),
        # Its log server and triggerer would take fixed ports.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }
    log = home / "airflow.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "airflow", "--state", str(stack.state)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        passwords = stack.state / "airflow" / "simple_auth_manager_passwords.json.generated"

        def token():
            assert process.poll() is None, log.read_text()
            assert passwords.exists()
            login = {"username": "admin", "password": json.loads(passwords.read_text())["admin"]}
            return Api(url, "")("POST", "/auth/token", login)["access_token"]

        logged_in = Api(url, said(token), environment | local_airflow.settings(stack.state))

        def healthy():
            health = logged_in("GET", "/api/v2/monitor/health")
            wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            assert all(health[part]["status"] == "healthy" for part in wanted), health
            assert logged_in("GET", "/api/v2/dags")["total_entries"] > 0

        said(healthy)
        yield logged_in
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.mark.parametrize(("token", "code"), [("", 401), ("guess", 403)])
def test_nobody_comes_in_without_a_login(api, token, code):
    with pytest.raises(urllib.error.HTTPError) as refused:
        Api(api.url, token)("GET", "/api/v2/dags")
    assert refused.value.code == code


def test_no_dag_has_an_import_error(api):
    assert api("GET", "/api/v2/importErrors")["import_errors"] == []


@pytest.fixture(scope="module")
def products(api, stack):
    """A run of the products' DAG that was triggered over REST, without some of them."""
    load.seed(stack.state, local_stack.running(stack.state).snowflake_port, scale=0.1, until=UNTIL)
    api.unpause("advanced_products")
    conf = {"client": "drogaria", "report_date": UNTIL.isoformat(), "MBA": "True", "CLV": "False"}
    run = api.trigger("advanced_products", **conf, AD=False, RECOMMENDER="False")
    return api.ended("advanced_products", run)


def test_products_run_when_triggered_over_rest(api, products):
    states = api.states("advanced_products", products["dag_run_id"])
    assert products["state"] == "success", states
    assert states["mba.publish"] == "success"
    assert states["clv.run"] == "skipped"


def test_a_run_leaves_lineage(stack, products):
    def told():
        lines = (stack.state / "logs" / "lineage.jsonl").read_text().splitlines()
        events = [event for event in map(json.loads, lines) if event["job"]["name"].startswith("advanced_products")]
        assert any(event["job"]["name"] == "advanced_products" and event["eventType"] == "COMPLETE" for event in events)
        return events

    events = said(told)
    assert {event["job"]["namespace"] for event in events} == {"vitrine"}
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event["job"]["name"], []).append(event["eventType"])
    for name in ("advanced_products", "advanced_products.extract.audit", "advanced_products.mba.publish"):
        assert sorted(set(kinds[name])) == ["COMPLETE", "START"], name
    tasks = [event for event in events if event["job"]["name"] != "advanced_products"]
    # a parent for every task: its DAG's run
    (whole,) = {event["run"]["runId"] for event in events if event["job"]["name"] == "advanced_products"}
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in tasks} == {whole}


class TestLakehouseAtOnce:
    """Runs that overlap: one that the files' arrival starts, a backfill, and others triggered meanwhile."""

    FIRST, DAYS = date(2018, 9, 1), 2

    @pytest.fixture(scope="class")
    def scheduled(self, api, stack):
        """The run of this morning, before anything has landed."""
        clear()
        port = local_stack.running(stack.state).snowflake_port
        with connection.connect(port, stack.state, database=None, schema=None) as session:
            setup.set_up(session)
        api.unpause("sales_lakehouse")
        api.unpause("warehouse_load")
        (run,) = said(lambda: api.runs("sales_lakehouse", 1))
        return api.ended("sales_lakehouse", run["dag_run_id"])

    @pytest.fixture(scope="class")
    def delivered(self, scheduled):
        """Deliveries of some days, which all land now."""
        deliveries = split(self.DAYS, self.FIRST)
        for day, tables in deliveries.items():
            for table, rows in tables.items():
                deliver(day, table, rows)
        return deliveries

    @pytest.fixture(scope="class")
    def runs(self, api, delivered):
        """A backfill of all days, a run for the last one, and the one that the files start, at once."""
        last = max(delivered)
        backfill = ["backfill", "create", "--dag-id", "sales_lakehouse", "--max-active-runs", str(self.DAYS)]
        backfill += ["--from-date", self.FIRST.isoformat(), "--to-date", f"{last.isoformat()}T23:00:00"]
        created = subprocess.run(
            [local_airflow.AIRFLOW, *backfill], env=api.environment, capture_output=True, text=True, check=False
        )
        assert created.returncode == 0, created.stdout + created.stderr
        api.trigger("sales_lakehouse", load_date=last.isoformat(), rebuild=True)
        found = said(lambda: api.runs("sales_lakehouse", 1 + self.DAYS + 1 + 1))
        return [api.ended("sales_lakehouse", run["dag_run_id"]) for run in found]

    def test_with_nothing_landed_a_scheduled_run_ends_at_once(self, api, scheduled):
        assert (scheduled["run_type"], scheduled["state"]) == ("scheduled", "success")
        states = api.states("sales_lakehouse", scheduled["dag_run_id"])
        ran = {task for task, state in states.items() if state == "success"}
        assert ran == {"plan", "choose_start", "drop_candidates"}

    def test_files_that_land_start_a_run(self, runs):
        kinds = Counter(run["run_type"] for run in runs)
        assert kinds == {"scheduled": 1, "backfill": self.DAYS, "manual": 1, "asset_triggered": 1}

    def test_every_run_ends_well(self, api, runs):
        failed = {
            run["dag_run_id"]: api.states("sales_lakehouse", run["dag_run_id"])
            for run in runs
            if run["state"] != "success"
        }
        assert failed == {}

    def test_every_delivery_is_published_once(self, runs, delivered):
        sql = "SELECT order_date, count(*), sum(price) FROM vitrine.wide_sales GROUP BY order_date ORDER BY order_date"
        assert query(sql) == expected(delivered)
        files = query("SELECT count(*), count(DISTINCT source_file) FROM vitrine.deliveries")
        count = str(sum(map(len, delivered.values())))
        assert files == [(count, count)]

    def test_what_is_published_is_loaded_into_the_warehouses(self, api, runs):
        published = query("SELECT count(*), sum(price) FROM vitrine.wide_sales")

        def loaded():
            found = api("GET", "/api/v2/dags/warehouse_load/dagRuns?limit=100")["dag_runs"]
            assert {(run["run_type"], run["state"]) for run in found} == {("asset_triggered", "success")}
            ((rows, price),) = redshift("SELECT count(*), sum(price) FROM gold.wide_sales")
            assert [(str(rows), str(money(price)))] == published

        said(loaded)

    def test_a_run_that_is_cleared_in_the_middle_publishes_the_same(self, api, runs):
        built = {run["dag_run_id"]: api.states("sales_lakehouse", run["dag_run_id"])["gold.publish"] for run in runs}
        run = next(run for run, state in built.items() if state == "success")
        before = sorted(query("SELECT * FROM vitrine.wide_sales"), key=str)
        cleared = {"dag_run_id": run, "task_ids": ["gold.build"], "include_downstream": True, "dry_run": False}
        cleared |= {"only_failed": False, "reset_dag_runs": True}
        api("POST", "/api/v2/dags/sales_lakehouse/clearTaskInstances", cleared)
        assert api.ended("sales_lakehouse", run)["state"] == "success"
        tries = api("GET", f"/api/v2/dags/sales_lakehouse/dagRuns/{run}/taskInstances/gold.build")["try_number"]
        assert tries == 2
        assert sorted(query("SELECT * FROM vitrine.wide_sales"), key=str) == before
