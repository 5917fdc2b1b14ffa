"""The serving views on Athena, beside the same question asked of Polars."""

from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.sql import SQL
from tests import athena
from tests.include.warehouse import gold as published

FILES = sorted((SQL / "athena" / "views").glob("*.sql"))
SOLD = ~pl.col("order_status").is_in(["canceled", "unavailable"])


def view_rows(sql: str) -> list[dict[str, str | None]]:
    """The rows that Athena returns, by column."""
    names, *values = athena.rows(sql)
    return [dict(zip(names, row, strict=True)) for row in values]


@pytest.fixture(scope="module")
def gold(stack, tmp_path_factory):
    made = published.make(tmp_path_factory.mktemp("marketplace"))
    published.publish_all(made, "views")
    for file in FILES:
        athena.rows(file.read_text())
    return made


def view(name: str, like: pl.DataFrame) -> pl.DataFrame:
    """A view's rows with the columns and types of the expected frame, in its order."""
    rows = view_rows(f"SELECT {', '.join(like.columns)} FROM vitrine.{name}")
    found = pl.DataFrame(rows, schema=dict.fromkeys(like.columns, pl.String)).cast(dict(like.schema))
    return found.sort(like.columns)


def check(name: str, expected: pl.DataFrame) -> None:
    assert expected.height > 1
    assert_frame_equal(view(name, expected), expected.sort(expected.columns), check_exact=False, abs_tol=0.0101)


def test_there_are_views():
    assert [file.stem for file in FILES] == [
        "category_performance",
        "customer_segments",
        "delivery_performance",
        "sales_by_month",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_makes_the_view_of_its_name(file):
    words = [word for line in file.read_text().splitlines() if not line.startswith("--") for word in line.split()]
    assert words[:5] == ["CREATE", "OR", "REPLACE", "VIEW", f"vitrine.{file.stem}"]


def test_sales_by_month(gold):
    check(
        "sales_by_month",
        gold["wide_sales"]
        .filter(SOLD)
        .group_by("order_month")
        .agg(
            pl.col("order_id").n_unique().cast(pl.Int64).alias("orders"),
            pl.len().cast(pl.Int64).alias("items"),
            pl.col("customer_unique_id").n_unique().cast(pl.Int64).alias("customers"),
            pl.col("price").sum().cast(pl.Decimal(18, 2)).alias("revenue"),
            (pl.col("price").sum().cast(pl.Float64) / pl.col("order_id").n_unique()).alias("revenue_per_order"),
        ),
    )


def test_category_performance(gold):
    sold = gold["wide_sales"].filter(SOLD)
    check(
        "category_performance",
        sold.with_columns(pl.col("category_english").fill_null("unknown").alias("category"))
        .group_by("category")
        .agg(
            pl.len().cast(pl.Int64).alias("items"),
            pl.col("order_id").n_unique().cast(pl.Int64).alias("orders"),
            pl.col("price").sum().cast(pl.Decimal(18, 2)).alias("revenue"),
            (pl.col("price").sum().cast(pl.Float64) / float(sold["price"].sum())).alias("revenue_share"),
            pl.col("review_score_mean").mean().alias("review_score"),
            pl.col("is_late").cast(pl.Float64).mean().alias("late_share"),
        ),
    )


def test_delivery_performance_counts_an_order_once(gold):
    delivered = gold["wide_sales"].filter(SOLD & pl.col("delivered_at").is_not_null())
    orders = delivered.group_by("order_id").agg(
        *(pl.col(name).first() for name in ("order_month", "delivery_days", "delay_days", "is_late")),
        pl.col("customer_state").fill_null("unknown").first(),
    )
    assert orders.height < delivered.height
    check(
        "delivery_performance",
        orders.group_by("order_month", "customer_state").agg(
            pl.len().cast(pl.Int64).alias("orders"),
            pl.col("delivery_days").mean(),
            pl.col("delay_days").mean(),
            pl.col("is_late").sum().cast(pl.Int64).alias("late_orders"),
            pl.col("is_late").cast(pl.Float64).mean().alias("late_share"),
        ),
    )


def fifth(column: str, *, descending: bool = False) -> pl.Expr:
    rank = (pl.col(column).rank("min", descending=descending).cast(pl.Float64) - 1) / (pl.len() - 1)
    return (1 + (5 * rank).floor().cast(pl.Int64)).clip(upper_bound=5)


def test_customer_segments(gold):
    scored = gold["customer_rfm"].select(
        "customer_unique_id",
        "frequency",
        fifth("recency_days", descending=True).alias("recency_score"),
        fifth("frequency").alias("frequency_score"),
        fifth("monetary").alias("monetary_score"),
    )
    recent, rich, again = pl.col("recency_score") >= 4, pl.col("monetary_score") >= 4, pl.col("frequency") > 1
    segment = (
        pl.when(again & recent & rich)
        .then(pl.lit("champion"))
        .when(again & (pl.col("recency_score") >= 3))
        .then(pl.lit("loyal"))
        .when(again)
        .then(pl.lit("at risk"))
        .when(recent & rich)
        .then(pl.lit("promising"))
        .when(recent)
        .then(pl.lit("new"))
        .when(rich)
        .then(pl.lit("big spender gone quiet"))
        .when(pl.col("recency_score") == 1)
        .then(pl.lit("lost"))
        .otherwise(pl.lit("one-time"))
    )
    expected = scored.with_columns(segment.alias("segment"))
    assert expected["segment"].n_unique() >= 4
    check("customer_segments", expected)


def test_all_money_is_in_the_months(gold):
    ((total),) = view_rows("SELECT sum(revenue) AS revenue, sum(freight) AS freight FROM vitrine.sales_by_month")
    sold = gold["wide_sales"].filter(SOLD)
    assert (Decimal(total["revenue"]), Decimal(total["freight"])) == (sold["price"].sum(), sold["freight_value"].sum())
