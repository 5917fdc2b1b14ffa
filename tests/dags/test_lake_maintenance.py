"""The maintenance DAG, run for real: what it tells, what it rewrites, what it drops."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import polars as pl
import pytest

from include.tables import catalog, contract

DAG = "lake_maintenance"
DAGS = Path(__file__).parents[2] / "dags"
LAKE = "vitrine-lake"
VALUES = ("drogaria", "many")
DELIVERED = "landing/geo/2020-01-31/locations.parquet"


@pytest.fixture(scope="module")
def partition(stack):
    """A partition of the raw zone in ten small files, and a version that nobody points at."""
    s3, glue = boto3.client("s3"), boto3.client("glue")
    for number in range(10):
        buffer = io.BytesIO()
        pl.DataFrame({"order_id": [f"{number}-{line}" for line in range(50)]}).write_parquet(buffer)
        for version in ("many", "lost"):
            key = f"raw/sales/client=drogaria/v={version}/month=2026-01/{number}.parquet"
            s3.put_object(Bucket=LAKE, Key=key, Body=buffer.getvalue())
    s3.put_object(Bucket=LAKE, Key=DELIVERED, Body=b"where people were")
    table = contract.load("sales_extract")
    catalog.ensure_table(glue, table, f"s3://{LAKE}/raw/sales/")
    catalog.switch_partition(glue, table, VALUES, f"s3://{LAKE}/raw/sales/client=drogaria/v=many/")
    yield lambda: catalog.partitions(glue, table)[VALUES].location
    glue.delete_partition(DatabaseName=table.database, TableName=table.name, PartitionValues=list(VALUES))


def files(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=LAKE, Prefix=prefix.removeprefix(f"s3://{LAKE}/"))
    return [item["Key"] for item in found.get("Contents", [])]


def raw(outcome) -> dict:
    """What the run says of the raw zone."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.scalars(
            XComModel.get_many(
                run_id=outcome.run.run_id, dag_ids=DAG, task_ids="drop_versions", key="return_value", map_indexes=None
            )
        ).all()
        values = [XComModel.deserialize_value(row) for row in rows]
    (found,) = [value for value in values if value["layer"] == "raw"]
    return found


def test_a_run_only_tells_until_it_is_told_otherwise(run_dag, partition, caplog):
    before = partition()
    outcome = run_dag(DAG, older_than_days=1)
    assert outcome.state == "success"
    assert raw(outcome)["dry_run"] is True
    assert outcome.tasks["compaction.rewrite"] == "skipped"
    assert "sales_extract drogaria many: 10 files" in caplog.text
    assert partition() == before
    assert len(files("raw/sales/client=drogaria/v=lost/")) == 10
    assert "Would drop location records before" in caplog.text
    assert files(DELIVERED) == [DELIVERED]


def test_small_files_become_few_and_the_old_ones_stay(run_dag, partition):
    before = partition()
    assert run_dag(DAG, dry_run=False).state == "success"
    assert partition() != before
    assert len(files(before)) == 10
    assert files(DELIVERED) == []
    (key,) = files(partition())
    rows = pl.read_parquet(io.BytesIO(boto3.client("s3").get_object(Bucket=LAKE, Key=key)["Body"].read()))
    assert rows["order_id"].to_list() == [f"{number}-{line}" for number in range(10) for line in range(50)]


def test_a_parameter_beats_the_deployments_variable(monkeypatch):
    from include.maintenance import tasks

    monkeypatch.setattr(tasks.Variable, "get", lambda *_, **__: "false")
    assert tasks.is_dry({"dry_run": True})
    assert not tasks.is_dry({"dry_run": None})
    monkeypatch.setattr(tasks.Variable, "get", lambda _, default: default)
    assert tasks.is_dry({"dry_run": None})
    assert not tasks.is_dry({"dry_run": False})


def test_a_run_a_month_later_drops_what_nobody_points_at(run_dag, partition):
    from airflow.dag_processing.dagbag import DagBag

    published = files(partition())
    dag = DagBag(dag_folder=DAGS / f"{DAG}.py", bundle_name="dags-folder").dags[DAG]
    run = dag.test(logical_date=datetime.now(UTC) + timedelta(days=30), run_conf={"dry_run": False})
    assert str(run.state) == "success"
    assert files("raw/sales/client=drogaria/v=lost/") == []
    assert files("raw/sales/client=drogaria/v=many/") == []
    assert files(partition()) == published
