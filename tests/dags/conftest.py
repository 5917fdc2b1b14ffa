"""Airflow for the tests: a metadata database of its own, and DAGs run in this very process."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"


@dataclass(frozen=True)
class Outcome:
    """How a DAG run ended: its state, the state of each task, and the messages of XCom by task."""

    state: str
    tasks: dict[str, str]
    run: Any

    def xcom(self, task_id: str) -> Any:
        """What the task returned."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            row = session.scalars(
                XComModel.get_many(
                    run_id=self.run.run_id, dag_ids=self.run.dag_id, task_ids=task_id, key="return_value"
                )
            ).first()
            return XComModel.deserialize_value(row) if row else None


@pytest.fixture(scope="session")
def airflow() -> None:
    """A migrated metadata database in the AIRFLOW_HOME that tests/conftest.py chose before Airflow was imported."""
    subprocess.run([Path(sys.executable).with_name("airflow"), "db", "migrate"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def run_dag(stack: Any, airflow: None) -> Callable[..., Outcome]:
    """Runs a DAG for real, on the local stack."""
    from airflow.dag_processing.dagbag import DagBag

    def run(dag_id: str, **conf: Any) -> Outcome:
        # Loaded anew for every run, because a test run writes its conf into the DAG's own params.
        dag_run = DagBag(dag_folder=DAGS / f"{dag_id}.py", bundle_name="dags-folder").dags[dag_id].test(run_conf=conf)
        states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
        return Outcome(str(dag_run.state), states, dag_run)

    return run
