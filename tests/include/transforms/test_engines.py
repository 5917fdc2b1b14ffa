"""The same rows come out of every transform on Polars and on Spark."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.transforms.silver import TABLES


def alike(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in a fixed order, whole numbers all of one width."""
    rows = rows.with_columns(pl.selectors.integer().cast(pl.Int64))
    return rows.sort(rows.columns)


@pytest.mark.parametrize("table", TABLES)
def test_silver_is_the_same_on_spark(dirty, dirty_on_spark, table):
    assert_frame_equal(alike(dirty_on_spark.accepted[table]), alike(dirty.accepted[table]), check_exact=True)
    assert_frame_equal(alike(dirty_on_spark.rejected[table]), alike(dirty.rejected[table]), check_exact=True)


@pytest.mark.parametrize("table", ["wide_sales", "daily_sales", "customer_rfm"])
def test_gold_is_the_same_on_spark(dirty, dirty_on_spark, table):
    assert dirty.gold[table].height > 50
    assert_frame_equal(alike(dirty_on_spark.gold[table]), alike(dirty.gold[table]), check_exact=True)
