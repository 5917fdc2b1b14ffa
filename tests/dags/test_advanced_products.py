"""The sales products' DAG, run for real on the local stack, and the numbers that come out."""

import json
from datetime import date
from pathlib import Path

import boto3
import polars as pl
import pytest

from include.products.plan import FLAGS
from include.tables import contract
from local import load
from local.stack import running
from tests.athena import query

DAG = "advanced_products"
LAKE = "vitrine-lake"
UNTIL = date(2026, 3, 1)


@pytest.fixture(scope="module")
def truth(stack):
    """A generated world in Snowflake; what was planted in it."""
    load.seed(stack.state, running(stack.state).snowflake_port, scale=0.15, until=UNTIL)
    return json.loads((stack.state / "data" / "drogaria" / "truth.json").read_text())


@pytest.fixture(scope="module")
def published(stack):
    """Reads a published table the way people do: from the stable layout."""

    def read(client: str, day: str, artefact: str) -> pl.DataFrame:
        return pl.read_parquet(stack.state / f"s3/{LAKE}/products/{client}/{day}/{day}_{client}_{artefact}.parquet")

    return read


def versions(stack, client: str, day: str) -> dict[str, str]:
    """Where each published partition points."""
    glue = boto3.client("glue")
    names = [table.name for product in FLAGS.values() for table in contract.of_product(product)]
    return {
        name: glue.get_partition(DatabaseName="vitrine", TableName=name, PartitionValues=[client, day])["Partition"][
            "StorageDescriptor"
        ]["Location"]
        for name in names
    }


@pytest.fixture(scope="module")
def first(truth, run_dag):
    """One run of everything on the generated world."""
    outcome = run_dag(DAG, client="drogaria", report_date=UNTIL.isoformat())
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    return outcome.run


