"""Airflow for the tests: a metadata database of its own, and DAGs run in this very process."""

import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

from tests import clickstream
from tests.clickstream import Sent

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
def run_dag(stack: Any, airflow: None) -> Iterator[Callable[..., Outcome]]:
    """Runs a DAG for real, on the local stack."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    def nap(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        # Whenever tasks are skipped, a test run waits for a second before it looks at those behind them.
        waiting = sys._getframe(1).f_globals["__name__"] == "airflow.sdk.definitions.dag"
        sleep(seconds / 20 if waiting else seconds)

    patience = pytest.MonkeyPatch()
    patience.setattr(time, "sleep", nap)
    # For its user agent, a client looks through the source of all that called it.
    patience.setattr(AwsGenericHook, "_get_caller", lambda *_: "Unknown")
    # Every task has a session of its own, which reads the descriptions of the services it uses.
    described = functools.cache(JSONFileLoader().load_file)
    patience.setattr(JSONFileLoader, "load_file", lambda _, file: described(file))

    def run(dag_id: str, logical_date: datetime | None = None, **conf: Any) -> Outcome:
        # Loaded anew for every run, because a test run writes its conf into the DAG's own params.
        dag = DagBag(dag_folder=DAGS / f"{dag_id}.py", bundle_name="dags-folder").dags[dag_id]
        dag_run = dag.test(run_conf=conf, logical_date=logical_date or datetime.now(UTC))
        states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
        return Outcome(str(dag_run.state), states, dag_run)

    yield run
    patience.undo()


@pytest.fixture(scope="session")
def clicks_sent(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Clicks that went through the stream, into the lake and into the speed layer."""
    return clickstream.send(tmp_path_factory.mktemp("produce"))
