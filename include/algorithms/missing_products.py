"""What stores do not offer the customers of a value group: products that carry the group's revenue, but not theirs.

A Pareto list of a revenue is its products from the best on, up to and including the one that reaches a share of it;
products whose returns outweigh their sales are in none. Missing in a store is what is on the group's list of
`CLUSTER_SHARE`, but not on the list of `STORE_SHARE` of what the group spends in that store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from include.algorithms import sale_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

CLUSTER_SHARE = 0.5
STORE_SHARE = 0.8

NOT_SOLD = "not sold in the store"
OUTSIDE = "outside the store's 80 %"

SCHEMA = pl.Schema(
    {
        "store": pl.String(),
        "value_group": pl.String(),
        "product_id": pl.String(),
        "product_name": pl.String(),
        "cluster_rank": pl.Int64(),
        "cluster_share": pl.Float64(),
        "status": pl.String(),
    }
)


def find(
    lines: pl.DataFrame,
    customers: pl.DataFrame,
    value_groups: Sequence[str],
    categories: tuple[str, ...] | None = None,
    denied_categories: tuple[str, ...] | None = None,
) -> pl.DataFrame:
    """The missing products of every store and value group that buys there.

    Args:
        lines: customer_id, store, product_id, product_name, product_group, sale_date, amount, all lines of the history;
            those without customer count as the store's sales only.
        customers: customer_id, value_group.
        value_groups: the groups in the order of the result.
        categories: product groups that may be reported; None for all. A product's group is its latest known one.
        denied_categories: product groups that may not; None for none.

    Returns:
        `SCHEMA`, by store, group and rank. cluster_rank and cluster_share are those of the product in the group's
        revenue; status is `NOT_SOLD` if nobody bought it in the store, else `OUTSIDE`.
    """
    lines = lines.drop_nulls("product_id")
    catalogue = sale_lines.latest(lines, "product_id", ["product_name", "product_group"], prefer=pl.col("amount") > 0)
    catalogue = catalogue.filter(sale_lines.in_categories(categories, denied_categories))
    lines = lines.drop("product_name", "product_group").join(catalogue, on="product_id", how="semi")
    sold = lines.drop_nulls("store").filter(pl.col("amount") > 0).select("store", "product_id", sold=True).unique()
    bought = lines.join(customers.select("customer_id", "value_group"), on="customer_id")
    bought_in_stores = bought.drop_nulls("store")
    covered = _pareto(bought_in_stores, ["store", "value_group"], STORE_SHARE)
    order = pl.col("value_group").replace_strict(list(value_groups), range(len(value_groups)), return_dtype=pl.Int64)
    return (
        bought_in_stores.filter(pl.col("amount") > 0)
        .select("store", "value_group")
        .unique()
        .join(_pareto(bought, ["value_group"], CLUSTER_SHARE), on="value_group")
        .join(covered, on=["store", "value_group", "product_id"], how="anti")
        .join(sold, on=["store", "product_id"], how="left")
        .join(catalogue, on="product_id", how="left")
        .with_columns(status=pl.when("sold").then(pl.lit(OUTSIDE)).otherwise(pl.lit(NOT_SOLD)))
        .rename({"rank": "cluster_rank", "share": "cluster_share"})
        .sort("store", order, "cluster_rank")
        .select(SCHEMA.names())
        .cast(SCHEMA)
    )


def _pareto(lines: pl.DataFrame, keys: list[str], reach: float) -> pl.DataFrame:
    """The Pareto list of each key's revenue: keys, product_id, share, rank. Equal revenues are ordered by id."""
    share = pl.col("revenue") / pl.col("revenue").sum().over(keys)
    return (
        lines.group_by(*keys, "product_id")
        .agg(revenue=pl.col("amount").sum().cast(pl.Float64))
        .filter(pl.col("revenue") > 0)
        .sort(*keys, "revenue", "product_id", descending=[False] * len(keys) + [True, False])
        .with_columns(share=share, rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(keys))
        .filter(pl.col("share").cum_sum().over(keys) - pl.col("share") < reach - 1e-9)
        .drop("revenue")
    )
