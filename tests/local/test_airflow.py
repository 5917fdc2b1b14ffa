"""Airflow beside the local stack: what its settings do."""

import json
import os

import pytest

from local import airflow

DAG = "lake_maintenance"


@pytest.fixture(scope="module")
def run(stack, tmp_path_factory):
    """Runs the DAG as `make run` does, with more settings; the lineage that it left."""
    state = tmp_path_factory.mktemp("airflow")
    (state / "logs").mkdir()
    (state / "airflow").mkdir()

    def result(**more: str) -> list[dict]:
        environment = {**os.environ, **stack.env, **airflow.settings(state), **more}
        airflow.migrate(state, environment)
        airflow.run_dag(DAG, {"dry_run": True, "compact": []}, state, environment)
        file = state / "logs" / "lineage.jsonl"
        events = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return events

    return result


def test_a_run_leaves_lineage(run):
    events = run()
    assert {event["job"]["namespace"] for event in events} == {"vitrine"}
    said: dict[str, set[str]] = {}
    for event in events:
        said.setdefault(event["job"]["name"], set()).add(event["eventType"])
    for name in ("drop_candidates", "drop_versions", "find_small_files"):
        assert said[f"{DAG}.{name}"] == {"START", "COMPLETE"}, name
    assert said[DAG] == {"COMPLETE"}  # the START of a run is the scheduler's to tell
    tasks = [event for event in events if event["job"]["name"].startswith(f"{DAG}.")]
    starts, ends = (
        sorted(event["run"]["runId"] for event in tasks if event["eventType"] == kind) for kind in ("START", "COMPLETE")
    )
    assert starts == ends
    # a parent for every task: its DAG's run
    (whole,) = {event["run"]["runId"] for event in events if event["job"]["name"] == DAG}
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in tasks} == {whole}


def test_lineage_can_be_switched_off(run):
    assert run(AIRFLOW__OPENLINEAGE__DISABLED="True") == []
