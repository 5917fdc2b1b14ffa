"""The lakehouse's DAG, run for real on the local stack, from delivered files to published tables."""

import gzip
import io
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import boto3
import polars as pl
import pytest

from include.tables import contract, versions
from local import lakehouse
from local.aws import settings
from local.data import marketplace_dirt
from local.stack import running
from tests.athena import query
from tests.deliveries import LAKE, clear

DAG = "sales_lakehouse"
OLIST = Path(__file__).parents[3] / "shared" / "data" / "olist"
SILVER = [table.name for table in contract.of_layer("silver")]
GOLD = [table.name for table in contract.of_layer("gold")]


def deliver(day: str, name: str, content: bytes) -> None:
    boto3.client("s3").put_object(Bucket=LAKE, Key=f"landing/olist/{day}/{name}", Body=content)


def published() -> dict[str, dict[str, str]]:
    """Where each gold table, and each of its days, points."""
    glue = boto3.client("glue")
    found: dict[str, dict[str, str]] = {}
    for name in GOLD:
        table = glue.get_table(DatabaseName="vitrine", Name=name)["Table"]
        pages = glue.get_paginator("get_partitions").paginate(DatabaseName="vitrine", TableName=name)
        found[name] = {
            part["Values"][0]: part["StorageDescriptor"]["Location"] for page in pages for part in page["Partitions"]
        }
        if not table["PartitionKeys"]:
            found[name] = {"": table["StorageDescriptor"]["Location"]}
    return found


