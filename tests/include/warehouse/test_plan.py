from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import boto3
import pytest

from include.lakehouse.assets import GOLD
from include.tables import contract
from include.warehouse import check, columns, files, plan, tasks
from tests.include.warehouse import gold as published


@pytest.fixture(scope="module")
def gold(stack, tmp_path_factory):
    return published.make(tmp_path_factory.mktemp("marketplace"))


@pytest.fixture
def s3(stack):
    return boto3.client("s3")


@pytest.fixture
def glue(stack):
    return boto3.client("glue")


def test_a_version_is_counted_where_it_lies(s3, gold):
    place = published.put({"wide_sales": gold["wide_sales"]}, "count")["wide_sales"]
    found = files.totals(s3, place, ["price", "payment_total"])
    wide = gold["wide_sales"]
    assert found == (wide.height, {name: wide[name].sum() for name in ("price", "payment_total")})
    assert files.names(s3, place) == wide.columns
    assert files.totals(s3, "s3://vitrine-lake/gold/nothing/") == (0, {})


def test_the_event_of_the_published_version_says_what_to_expect(s3, glue, gold):
    places = published.publish_all(gold, "event")
    event = {"version": places["customer_rfm"], "rows": 7, "money": {"monetary": "1.00"}}
    load = plan.gold(s3, glue, contract.load("customer_rfm"), event)
    assert (load["version"], load["rows"], load["money"]) == (places["customer_rfm"], 7, {"monetary": "1.00"})


def test_an_event_that_was_overtaken_loads_what_is_published(s3, glue, gold):
    places = published.publish_all(gold, "newer")
    old = {"version": "s3://vitrine-lake/gold/customer_rfm/v=older/", "rows": 1, "money": {"monetary": "1.00"}}
    load = plan.gold(s3, glue, contract.load("customer_rfm"), old)
    customers = gold["customer_rfm"]
    assert load["version"] == places["customer_rfm"]
    assert load["rows"] == customers.height
    assert load["money"] == {"monetary": str(customers["monetary"].sum())}


def test_columns_in_another_order_are_refused(s3, glue, gold):
    customers = gold["customer_rfm"]
    swapped = customers.select(*reversed(customers.columns))
    published.publish_all({"customer_rfm": swapped}, "swapped")
    with pytest.raises(plan.PlanError, match=r"customer_rfm: the files of s3://.*have the columns monetary, items"):
        plan.gold(s3, glue, contract.load("customer_rfm"), None)
    published.publish_all({"customer_rfm": customers}, "mended")


def test_the_latest_report_of_each_client_counts(s3, glue):
    for report_date, clv in (("2026-01-01", 1.0), ("2026-02-01", 2.0)):
        published.publish_scores(published.scores({"9": clv}), "clinic", report_date, "one")
    late = {"client": "clinic", "report_date": "2026-01-01", "rows": {"clv_customers": 5}}
    (load,) = plan.clv(s3, glue, [late])
    assert load["scope"] == {"client": "clinic", "report_date": "2026-02-01"}
    assert load["rows"] == 1
    assert {"customer_city", "customer_gender"}.isdisjoint(column["name"] for column in load["columns"])
    assert plan.clv(s3, glue, []) == []
    for report_date in ("2026-01-01", "2026-02-01"):
        glue.delete_partition(
            DatabaseName="vitrine", TableName="clv_customers", PartitionValues=["clinic", report_date]
        )


def test_extras_come_in_the_order_of_their_events():
    asset = GOLD["wide_sales"]
    events = [SimpleNamespace(timestamp=datetime(2026, 1, day, tzinfo=UTC), extra={"rows": day}) for day in (2, 1)]
    assert tasks.extras({asset: events}, asset) == [{"rows": 1}, {"rows": 2}]
    assert tasks.extras({asset: events}, GOLD["daily_sales"]) == []
    assert tasks.extras(None, asset) == []


@pytest.mark.parametrize("types", [columns.REDSHIFT, columns.SNOWFLAKE])
@pytest.mark.parametrize("name", ["wide_sales", "daily_sales", "customer_rfm", "clv_customers"])
def test_every_column_has_a_type(types, name):
    table = contract.load(name)
    assert [column["name"] for column in columns.columns(table.properties, types)] == [
        column.name for column in table.properties
    ]


LOAD = {"label": "t", "rows": 2, "money": {"price": "3.50"}}


def test_equal_totals_pass():
    check.compare(LOAD, [2, Decimal("3.5000")])
    check.compare(LOAD, ["2", "3.50"])
    check.compare({**LOAD, "rows": 0, "money": {"price": "0"}}, [0, None])


def test_every_difference_is_told():
    with pytest.raises(check.LoadError, match=r"t: 3 rows instead of 2; Σ price = 3.51 instead of 3.50"):
        check.compare(LOAD, [3, "3.51"])


def test_a_record_of_the_data_api():
    results = [{"Records": [[{"longValue": 2}, {"stringValue": "3.50"}, {"isNull": True}]]}]
    assert check.record(results) == [2, "3.50", None]
