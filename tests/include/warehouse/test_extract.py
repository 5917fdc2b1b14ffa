"""The operator on the local stack: real statements in the local Snowflake, real files in the local lake."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import boto3
import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from snowflake.connector.errors import DatabaseError

from include.sql import SQL
from include.warehouse.extract import SnowflakeUnloadOperator
from local.snowflake import setup

ROOT = Path(__file__).parents[3]
# More than DuckDB does in the lifetime of a test.
ENDLESS = "SELECT COUNT(*) AS c FROM numbers_ a, numbers_ b, numbers_ c WHERE (a.i * b.i + c.i) % 7 = 3"
PLAN = {
    "view": ["RETAIL", "EXTRACTED", "SALES"],
    "start": "2024-01-01",
    "end": "2024-03-01",
    "roles": {
        "product_id": "StockCode",
        "product_group": "case when regexp_like(StockCode, '^[0-9]{5}.*$') then left(StockCode, 2) || 'xxx'"
        " else 'service' end",
        "sale_date": "InvoiceDate",
        "quantity": "Quantity",
        "amount": "Quantity * UnitPrice",
        "customer_id": "CustomerID::varchar",
    },
}


@pytest.fixture(scope="module", autouse=True)
def sales(stack):
    """Four sales, two of them in the window, one on each side of it."""
    with closing(SnowflakeHook().get_conn()) as connection:
        setup.set_up(connection)
        for sql in (
            "CREATE SCHEMA IF NOT EXISTS RETAIL.EXTRACTED",
            """CREATE OR REPLACE TABLE RETAIL.EXTRACTED.SALES (InvoiceNo VARCHAR, StockCode VARCHAR, Quantity INTEGER,
                InvoiceDate TIMESTAMP_NTZ, UnitPrice NUMBER(18, 4), CustomerID INTEGER)""",
            """INSERT INTO RETAIL.EXTRACTED.SALES VALUES
                ('1', '84029G', 2, '2023-12-31 23:59:59', 1.25, 17850),
                ('2', '84029G', 6, '2024-01-01 00:00:00', 3.39, 17850),
                ('C3', 'POST', -1, '2024-02-29 23:59:59', 18.00, NULL),
                ('4', '22752', 1, '2024-03-01 00:00:00', 7.65, 1)""",
            "CREATE OR REPLACE TABLE RETAIL.PUBLIC.numbers_ AS SELECT UNNEST(RANGE(20000)) AS i",
        ):
            connection.cursor().execute(sql)


@pytest.fixture
def lake(stack):
    client = boto3.client("s3", endpoint_url=stack.endpoint)

    def files(location: str) -> dict[str, pa.Table]:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): pq.read_table(
                io.BytesIO(client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
            )
            for item in listed
        }

    return files


def context(try_number: int = 1) -> dict:
    """What Airflow puts into the context that the operator and its statement use."""

    def xcom_pull(task_ids, key):
        assert task_ids == "resolve_contract"
        return PLAN[key]

    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", try_number=try_number, xcom_pull=xcom_pull)
    return {"ti": ti, "params": {}}


def unload(name: str, try_number: int = 1, sql: str = "snowflake/unload_sales.sql") -> SnowflakeUnloadOperator:
    """The operator with its fields rendered, as Airflow does it before it executes a task."""
    operator = SnowflakeUnloadOperator(task_id="t", sql=sql, location=f"{name}/v=1-{{{{ ti.try_number }}}}/")
    given = context(try_number)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)
    operator.render_template_fields({**given, "task": operator}, environment)
    return operator


def test_the_extract_is_the_window_in_canonical_columns_by_month(lake):
    result = unload("canonical").execute(context())
    assert result["location"] == "s3://vitrine-lake/raw/canonical/v=1-1/"
    assert result["rows"] == 2
    files = lake(result["location"])
    assert [name.partition("/")[0] for name in sorted(files)] == ["month=2024-01", "month=2024-02"]
    table = pa.concat_tables(files[name] for name in sorted(files))
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
        "product_id": pa.string(),
        "product_group": pa.string(),
        "sale_date": pa.timestamp("us"),
        "quantity": pa.float64(),
        "amount": pa.decimal128(18, 4),
        "customer_id": pa.string(),
    }
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("84029G", "84xxx", datetime(2024, 1, 1), 6.0, Decimal("20.3400"), "17850"),
        ("POST", "service", datetime(2024, 2, 29, 23, 59, 59), -1.0, Decimal("-18.0000"), None),
    ]


def test_the_totals_are_those_of_the_same_window():
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)
    sql = template.get_template("snowflake/sales_totals.sql").render(context())
    assert SnowflakeHook().get_records(sql) == [(2, Decimal("2.3400"), datetime(2024, 3, 1))]


def test_a_window_without_sales_has_totals_too(monkeypatch):
    monkeypatch.setitem(PLAN, "end", "2020-02-01")
    monkeypatch.setitem(PLAN, "start", "2020-01-01")
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)
    sql = template.get_template("snowflake/sales_totals.sql").render(context())
    assert SnowflakeHook().get_records(sql) == [(0, Decimal(0), datetime(2024, 3, 1))]
    assert unload("empty").execute(context())["rows"] == 0


def test_a_repetition_leaves_one_copy(lake):
    first = unload("repeated").execute(context())
    second = unload("repeated").execute(context())
    assert first["query_id"] != second["query_id"]
    assert len(lake(second["location"])) == 2
    assert all(second["query_id"] in name for name in lake(second["location"]))


def test_every_try_has_a_place_of_its_own():
    assert unload("tries", 1).target != unload("tries", 2).target


def test_the_session_says_who_it_works_for_and_what_was_written():
    result = unload("tagged").execute(context(try_number=1))
    history = "SELECT query_tag FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE query_id = %(id)s"
    tag = SnowflakeHook().get_first(history, parameters={"id": result["query_id"]})[0]
    assert tag == "airflow dag=d task=t run=r try=1"
    assert result["bytes"] > 0


def test_a_failed_try_leaves_nothing(lake):
    sql = "COPY INTO {{ task.target }} FROM (SELECT 'x'::INTEGER AS a) FILE_FORMAT = (TYPE = PARQUET)"
    with pytest.raises(DatabaseError, match="Could not convert"):
        unload("failed", sql=sql).execute(context())
    assert lake("s3://vitrine-lake/raw/failed/") == {}


@pytest.mark.parametrize("location", ["", "/", "a/../b", "run=2024-01-01T00:00:00+00:00", "a//b", "it's"])
def test_a_location_that_is_trouble_is_refused(location):
    with pytest.raises(ValueError, match="location"):
        SnowflakeUnloadOperator(task_id="t", sql="x", location=location).target  # noqa: B018


def test_a_statement_that_unloads_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"COPY INTO \{\{ task.target \}\}"):
        unload("elsewhere", sql="COPY INTO '@RETAIL.PUBLIC.VITRINE_LAKE/other/' FROM t").execute(context())


def test_an_internal_stage_is_no_place_for_an_extract():
    SnowflakeHook().run("CREATE OR REPLACE STAGE RETAIL.PUBLIC.INSIDE")
    operator = unload("inside", sql="COPY INTO {{ task.target }} FROM RETAIL.EXTRACTED.SALES")
    operator.stage, operator.sql = "RETAIL.PUBLIC.INSIDE", operator.sql.replace("VITRINE_LAKE", "INSIDE")
    with pytest.raises(ValueError, match="external stage"):
        operator.execute(context())


# Airflow's task runner runs the task; only the API server that it reports to is a stand-in, which says yes to all.
TASK = """
from uuid import uuid4
import httpx
from airflow.sdk import DAG
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import run_task_in_process
from include.warehouse.extract import SnowflakeUnloadOperator