@pytest.mark.usefixtures("first")
class TestGeneratedWorld:
    """What the products find in a world whose truth is known."""

    def test_planted_pairs_are_rules(self, truth, published):
        rules = published("drogaria", "2026-03-01", "mba_rules")
        found = {frozenset(pair) for pair in rules.select("antecedent", "consequent").iter_rows()}
        planted = [frozenset(str(pair[key]) for key in ("antecedent", "consequent")) for pair in truth["pairs"]]
        assert planted
        assert [pair for pair in planted if pair not in found] == []
        assert rules["lift"].min() >= 1

    def test_planted_suspects_are_found(self, truth, published):
        suspects = published("drogaria", "2026-03-01", "anomaly_suspects")
        found = set(suspects.select("anomaly_group", "customer_id").iter_rows())
        planted = {(one["anomaly_group"], str(one["customer_id"])) for one in truth["suspects"]}
        assert planted
        assert planted <= found

    def test_the_recommender_beats_popularity(self, published):
        ndcg = dict(
            published("drogaria", "2026-03-01", "recommender_metrics").select("model", "ndcg_at_10").iter_rows()
        )
        assert ndcg["ease"] > ndcg["popularity"] > 0

    def test_every_customer_has_a_value_group(self, published):
        customers = published("drogaria", "2026-03-01", "clv_customers")
        shares = customers["value_group"].value_counts(normalize=True).rows()
        assert dict(shares) == pytest.approx(
            {"Low-Low": 0.5, "Low": 0.3, "Medium": 0.1375, "High": 0.04685, "High-High": 0.01565}, abs=0.01
        )

    def test_athena_reads_what_was_published(self, published):
        for name in ("mba_rules", "clv_customers", "anomaly_suspects", "recommendations"):
            ((count,),) = query(
                f"SELECT count(*) FROM vitrine.{name} WHERE client='drogaria' AND report_date=DATE '2026-03-01'"
            )
            assert int(count) == published("drogaria", "2026-03-01", name).height, name

    def test_the_extract_is_what_snowflake_has(self, stack, truth):
        ((rows, amount),) = query("SELECT count(*), sum(amount) FROM vitrine.sales_extract WHERE client='drogaria'")
        report = json.loads(
            (stack.state / f"s3/{LAKE}/products/drogaria/2026-03-01/2026-03-01_drogaria_run_mba.json").read_text()
        )
        assert int(rows) == report["rows_in"] > 20_000
        assert float(amount) > 0

    def test_assets_tell_what_was_published(self, first, published):
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session

        with create_session() as session:
            events = session.query(AssetEvent).filter_by(source_run_id=first.run_id).all()
            extras = {event.extra["client"]: {} for event in events}
            for event in events:
                extras[event.extra["client"]].update(event.extra["rows"])
        assert extras["drogaria"]["mba_rules"] == published("drogaria", "2026-03-01", "mba_rules").height
        assert set(extras["drogaria"]) == {t.name for p in FLAGS.values() for t in contract.of_product(p)}

    def test_excel_speaks_the_clients_language(self, stack):
        import openpyxl

        file = stack.state / f"s3/{LAKE}/products/drogaria/2026-03-01/2026-03-01_drogaria_mba_rules.xlsx"
        headings = [cell.value for cell in next(openpyxl.load_workbook(file, read_only=True).active.rows)]
        assert "Confiança" in headings

    def test_a_failed_product_blocks_no_other_and_a_repetition_gives_the_same(self, stack, run_dag, published, capfd):
        places = versions(stack, "drogaria", "2026-03-01")
        before = {name: published("drogaria", "2026-03-01", name) for name in places}
        batch = boto3.client("batch")
        good = batch.describe_job_definitions(jobDefinitionName="vitrine-algorithms")["jobDefinitions"][0]
        container = good["containerProperties"]
        mistaken = batch.register_job_definition(
            jobDefinitionName="vitrine-algorithms",
            type="container",
            containerProperties={
                "image": container["image"],
                # a parameter that market basket analysis has, and customer lifetime value has not
                "command": [*container["command"], "--parameter", "max_length=2"],
                "resourceRequirements": container["resourceRequirements"],
            },
        )
        try:
            outcome = run_dag(DAG, client="drogaria", report_date="2026-03-01", AD="False", RECOMMENDER=False)
        finally:
            batch.deregister_job_definition(jobDefinition=mistaken["jobDefinitionArn"])
        assert outcome.state == "failed"
        assert outcome.tasks["mba.publish"] == "success"
        assert outcome.tasks["clv.run"] == "failed"
        assert outcome.tasks["clv.publish"] == "upstream_failed"
        assert outcome.tasks["summarise"] == "failed"
        assert {task for task, state in outcome.tasks.items() if state == "skipped"} == {
            f"{product}.{step}"
            for product in ("anomalies", "recommender")
            for step in ("run", "check_output", "publish")
        }
        said = capfd.readouterr().out
        assert "not published: clv" in said
        assert "max_length" in said
        assert "exit code 2" in said
        after = versions(stack, "drogaria", "2026-03-01")
        again = {table.name for table in contract.of_product("mba")}
        assert {name for name in places if after[name] != places[name]} == again
        for name, rows in before.items():
            assert rows.equals(published("drogaria", "2026-03-01", name)), name

    def test_a_window_without_sales_says_where_the_sales_are(self, run_dag, capfd):
        outcome = run_dag(DAG, client="drogaria", report_date="2015-01-01")
        assert outcome.state == "failed"
        assert outcome.tasks["extract.check"] == "failed"
        assert outcome.tasks["mba.run"] == "upstream_failed"
        assert "its latest sale is on 2026-02-28" in capfd.readouterr().out

    def test_an_unknown_client_fails_at_once(self, run_dag):
        outcome = run_dag(DAG, client="nobody")
        assert outcome.state == "failed"
        assert outcome.tasks["resolve_contract"] == "failed"


UCI = Path(__file__).parents[3] / "shared" / "data" / "online_retail.parquet"


@pytest.mark.skipif(not UCI.exists(), reason=f"the UCI data set is not at {UCI}")
def test_the_real_online_retail_data(stack, run_dag, published):
    """541 909 lines of a real wholesaler, from its own file to Athena."""
    loaded = load.seed(stack.state, running(stack.state).snowflake_port, "online_retail", UCI)
    assert (loaded.rows, str(loaded.amount), str(loaded.report_date)) == (541_909, "9747747.9340", "2011-12-10")
    outcome = run_dag(DAG, client="online_retail", report_date="2011-12-10")
    assert outcome.state == "success", outcome.tasks
    assert outcome.xcom("extract.check")["rows"] == 541_909
    assert outcome.xcom("extract.check")["amount"] == "9747747.9340"
    rules = published("online_retail", "2011-12-10", "mba_rules")
    assert rules.height > 10_000
    assert rules["lift"].min() >= 1
    ndcg = dict(
        published("online_retail", "2011-12-10", "recommender_metrics").select("model", "ndcg_at_10").iter_rows()
    )
    assert ndcg["ease"] > 2 * ndcg["popularity"]
    ((customers,),) = query("SELECT count(*) FROM vitrine.clv_customers WHERE client='online_retail'")
    assert int(customers) == published("online_retail", "2011-12-10", "clv_customers").height > 4_000
    ((other,),) = query("SELECT count(*) FROM vitrine.clv_customers WHERE client='nobody'")
    assert other == "0"
