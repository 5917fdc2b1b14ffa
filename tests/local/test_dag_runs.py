"""Runs in processes of their own, with an Airflow of their own."""

import os
from datetime import UTC, datetime

import pytest

from local import airflow, dag_runs
from local.dag_runs import Run

DAGS = """
import os, pathlib
from datetime import datetime
from airflow.sdk import dag, task

@dag(schedule=None, params={"greeting": "none"})
def greets():
    @task
    def greet(params=None, data_interval_end=None):
        with pathlib.Path(os.environ["TOLD"]).open("a") as told:
            told.write(f"{params['greeting']} {data_interval_end:%Y-%m-%d} {os.getpid()}\\n")
    greet()

@dag(schedule=None)
def breaks():
    @task
    def work():
        raise ValueError("no flour")
    work()

@dag(schedule=None)
def dies():
    @task
    def work():
        os._exit(3)
    work()

greets(), breaks(), dies()
"""
DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("runs")
    (state / "dags").mkdir()
    (state / "dags" / "dags.py").write_text(DAGS)
    airflow.migrate(state, environment(state))
    return state


def environment(state):
    return {**os.environ, **airflow.settings(state), "AIRFLOW__CORE__DAGS_FOLDER": str(state / "dags")}


def greeting(name):
    return Run("greets", {"greeting": name}, DAY)


def test_chains_run_side_by_side_each_in_one_process(state, tmp_path, capfd):
    told = tmp_path / "told"
    with dag_runs.runners(state, environment(state)) as runners:
        chains = [[greeting("one"), greeting("two")], [Run("breaks"), greeting("never")]]
        failures = runners.side_by_side(chains, {"TOLD": str(told)})
        assert failures == [f"breaks failed: work; its log: {state}/logs/breaks.log"]
        # The process of a run that failed does the next one.
        assert runners.side_by_side([[], [greeting("three")]], {}) == []
    lines = [line.split() for line in told.read_text().splitlines()]
    assert [line[:2] for line in lines] == [[name, "2026-03-01"] for name in ("one", "two", "three")]
    processes = [line[2] for line in lines]
    assert processes[0] == processes[1] != processes[2]
    said = capfd.readouterr().out
    assert "breaks             failed   work" in said
    assert "ValueError: no flour" in (state / "logs" / "breaks.log").read_text()


def test_a_process_that_dies_is_a_failed_run(state, capfd):
    with dag_runs.runners(state, environment(state), 1) as runners:
        expected = [f"dies failed; its log: {state}/logs/dies.log"]
        assert runners.side_by_side([[Run("dies"), greeting("never")]], {}) == expected
        assert runners.side_by_side([[Run("dies")]], {}) == expected
        with pytest.raises(ValueError, match="2 chains for 1 processes"):
            runners.side_by_side([[], []], {})