MOMENT = "2024-03-01T00:00:00Z"
RUN = dict.fromkeys(
    ("data_interval_start", "data_interval_end", "start_date", "end_date", "logical_date", "run_after"), MOMENT
) | dict(dag_id="killed", run_id="r", run_type="manual", state="running", partition_key=None, consumed_asset_events=[])

def answer(request):
    starting = request.url.path.endswith("/run")
    return httpx.Response(200, json=dict(dag_run=RUN, max_tries=0, should_retry=False) if starting else dict(ok=True))

with DAG("killed", schedule=None):
    unload = SnowflakeUnloadOperator(
        task_id="unload",
        location="killed/v=1-{{{{ ti.try_number }}}}/",
        sql="COPY INTO {{{{ task.target }}}} FROM ({query}) FILE_FORMAT = (TYPE = PARQUET)",
    )
ids = dict(id=uuid4(), dag_version_id=uuid4())
ti = TaskInstance(task_id="unload", dag_id="killed", run_id="r", try_number=1, map_index=-1, **ids)
client = Client(base_url=None, token="", dry_run=True, transport=httpx.MockTransport(answer))
print("STATE", run_task_in_process(ti, unload, client).state.value, flush=True)
"""


def test_killing_the_task_cancels_the_query(stack, tmp_path, lake):
    """The process in which Airflow's task runner runs the task gets SIGTERM, as when the task is marked failed."""
    script, log = tmp_path / "task.py", tmp_path / "log"
    script.write_text(TASK.format(query=ENDLESS))
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        task = subprocess.Popen([sys.executable, script], env=environment, stdout=file, stderr=subprocess.STDOUT)
    sql = """SELECT query_id, execution_status, error_code FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())
        WHERE query_tag LIKE 'airflow dag=killed task=unload%' AND query_text LIKE 'COPY INTO%'"""
    hook = SnowflakeHook()
    while not (found := hook.get_records(sql)):
        assert task.poll() is None, log.read_text()
        time.sleep(0.2)
    task.send_signal(signal.SIGTERM)
    task.wait(120)
    assert f"Cancelling Snowflake query {found[0][0]}" in log.read_text()
    assert "STATE failed" in log.read_text()
    assert [row[1:] for row in hook.get_records(sql)] == [("FAILED_WITH_ERROR", "000604")]
    assert lake("s3://vitrine-lake/raw/killed/") == {}
