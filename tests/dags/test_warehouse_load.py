"""The warehouses' DAG, run for real: gold into Redshift, scores into Snowflake."""

import boto3
import polars as pl
import pytest

from include.tables import contract
from local.snowflake import connection, setup
from local.stack import running
from tests.include.warehouse import gold as published
from tests.include.warehouse.gold import money, redshift

DAG = "warehouse_load"


@pytest.fixture(scope="module")
def gold(tmp_path_factory):
    return published.make(tmp_path_factory.mktemp("marketplace"))


@pytest.fixture(scope="module")
def snowflake(stack):
    """Runs a statement as the administrator and returns its rows."""
    port = running(stack.state).snowflake_port
    with connection.connect(port, stack.state, database=None, schema=None) as session:
        setup.set_up(session)
        yield lambda sql: session.cursor().execute(sql).fetchall()


@pytest.fixture(scope="module")
def first(stack, snowflake, gold, run_dag):
    """Everything is published, and the DAG is triggered by hand."""
    published.publish_all(gold, "20180902T040000-first")
    published.publish_scores(published.scores({"1": 10.0, "2": 20.0, "3": 30.0}), "drogaria", "2026-03-01", "one")
    published.publish_scores(published.scores({"1": 5.0}), "online_retail", "2011-12-10", "one")
    return run_dag(DAG)


@pytest.mark.usefixtures("first")
class TestEverything:
    def test_every_task_succeeds(self, first):
        states = {(ti.task_id, ti.map_index): ti.state for ti in first.run.get_task_instances()}
        assert set(states.values()) == {"success"}, states

    def test_redshift_has_the_published_tables(self, gold):
        for name, rows in gold.items():
            assert redshift(f"SELECT count(*) FROM gold.{name}") == [[rows.height]], name
        (found,) = redshift("SELECT sum(price), sum(freight_value), count(distinct order_id) FROM gold.wide_sales")
        wide = gold["wide_sales"]
        assert [money(found[0]), money(found[1]), found[2]] == [
            wide["price"].sum(),
            wide["freight_value"].sum(),
            wide["order_id"].n_unique(),
        ]

    def test_every_column_is_where_it_belongs(self, gold):
        row = gold["wide_sales"].filter(pl.col("delivered_at").is_not_null()).row(0, named=True)
        names = ["order_date", "order_month", "category_english", "delivered_at", "delay_days", "is_late", "reviews"]
        (found,) = redshift(
            f"SELECT {', '.join(names)} FROM gold.wide_sales "
            f"WHERE order_id = '{row['order_id']}' AND order_item_id = {row['order_item_id']}"
        )
        wanted = [str(row[name]) if name.endswith(("_date", "_at")) else row[name] for name in names]
        assert found[:3] + found[4:] == wanted[:3] + wanted[4:]
        assert found[3][:19] == wanted[3][:19]

    def test_no_staging_table_is_left_in_redshift(self):
        with pytest.raises(AssertionError, match="does not exist"):
            redshift("SELECT 1 FROM gold.wide_sales_staging")

    def test_snowflake_has_customers_and_scores(self, snowflake, gold):
        ((rows, monetary),) = snowflake(
            "SELECT COUNT(*), SUM(monetary::NUMBER(18, 2)) FROM RETAIL.VITRINE.CUSTOMER_RFM"
        )
        assert (rows, monetary) == (gold["customer_rfm"].height, gold["customer_rfm"]["monetary"].sum())
        assert snowflake("SELECT client, customer_id, clv FROM RETAIL.VITRINE.CLV_CUSTOMERS ORDER BY 1, 2") == [
            ("drogaria", "1", 10.0),
            ("drogaria", "2", 20.0),
            ("drogaria", "3", 30.0),
            ("online_retail", "1", 5.0),
        ]

    def test_tasks_are_named_after_what_they_load(self, first):
        stages = [ti for ti in first.run.get_task_instances() if ti.task_id.endswith(".stage")]
        assert {(ti.task_id, ti.rendered_map_index) for ti in stages} == {
            *(("redshift.stage", name) for name in gold_tables()),
            ("snowflake.stage", "customer_rfm"),
            ("snowflake.stage", "clv_customers drogaria 2026-03-01"),
            ("snowflake.stage", "clv_customers online_retail 2011-12-10"),
        }


def gold_tables():
    return [table.name for table in contract.of_layer("gold")]


@pytest.mark.long
@pytest.mark.usefixtures("first")
def test_loading_again_replaces_what_is_new_and_keeps_the_rest(run_dag, gold, snowflake):
    """A newer version of two gold tables and of one client's scores; the others are loaded again as they are."""
    fewer = {name: rows.head(rows.height - 3) for name, rows in gold.items() if name != "daily_sales"}
    published.publish_all(fewer, "20180903T040000-fewer")
    same = redshift("SELECT * FROM gold.daily_sales ORDER BY 1, 2, 3, 4, 5, 6")
    published.publish_scores(published.scores({"2": 21.0, "4": 40.0}), "drogaria", "2026-04-01", "two")
    assert run_dag(DAG).state == "success"
    for name, rows in fewer.items():
        assert redshift(f"SELECT count(*) FROM gold.{name}") == [[rows.height]], name
    assert redshift("SELECT * FROM gold.daily_sales ORDER BY 1, 2, 3, 4, 5, 6") == same
    assert len(same) == gold["daily_sales"].height
    assert snowflake("SELECT COUNT(*) FROM RETAIL.VITRINE.CUSTOMER_RFM") == [(fewer["customer_rfm"].height,)]
    scores = snowflake("SELECT client, customer_id, report_date::VARCHAR, clv FROM RETAIL.VITRINE.CLV_CUSTOMERS")
    assert sorted(scores) == [
        ("drogaria", "2", "2026-04-01", 21.0),
        ("drogaria", "4", "2026-04-01", 40.0),
        ("online_retail", "1", "2011-12-10", 5.0),
    ]


@pytest.mark.usefixtures("first")
def test_a_version_with_a_broken_file_is_not_swapped(run_dag, gold, capfd):
    """A file that is damaged between the publication and the load: what people read stays."""
    before = redshift("SELECT count(*) FROM gold.wide_sales")
    places = published.publish_all(gold, "20180904T040000-broken")
    bucket, _, prefix = places["wide_sales"].removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    bodies = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    s3.put_object(Bucket=bucket, Key=keys[0], Body=bodies[keys[0]][:100])
    outcome = run_dag(DAG)
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert outcome.state == "failed"
    assert outcome.tasks["plan_redshift"] == "failed"
    assert f"s3://{bucket}/{keys[0]} is no whole Parquet file" in capfd.readouterr().out
    assert redshift("SELECT count(*) FROM gold.wide_sales") == before