def moved(before: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    """The days of each table that point elsewhere than before."""
    return {
        name: {day for day in now.keys() | before[name].keys() if now.get(day) != before[name].get(day)}
        for name, now in published().items()
    }


@pytest.fixture(scope="module")
def cases(tmp_path_factory, run_dag):
    """A landing zone with every fault we know, loaded by one run."""
    clear()
    folder = tmp_path_factory.mktemp("landing")
    made = marketplace_dirt.write(folder)
    for case in made.values():
        day, name = case.file.split("/")
        deliver(day, name, (folder / case.file).read_bytes())
    deliver("2018-09-02", "prices.csv", b"sku,price\n1,2\n")
    outcome = run_dag(DAG, load_date="2018-12-31")
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    return made


class TestDirtyDeliveries:
    """Every fault ends where it should, by name and by number."""

    @pytest.fixture(scope="class")
    def deliveries(self, cases):
        return {
            file: tuple(rest) for file, *rest in query("SELECT source_file, status, reason FROM vitrine.deliveries")
        }

    @pytest.fixture(scope="class")
    def quarantine(self, cases):
        found: dict[str, dict[str, int]] = {}
        for table in SILVER:
            sql = f"SELECT source_file, reason, count(*) FROM vitrine_quarantine.{table} GROUP BY source_file, reason"
            for file, reason, count in query(sql):
                found.setdefault(file, {})[reason] = int(count)
        return found

    @pytest.fixture(scope="class")
    def accepted(self, cases):
        found: dict[str, int] = {}
        for table in SILVER:
            if table != "geolocation":
                sql = f"SELECT source_file, count(*) FROM vitrine_silver.{table} GROUP BY source_file"
                found |= {file: int(count) for file, count in query(sql)}
        return found

    def test_every_file_is_accounted_for(self, cases, deliveries):
        wrong = {
            name: (case.outcome, deliveries.get(f"landing/olist/{case.file}"))
            for name, case in cases.items()
            if deliveries.get(f"landing/olist/{case.file}", ("",))[0] != case.outcome
        }
        assert wrong == {}
        assert {case.outcome for case in cases.values()} == {"loaded", "quarantined", "skipped"}

    def test_a_quarantined_file_says_why(self, cases, deliveries):
        for name, case in cases.items():
            if case.outcome == "quarantined":
                assert case.because in deliveries[f"landing/olist/{case.file}"][1], name

    def test_a_file_of_no_table_is_quarantined(self, deliveries):
        assert deliveries["landing/olist/2018-09-02/prices.csv"][0] == "quarantined"

    def test_every_rejected_row_is_in_quarantine_with_its_reason(self, cases, quarantine):
        expected = {f"landing/olist/{case.file}": case.rejected for case in cases.values() if case.rejected}
        assert quarantine == expected

    def test_every_sound_row_is_in_silver(self, cases, accepted):
        expected = {
            f"landing/olist/{case.file}": case.accepted
            for case in cases.values()
            if case.accepted and case.table != "geolocation"
        }
        assert accepted == expected

    def test_bronze_has_a_row_for_each_row_that_can_be_read(self, cases):
        rows = sum(case.rows for case in cases.values() if case.table == "orders")
        unread = query("SELECT count(*) FROM vitrine_quarantine.orders WHERE layer = 'bronze'")
        assert query("SELECT count(*) FROM vitrine_bronze.orders") == [(str(rows - int(unread[0][0])),)]

    def test_gold_has_each_item_once_and_its_money(self, cases):
        gold = query(
            "SELECT count(*), count(DISTINCT order_id || '/' || CAST(order_item_id AS varchar)), sum(price), "
            "sum(freight_value) FROM vitrine.wide_sales"
        )[0]
        silver = query("SELECT count(*), sum(price), sum(freight_value) FROM vitrine_silver.order_items")[0]
        assert gold == (silver[0], *silver)

    def test_the_quality_table_adds_up(self, cases):
        rows = query(
            "SELECT layer, table_name, rows_in, rows_out, rejected, reconciled FROM vitrine.quality "
            "WHERE load_date = DATE '2018-12-31'"
        )
        assert {(layer, table) for layer, table, *_ in rows} >= {(layer, "orders") for layer in ("bronze", "silver")}
        assert {reconciled for *_, reconciled in rows} == {"true"}
        rejected = sum(int(count) for layer, _, _, _, count, _ in rows if layer in ("bronze", "silver"))
        assert rejected == sum(sum(case.rejected.values()) for case in cases.values())

    def test_no_candidate_stays(self, cases):
        assert boto3.client("glue").get_tables(DatabaseName="vitrine_audit")["TableList"] == []

    def test_the_serving_views_can_be_read(self, cases):
        views = [name for (name,) in query("SHOW VIEWS IN vitrine")]
        assert views
        for view in views:
            assert int(query(f"SELECT count(*) FROM vitrine.{view}")[0][0]) > 0, view

    def test_with_nothing_new_a_run_ends_at_once(self, cases, run_dag):
        before = published()
        outcome = run_dag(DAG, load_date="2018-12-31")
        assert outcome.state == "success"
        ran = {task for task, state in outcome.tasks.items() if state == "success"}
        assert ran == {"plan", "choose_start", "drop_candidates"}
        assert published() == before

    def test_a_late_file_republishes_its_day_only(self, cases, run_dag):
        line = pl.read_csv(_landed(cases["clean_order_items"].file), infer_schema=False).head(1)
        where = f"order_id = '{line['order_id'][0]}' AND order_item_id = {line['order_item_id'][0]}"
        ((day, price),) = query(f"SELECT order_date, price FROM vitrine.wide_sales WHERE {where}")
        dearer = Decimal(price) + 1
        before, others = published(), query(f"SELECT * FROM vitrine.wide_sales WHERE order_date <> DATE '{day}'")
        # to the folder of a day that has been delivered long since
        late = _csv(line.with_columns(price=pl.lit(str(dearer))))
        deliver("2018-09-02", "olist_order_items_dataset_late.csv.gz", gzip.compress(late))
        assert run_dag(DAG, load_date="2018-12-31").state == "success"
        changed = moved(before)
        assert changed["wide_sales"] == changed["daily_sales"] == {day}
        assert query(f"SELECT price FROM vitrine.wide_sales WHERE {where}") == [(str(dearer),)]
        after = query(f"SELECT * FROM vitrine.wide_sales WHERE order_date <> DATE '{day}'")
        assert sorted(after, key=str) == sorted(others, key=str)

    def test_a_table_that_breaks_its_contract_is_not_published(self, cases, run_dag, capfd):
        glue, s3 = boto3.client("glue"), boto3.client("s3")
        job = glue.get_job(JobName="vitrine-gold")["Job"]
        bucket, key = versions.split(job["Command"]["ScriptLocation"])
        script = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        made = "gold.wide_sales(**silver)"
        assert made in script
        mistaken = script.replace(made, f'{made}.with_columns(order_status=nw.lit("lost"))')
        s3.put_object(Bucket=bucket, Key="jobs/mistaken/gold.py", Body=mistaken.encode())
        kept = ("Role", "GlueVersion", "WorkerType", "NumberOfWorkers", "MaxRetries", "Timeout", "DefaultArguments")
        update = {field: job[field] for field in (*kept, "ExecutionProperty", "Command")}
        wrong = {**job["Command"], "ScriptLocation": f"s3://{bucket}/jobs/mistaken/gold.py"}
        before = published()
        glue.update_job(JobName="vitrine-gold", JobUpdate={**update, "Command": wrong})
        try:
            outcome = run_dag(DAG, load_date="2018-12-31", rebuild=True)
        finally:
            glue.update_job(JobName="vitrine-gold", JobUpdate=update)
        assert outcome.state == "failed"
        assert outcome.tasks["silver.publish"] == "success"
        assert outcome.tasks["gold.publish"] == "upstream_failed"
        said = capfd.readouterr().out
        assert "wide_sales.order_status_not_accepted" in said
        assert "include/tables/wide_sales.yaml" in said
        assert published() == before


def _landed(file: str) -> bytes:
    return boto3.client("s3").get_object(Bucket=LAKE, Key=f"landing/olist/{file}")["Body"].read()


def _csv(rows: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    rows.write_csv(out)
    return out.getvalue()


@pytest.mark.skipif(not OLIST.exists(), reason=f"the Olist sample is not at {OLIST}")
def test_the_real_olist_sample(stack, run_dag, capsys, monkeypatch):
    """5 000 real orders; one file and some columns of the full set are not there."""
    clear()
    for file in sorted(OLIST.glob("*.csv")):
        deliver("2018-09-01", file.name, file.read_bytes())
    outcome = run_dag(DAG, load_date="2018-09-01")
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    items = pl.read_csv(OLIST / "olist_order_items_dataset.csv", infer_schema=False)
    price, freight = (sum(map(Decimal, items[column])) for column in ("price", "freight_value"))
    found = query("SELECT count(*), sum(price), sum(freight_value), count(DISTINCT order_id) FROM vitrine.wide_sales")
    assert found == [("5603", "677833.96", "111566.53", str(items["order_id"].n_unique()))]
    assert (str(price), str(freight)) == ("677833.96", "111566.53")
    unreviewed = query("SELECT count(*) FROM vitrine.wide_sales WHERE reviews = 0")
    assert int(unreviewed[0][0]) > 0
    assert query("SELECT count(*) FROM vitrine.customer_rfm") == [("4942",)]
    ((best,),) = query("SELECT category FROM vitrine.category_performance ORDER BY revenue DESC LIMIT 1")
    capsys.readouterr()
    monkeypatch.setattr(settings, "_current", settings.Settings(stack.state, running(stack.state).port))
    lakehouse.show(date(2018, 9, 1))
    shown = capsys.readouterr().out
    assert re.search(r"gold +3 +15,556 +0", shown), shown
    assert best in shown
