"""The monthly DAG starts a run for each client that is due, for the right day."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

DAG = "advanced_products_monthly"


@pytest.fixture
def conf_of_clients(airflow):
    """What the mapped task would send, for a run whose interval ends at a moment."""
    import pendulum
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(dag_folder=Path(__file__).parents[2] / "dags" / f"{DAG}.py", bundle_name="dags-folder").dags[DAG]
    return lambda moment: dag.get_task("clients").python_callable(pendulum.parse(moment))


def test_every_monthly_client_is_due_and_no_other(conf_of_clients):
    assert conf_of_clients("2026-03-01T05:00:00Z") == [{"client": "drogaria", "report_date": "2026-03-01"}]


@pytest.mark.long
def test_a_backfill_plans_a_run_a_month_each_with_its_own_interval(airflow):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    command = Path(sys.executable).with_name("airflow")
    subprocess.run([command, "dags", "reserialize"], check=True, capture_output=True)
    done = subprocess.run(
        [command, "backfill", "create", "--dag-id", DAG, "--from-date", "2026-02-01", "--to-date", "2026-04-30"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with create_session() as session:
        ends = session.scalars(select(DagRun.data_interval_end).where(DagRun.dag_id == DAG)).all()
    assert sorted(end.date().isoformat() for end in ends) == ["2026-03-01", "2026-04-01", "2026-05-01"]
