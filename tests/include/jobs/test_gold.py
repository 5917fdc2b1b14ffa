import os
import shutil
import time
from datetime import timedelta

import boto3
import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal

from include.jobs import gold
from include.transforms.gold import WIDE_SALES
from local import spark
from tests.conftest import start_stack, stop_stack
from tests.include.jobs.conftest import LAKE, FailedRunError, Jobs

TERSE = (
    "spark.sql.shuffle.partitions=1 --conf spark.sql.codegen.wholeStage=false "
    "--conf spark.sql.codegen.factoryMode=NO_CODEGEN --conf spark.sql.adaptive.enabled=false "
    "--conf spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 "
    "--conf spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1"
)
"""Settings for data so small that compiling a plan costs more than running it."""


def test_the_real_sample_loses_no_item_and_no_cent(olist):
    wide = olist.table("gold", "wide_sales")
    made = olist.gold["tables"]["wide_sales"]
    assert made["rows_out"] == wide.height == 5603
    assert made["money"] == {"price": "677833.96", "freight_value": "111566.53"}
    assert not wide.select("order_id", "order_item_id").is_duplicated().any()
    assert made["money"] == olist.silver["tables"]["order_items"]["money"]
    daily = olist.table("gold", "daily_sales")
    assert f"{daily['revenue'].sum():.2f}" == olist.gold["tables"]["customer_rfm"]["money"]["monetary"]


@pytest.mark.parametrize("table", ["wide_sales", "daily_sales"])
def test_a_sorted_file_of_all_columns_for_each_day(olist, table):
    root = f"gold/{table}/v=olist-1/"
    days = {}
    for key in olist.jobs.files(root):
        folder, name = key.removeprefix(root).split("/")
        rows = pl.read_parquet(olist.jobs.path(f"s3://{LAKE}/{key}"), hive_partitioning=False)
        assert name == "00000.parquet"
        assert set(rows["order_date"].cast(pl.String)) == {folder.removeprefix("day=")}
        order = rows.select(gold.KEYS[table])
        assert order.equals(order.sort(gold.KEYS[table]))
        days[folder.removeprefix("day=")] = rows.height
    assert days == olist.gold["tables"][table]["days"]
    if table == "wide_sales":
        assert tuple(rows.columns) == WIDE_SALES


def test_customers_are_counted_until_the_day_after_the_last_sale(olist):
    rfm = olist.table("gold", "customer_rfm")
    last = olist.table("gold", "wide_sales")["order_date"].max()
    assert rfm["as_of"].unique().to_list() == [last + timedelta(days=1)]
    assert rfm["customer_unique_id"].to_list() == sorted(rfm["customer_unique_id"])
    assert list(olist.jobs.files("gold/customer_rfm/v=olist-1/")) == ["gold/customer_rfm/v=olist-1/00000.parquet"]


def test_a_rerun_gives_the_same_bytes(dirty, jobs):
    inputs = {table: list(reversed(locations)) for table, locations in dirty.snapshot.items()}
    jobs.run("silver", "dirty-2", inputs=inputs)
    jobs.run("gold", "dirty-2", silver_version="dirty-2")
    files = [
        {
            key.replace(version, ""): etag
            for key, etag in jobs.files(*(f"gold/{t}/v={version}/" for t in gold.KEYS)).items()
        }
        for version in ("dirty-1", "dirty-2")
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 100


def test_a_version_of_silver_that_is_not_there_fails(jobs):
    with pytest.raises(FailedRunError, match="v=nowhere"):
        jobs.run("gold", "from-nowhere", silver_version="nowhere")
    assert not jobs.files("runs/from-nowhere/gold.json")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        pytest.skip("no Java here, so nothing is tested on Spark; on Debian and Ubuntu: openjdk-17-jre-headless")
    pytest.importorskip(
        "pyspark", reason="PySpark is not installed, so nothing is tested on Spark: dependency group spark"
    )
    state = tmp_path_factory.mktemp("cluster")
    yield spark.up(state, 0)
    family = [psutil.Process(pid) for pid in spark.running(state).pids]
    spark.down(state)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert spark.running(state) is None


@pytest.fixture
def spark_stack(cluster, tmp_path, monkeypatch):
    for name, value in cluster.settings.items():
        monkeypatch.setenv(name, value)
    started = start_stack(tmp_path / "state")
    for name, value in started.env.items():
        monkeypatch.setenv(name, value)
    yield started
    stop_stack(started)


@pytest.mark.long
def test_gold_on_the_cluster_is_gold_on_polars(dirty, spark_stack):
    """Silver on Spark is tested beside the transforms, its writing beside the engines."""
    other = Jobs(spark_stack.state)
    for file in dirty.jobs.path(f"s3://{LAKE}/silver/").rglob("*.parquet"):
        key = file.relative_to(dirty.jobs.path(f"s3://{LAKE}/"))
        other.s3.put_object(Bucket=LAKE, Key=key.as_posix(), Body=file.read_bytes())
    report = f"s3://{LAKE}/report.json"
    arguments = {"--lake": LAKE, "--silver-version": "dirty-1", "--version": "s", "--report": report, "--conf": TERSE}
    glue = boto3.client("glue")
    run = glue.start_job_run(JobName="vitrine-gold", Arguments=arguments)["JobRunId"]
    while (found := glue.get_job_run(JobName="vitrine-gold", RunId=run)["JobRun"])["JobRunState"] in (
        "STARTING",
        "RUNNING",
    ):
        time.sleep(0.2)
    assert found["JobRunState"] == "SUCCEEDED", found["ErrorMessage"]
    assert other.read_json(report) == dirty.gold
    for table in ("wide_sales", "daily_sales", "customer_rfm"):
        made, expected = other.rows(f"s3://{LAKE}/gold/{table}/v=s/"), dirty.table("gold", table)
        assert_frame_equal(made.sort(pl.all()), expected.select(made.columns).cast(dict(made.schema)).sort(pl.all()))
    files = other.files("gold/wide_sales/v=s/")
    assert len({key.split("/")[3] for key in files}) == len(files) == len(dirty.gold["tables"]["wide_sales"]["days"])
