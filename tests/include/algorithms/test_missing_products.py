from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from include.algorithms import missing_products

GROUPS = ["Low", "High"]


def lines(*rows):
    """One line per (customer, store, product, amount)."""
    sales = pl.DataFrame(
        rows,
        schema={"customer_id": pl.String, "store": pl.String, "product_id": pl.String, "amount": pl.Float64},
        orient="row",
    )
    return sales.with_columns(
        product_name=pl.col("product_id").str.to_uppercase(),
        product_group=pl.when(pl.col("product_id") == "post").then(pl.lit("service")).otherwise(pl.lit("goods")),
        sale_date=datetime(2024, 5, 1),
    )


def find(sales, groups, **rules):
    customers = pl.DataFrame({"customer_id": list(groups), "value_group": list(groups.values())})
    return missing_products.find(sales, customers, GROUPS, **rules)


@pytest.fixture
def history():
    return lines(
        *[("a", "s1", "p1", 60.0), ("a", "s1", "p2", 25.0), ("a", "s1", "p3", 5.0)],
        *[("b", "s2", "p2", 30.0), ("b", "s2", "p1", 1.0), ("b", "s2", "post", 50.0)],
        *[("c", "s3", "p3", 10.0), (None, "s3", "p2", 3.0)],
    )


def test_what_carries_the_group_but_not_the_store_is_missing(history):
    found = find(history, dict.fromkeys("abc", "High"), denied_categories=("service",))
    # Revenue of the group: p1 61, p2 55, p3 15 of 131, so p1 and p2 make up its half.
    assert found.select("store", "product_id", "cluster_rank", "status").rows() == [
        ("s2", "p1", 1, missing_products.OUTSIDE),
        ("s3", "p1", 1, missing_products.NOT_SOLD),
        ("s3", "p2", 2, missing_products.OUTSIDE),  # Sold there, to somebody unknown.
    ]
    assert found["cluster_share"].to_list() == pytest.approx([61 / 131, 61 / 131, 55 / 131])
    assert found["product_name"].to_list() == ["P1", "P1", "P2"]


def test_each_group_has_its_own_list_and_only_stores_it_buys_in(history):
    found = find(history, {"a": "High", "b": "Low"}, denied_categories=("service",))
    assert found.is_empty()  # Each group buys in one store only, which then carries its list.
    found = find(history, {"a": "High", "b": "Low", "c": "High"}, denied_categories=("service",))
    assert found.select("store", "value_group", "product_id").rows() == [("s3", "High", "p1")]


def test_categories_that_are_not_allowed_count_nowhere(history):
    found = find(history, dict.fromkeys("abc", "High"), categories=("service",))
    assert found.is_empty()  # Bought in one store only.
    everything = find(pl.concat([history, lines(("b", "s2", "post", 50.0))]), dict.fromkeys("abc", "High"))
    assert everything.filter(pl.col("store") == "s3")["product_id"].to_list() == ["post", "p1"]


def test_a_product_whose_returns_outweigh_its_sales_carries_nothing():
    history = lines(("a", "s1", "p1", 50.0), ("a", "s1", "p1", -60.0), ("a", "s1", "p2", 5.0), ("b", "s2", "p3", 1.0))
    found = find(history, dict.fromkeys("ab", "Low"))
    assert found.select("store", "product_id").rows() == [("s2", "p2")]


def test_equal_revenues_are_ordered_by_id_and_exactly_half_is_enough():
    history = lines(*[("a", "s1", product, 10.0) for product in ("p4", "p2", "p3", "p1")], ("b", "s2", "q", 1e-6))
    found = find(history, dict.fromkeys("ab", "Low"))
    assert found.filter(pl.col("store") == "s2")["product_id"].to_list() == ["p1", "p2", "p3"]


def test_lines_without_store_or_product_are_in_no_store(history):
    more = lines(("a", None, "p9", 1000.0), ("a", "s1", None, 9.0))
    found = find(pl.concat([history, more]), dict.fromkeys("abc", "High"), denied_categories=("service",))
    assert found["product_id"].unique().to_list() == ["p9"]
    assert found["store"].to_list() == ["s1", "s2", "s3"]


def test_without_customers_the_table_is_empty_with_its_columns(history):
    found = missing_products.find(
        history, pl.DataFrame(schema={"customer_id": pl.String, "value_group": pl.String}), GROUPS
    )
    assert found.schema == missing_products.SCHEMA
    assert found.is_empty()
