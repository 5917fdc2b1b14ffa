"""The queries run on the local Athena, over versions of a generated marketplace."""

import io
import uuid
from datetime import date, datetime
from decimal import Decimal

import boto3
import narwhals as nw
import polars as pl
import pytest

from include.tables import audit, contract
from include.transforms import gold, silver
from local.data import marketplace
from local.data.marketplace import TABLES
from tests import athena

LAKE = "vitrine-lake"
CHECKED = [table.name for layer in ("silver", "gold") for table in contract.of_layer(layer)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of every silver and gold table."""
    made = marketplace.generate(tmp_path_factory.mktemp("marketplace"), 0.1, seed=11, format="parquet")
    raw = {
        table: nw.from_native(
            pl.read_parquet(made.file(table))
            .with_row_index("row_number", 1)
            .with_columns(
                pl.col("row_number").cast(pl.Int64),
                source_file=pl.lit("a.parquet"),
                load_time=pl.lit(datetime(2018, 9, 1)),
            )
            .lazy()
        )
        for table in TABLES
    }
    single = ("customers", "sellers", "products", "geolocation", "category_translation")
    tables = {name: getattr(silver, name)(raw[name]).accepted for name in single}
    tables["orders"] = silver.orders(raw["orders"], tables["customers"]).accepted
    known = (tables[name] for name in ("orders", "products", "sellers"))
    tables["order_items"] = silver.order_items(raw["order_items"], *known).accepted
    tables["order_payments"] = silver.order_payments(raw["order_payments"], tables["orders"]).accepted
    tables["order_reviews"] = silver.order_reviews(raw["order_reviews"], tables["orders"]).accepted
    renamed = {"order_payments": "payments", "order_reviews": "reviews"}
    wide = gold.wide_sales(**{renamed.get(name, name): frame for name, frame in tables.items()})
    wide = nw.from_native(wide.collect().to_native().lazy())
    as_of = wide.select(nw.col("order_date").max()).collect().item()
    tables["wide_sales"] = wide
    tables["daily_sales"] = gold.daily_sales(wide)
    tables["customer_rfm"] = gold.customer_rfm(wide, date.fromordinal(as_of.toordinal() + 1))
    return {name: frame.collect().to_native() for name, frame in tables.items()}


def register(name: str, frame: pl.DataFrame) -> str:
    """Makes rows a candidate of a table, and gives its full name."""
    candidate = contract.load(name).candidate(f"{name}_{uuid.uuid4().hex[:8]}")
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    key = f"scratch/audit/{candidate.name}/"
    boto3.client("s3").put_object(Bucket=LAKE, Key=f"{key}part.parquet", Body=buffer.getvalue())
    boto3.client("glue").create_table(
        DatabaseName=candidate.database, TableInput=candidate.glue_input(f"s3://{LAKE}/{key}")
    )
    return candidate.relation


@pytest.fixture(scope="module")
def names(stack, rows):
    """The candidates of every table."""
    glue = boto3.client("glue")
    if "vitrine_audit" not in [database["Name"] for database in glue.get_databases()["DatabaseList"]]:
        glue.create_database(DatabaseInput={"Name": "vitrine_audit"})
    return {name: register(name, frame) for name, frame in rows.items()}


def answer(sql: str) -> dict[str, str | None]:
    columns, values = athena.rows(sql)
    return dict(zip(columns, values, strict=True))


def audited(name: str, names: dict[str, str], as_of: date | None = None) -> audit.Verdict:
    table = contract.load(name)
    return audit.judge(table, answer(audit.query(table, names, as_of)))


@pytest.mark.parametrize("name", CHECKED)
def test_a_sound_version_passes_every_check(names, rows, name):
    verdict = audited(name, names)
    assert verdict.rows == rows[name].height > 0
    assert verdict.failures == ()


@pytest.mark.parametrize("name", contract.names())
def test_checks_have_names_of_their_own(name):
    found = [check.name for check in audit.checks(contract.load(name))]
    assert len(found) == len({*found, "rows"}) - 1


def failed(verdict: audit.Verdict) -> set[str]:
    return {message.partition(":")[0].partition(".")[2] for message in verdict.failures}


FIRST_ROW = pl.int_range(pl.len()) == 0


def changed(frame: pl.DataFrame, **values) -> pl.DataFrame:
    """The rows, with other values in the first one."""
    return frame.with_columns(
        pl.when(FIRST_ROW).then(pl.lit(value, frame.schema[column])).otherwise(pl.col(column)).alias(column)
        for column, value in values.items()
    )


def without_a_second_item(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, without one item of an order that has others."""
    order = frame.filter(order_item_id=2)["order_id"][0]
    return frame.filter(~((pl.col("order_id") == order) & (pl.col("order_item_id") == 2)))


@pytest.mark.parametrize(
    ("name", "broken", "expected"),
    [
        ("wide_sales", lambda rows: changed(rows, price=None), {"price_missing", "price_differs"}),
        (
            "wide_sales",
            lambda rows: changed(rows, freight_value=Decimal(-1)),
            {"freight_value_too_low", "freight_differs"},
        ),
        ("wide_sales", lambda rows: changed(rows, seller_state="XX"), {"seller_state_not_accepted"}),
        ("wide_sales", lambda rows: changed(rows, review_score_mean=5.5), {"review_score_mean_too_high"}),
        (
            "wide_sales",
            without_a_second_item,
            {"rows_differ", "items_lost", "price_differs", "freight_differs"},
        ),
        (
            "wide_sales",
            lambda rows: pl.concat([rows, rows.head(1)]),
            {"rows_differ", "key_repeated", "price_differs", "freight_differs"},
        ),
        ("wide_sales", lambda rows: changed(rows, order_item_id=99), {"items_lost"}),
        (
            "wide_sales",
            lambda rows: rows.filter(pl.col("order_id") != rows["order_id"][0]),
            {"rows_differ", "items_lost", "orders_lost", "price_differs", "freight_differs"},
        ),
        (
            "wide_sales",
            lambda rows: rows.clear(),
            {"empty", "rows_differ", "items_lost", "orders_lost", "price_differs", "freight_differs"},
        ),
        (
            "daily_sales",
            lambda rows: rows.with_columns(revenue=pl.col("revenue") + pl.lit(Decimal("0.01"))),
            {"revenue_differs"},
        ),
        ("daily_sales", lambda rows: rows.with_columns(items=pl.col("items") + 1), {"items_differ"}),
        ("customer_rfm", lambda rows: rows.tail(-1), {"customers_differ", "monetary_differs"}),
        ("customer_rfm", lambda rows: changed(rows, as_of=date(2000, 1, 1)), {"as_of_differs"}),
        ("customer_rfm", lambda rows: changed(rows, recency_days=0), {"recency_days_too_low"}),
        ("orders", lambda rows: changed(rows, customer_id="nobody"), {"customer_id_unknown"}),
        ("orders", lambda rows: changed(rows, approved_at=datetime(1970, 1, 1)), {"approved_at_too_low"}),
        ("order_items", lambda rows: changed(rows, product_id="nothing"), {"product_id_unknown"}),
        ("geolocation", lambda rows: changed(rows, latitude=48.0), {"latitude_too_high"}),
    ],
)
def test_a_broken_version_fails_the_checks_that_it_breaks(names, rows, name, broken, expected):
    candidate = register(name, broken(rows[name]))
    assert failed(audited(name, {**names, name: candidate})) == expected


def test_a_failure_names_table_check_count_and_line(names, rows):
    candidate = register("wide_sales", changed(rows["wide_sales"], price=None))
    verdict = audited("wide_sales", {**names, "wide_sales": candidate})
    missing, differs = verdict.failures
    table, price = contract.load("wide_sales"), rows["wide_sales"]["price"][0]
    assert missing.startswith(
        f"wide_sales.price_missing: 1 of {rows['wide_sales'].height} rows have no price (include/"
    )
    assert differs.startswith(f"wide_sales.price_differs: {price}, must be 0: Σ price is that of the order items.")
    for message, says in ((missing, "- name: price"), (differs, "- name: price_differs")):
        file, _, line = message.rpartition("(")[2].rstrip(")").rpartition(":")
        assert table.where().startswith(file)
        assert table.file.path.read_text().splitlines()[int(line) - 1].strip() == says


def test_what_is_worth_a_warning_stops_nothing(names, rows):
    candidate = register("wide_sales", changed(rows["wide_sales"], customer_unique_id=None))
    verdict = audited("wide_sales", {**names, "wide_sales": candidate})
    assert verdict.failures == ()
    assert any(
        message.startswith("wide_sales.customers_unknown: 1, must be 0: The person") for message in verdict.warnings
    )


def test_old_data_are_a_warning(names, rows):
    newest = rows["wide_sales"]["order_date"].max()
    on_time = audited("wide_sales", names, date.fromordinal(newest.toordinal() + 2))
    late = audited("wide_sales", names, date.fromordinal(newest.toordinal() + 3))
    assert not any("days_old" in message for message in on_time.warnings)
    (warning,) = [message for message in late.warnings if "days_old" in message]
    assert warning.startswith("wide_sales.days_old: the newest order_date is 3 days old, may be 2 (include/tables/wide")
    assert late.failures == ()


def test_an_optional_table_may_be_empty(names, rows):
    name = "category_translation"
    verdict = audited(name, {**names, name: register(name, rows[name].clear())})
    assert verdict == audit.Verdict(0, (), ())


def test_a_table_that_the_checks_read_must_be_named():
    with pytest.raises(audit.AuditError, match="wide_sales: its checks read order_items, which names doesn't have"):
        audit.query(contract.load("wide_sales"), {"wide_sales": "vitrine.wide_sales"})


def test_an_answer_that_lacks_a_check_is_no_verdict():
    with pytest.raises(audit.AuditError, match="orders: the answer has no 'order_id_missing', only rows"):
        audit.judge(contract.load("orders"), {"rows": "1"})
