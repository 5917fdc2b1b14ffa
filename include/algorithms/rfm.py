"""Recency, frequency, age and money of customers: what the models of customer lifetime value know of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from datetime import date


def purchase_days(lines: pl.DataFrame) -> pl.DataFrame:
    """The net amount of every customer and day with a line; a purchase is a day with a net amount above 0.

    Returns and corrections of the same day reduce it; on other days they are no purchase, and leave the earlier one as
    it was: it did happen, and its time is what the models are about.

    Args:
        lines: customer_id, day (date), amount.

    Returns:
        customer_id, day, amount, sorted by customer and day; all days, also those that are no purchase.
    """
    return lines.group_by("customer_id", "day").agg(pl.col("amount").sum()).sort("customer_id", "day")


def summary(purchases: pl.DataFrame, end: date) -> pl.DataFrame:
    """One row per customer, as `lifetimes.utils.summary_data_from_transaction_data` defines it, in days.

    Args:
        purchases: customer_id, day, amount: one row per customer and day with a purchase, all before `end`.
        end: end of the observation period.

    Returns:
        customer_id; frequency: days with a purchase after the first one; recency: days from the first to the last
        purchase; age: days from the first purchase to `end`; monetary: mean amount of a purchase day without the first
        one, 0 where there is no other. Sorted by customer.
    """
    day, amount = pl.col("day"), pl.col("amount")
    first = day == day.min().over("customer_id")
    return (
        purchases.with_columns(repeat=pl.when(~first).then(amount))
        .group_by("customer_id")
        .agg(
            frequency=pl.len().cast(pl.Int64) - 1,
            recency=(day.max() - day.min()).dt.total_days().cast(pl.Float64),
            age=(pl.lit(end) - day.min()).dt.total_days().cast(pl.Float64),
            repeat=pl.col("repeat").sum().cast(pl.Float64),
        )
        .with_columns(
            monetary=pl.when(pl.col("frequency") > 0).then(pl.col("repeat") / pl.col("frequency")).otherwise(0.0)
        )
        .drop("repeat")
        .sort("customer_id")
    )
