"""Customer lifetime value: who will buy how much, in which value group, and what their stores do not offer them.

The history is [report date − `history_months`, report date). A sale line is left out for the first step it fails:
`invalid_customer_id` (see `sale_lines.identifier`), `outside_period` (no date, or outside the history),
`missing_amount`, `no_net_purchase` (the customer's amounts of that day do not add up to more than 0: returns only).

A purchase is a customer's day with a net amount above 0 (`rfm`). Ages end at the report date. What customers are worth
follows from BG/NBD and Gamma-Gamma (`lifetime_value`).

- value_group: clv cut at its quantiles .5, .8, .9375 and .98435 (interpolated linearly): Low-Low up to and including
  the first, then Low, Medium, High, and High-High above the last. Customers of equal clv are in one group.
- retention: thirds of p_alive: below 1/3 churn, below 2/3 medium, else alive. Without a repeat purchase p_alive is 1:
  in the BG/NBD model customers drop out only after one.
- store: where the customer's net amount is greatest, of equal ones the first by name.
- clv_missing_products: see `missing_products`. Only allowed categories count there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import polars as pl

from include.algorithms import lifetime_value, missing_products, rfm, sale_lines
from include.algorithms.bgnbd import ConvergenceError
from include.algorithms.outcome import InputError, Outcome
from include.clients import contract

if TYPE_CHECKING:
    from datetime import date

ENGINES = ("grouped", "lifetimes")
COLUMNS = (
    "product_id",
    "product_name",
    "product_group",
    "sale_date",
    "amount",
    "customer_id",
    "store",
    "customer_*",
)
ATTRIBUTES = (
    *("customer_type", "customer_group", "customer_category", "customer_salary"),
    *("customer_city", "customer_gender", "customer_age", "customer_family"),
)
"""Attributes that the table of customers has; others that a client records are in the Excel report only."""
VALUE_GROUPS = {"Low-Low": 0.5, "Low": 0.8, "Medium": 0.9375, "High": 0.98435, "High-High": 1.0}
"""Value group → the quantile of clv that it reaches up to, included."""
RETENTION = {"churn": 0.0, "medium": 1 / 3, "alive": 2 / 3}
"""Retention → least p_alive."""

# Mean probability of dropping out after a purchase, below which there is none: a → 0 or b → ∞ in the fit.
_NO_DROPOUT = 1e-6

_PREDICTIONS = {"grouped": lifetime_value.grouped, "lifetimes": lifetime_value.with_lifetimes}

_log = logging.getLogger(__name__)

_STEPS = ("invalid_customer_id", "outside_period", "missing_amount")
_NO_NET_PURCHASE = "no_net_purchase"
_CUSTOMERS = pl.Schema(
    {
        "customer_id": pl.String(),
        "store": pl.String(),
        "frequency": pl.Int64(),
        "recency": pl.Float64(),
        "age": pl.Float64(),
        "monetary": pl.Float64(),
        "p_alive": pl.Float64(),
        "expected_purchases": pl.Float64(),
        "expected_average_value": pl.Float64(),
        "clv": pl.Float64(),
        "value_group": pl.String(),
        "retention": pl.String(),
    }
)


class Parameters(contract.ClvParameters):
    """What the values depend on besides the sales: the contract's parameters, and product groups.

    Attributes:
        categories: the product groups among which products are reported missing; None for all.
        denied_categories: product groups that are never reported missing; None for none.
    """

    categories: tuple[str, ...] | None = None
    denied_categories: tuple[str, ...] | None = None


def run(sales: pl.DataFrame, parameters: Parameters, report_date: date, engine: str = ENGINES[0]) -> Outcome:
    """Value, value group and retention of every customer, and the products missing in the stores.

    Args:
        sales: the extract; needs `COLUMNS`; every customer_* column there is is passed on with its latest known value,
            to the report alone where it is not in `ATTRIBUTES`.
        parameters: periods and discount.
        report_date: the first day that does not count.
        engine: "grouped" (our fit) or "lifetimes" (the package, as reference).

    Returns:
        Tables clv_customers (greatest clv first) and clv_missing_products; facts on the models and groups.

    Raises:
        InputError: a column is missing or unreadable, or the engine is unknown.
    """
    if engine not in ENGINES:
        raise InputError(f"clv has no engine {engine!r}; it has {', '.join(ENGINES)}")
    attributes = [name for name in sales.columns if name.startswith("customer_") and name != "customer_id"]
    lines = sale_lines.clean(sales, [*(name for name in COLUMNS if "*" not in name), *attributes])
    begin = sale_lines.months_before(report_date, parameters.history_months)
    in_period = (pl.col("sale_date") >= pl.lit(begin)) & (pl.col("sale_date") < pl.lit(report_date))
    has_amount = pl.col("amount").is_not_null()
    conditions = (pl.col("customer_id").is_not_null(), in_period, has_amount)
    judged = lines.select(sale_lines.first_failing(zip(_STEPS, conditions, strict=False)))
    history = lines.filter(in_period, has_amount)
    known = history.drop_nulls("customer_id").with_columns(day=pl.col("sale_date").dt.date())
    purchases = rfm.purchase_days(known).filter(pl.col("amount") > 0)
    excluded = sale_lines.counts_by_reason(judged, _STEPS)
    if without := known.join(purchases, on=["customer_id", "day"], how="anti").height:
        excluded[_NO_NET_PURCHASE] = without
    customers = rfm.summary(purchases, report_date)
    repeaters = int((customers["frequency"] > 0).sum())
    facts: dict[str, Any] = {
        "history_begin": begin.isoformat(),
        "history_end": report_date.isoformat(),
        "customers": customers.height,
        "repeat_customers": repeaters,
    }
    _log.info("%d customers, %d of them with a repeat purchase, since %s", customers.height, repeaters, begin)

    if report_only := tuple(name for name in attributes if name not in ATTRIBUTES):
        _log.info("in the Excel report only: %s", ", ".join(report_only))
    columns = pl.Schema({**_CUSTOMERS, **dict.fromkeys(attributes, pl.String())})
    empty = {
        "clv_customers": columns.to_frame(),
        "clv_missing_products": missing_products.SCHEMA.to_frame(),
    }
    if not repeaters:
        return Outcome(empty, excluded, facts, _why_nobody(sales.height, customers.height, parameters), report_only)
    try:
        predicted, fitted = _PREDICTIONS[engine](customers, parameters.horizon_months, parameters.discount_rate)
    except ConvergenceError as error:
        return Outcome(empty, excluded, facts, str(error), report_only)
    facts |= fitted
    if fitted["bgnbd"]["a"] < _NO_DROPOUT * fitted["bgnbd"]["b"]:
        facts["remark"] = "the history shows no drop-out: BG/NBD takes every customer for alive"
        _log.warning(facts["remark"])

    customers = (
        customers.hstack(predicted)
        .with_columns(value_group=value_group(pl.col("clv")), retention=_banded(pl.col("p_alive"), RETENTION))
        .join(_main_store(known), on="customer_id", how="left")
        .join(sale_lines.latest(known, "customer_id", attributes), on="customer_id", how="left")
        .sort(-pl.col("clv").round_sig_figs(12), "customer_id")
        .select(columns.names())
        .cast(columns)
    )
    for column, names in (("value_group", VALUE_GROUPS), ("retention", RETENTION)):
        sizes = dict(customers[column].value_counts().iter_rows())
        facts[column] = {name: sizes.get(name, 0) for name in names}
    _log.info("value groups %s, retention %s", facts["value_group"], facts["retention"])
    missing = missing_products.find(
        history, customers, list(VALUE_GROUPS), parameters.categories, parameters.denied_categories
    )
    tables = {"clv_customers": customers, "clv_missing_products": missing}
    return Outcome(tables, excluded, facts, report_only=report_only)


def value_group(clv: pl.Expr) -> pl.Expr:
    """The value group of every customer: clv cut at the quantiles of `VALUE_GROUPS`, upper edges included.

    Of n values the i-th, counted from 0, is not above the quantile q when i / (n − 1) ≤ q; of equal values the first
    decides. Values are compared to 12 digits. There is a group whatever the ties: where all are equal, all are Low-Low.
    """
    place = (clv.round_sig_figs(12).rank("min") - 1) / pl.max_horizontal(pl.len() - 1, 1)
    # The quotient is rounded: it may be a last digit above an edge that it equals.
    return pl.coalesce(pl.when(place <= edge + 1e-12).then(pl.lit(name)) for name, edge in VALUE_GROUPS.items())


def _main_store(lines: pl.DataFrame) -> pl.DataFrame:
    """Every customer's store of the greatest net amount."""
    return (
        lines.drop_nulls("store")
        .group_by("customer_id", "store")
        .agg(pl.col("amount").sum())
        .sort("amount", "store", descending=[True, False])
        .unique("customer_id", keep="first", maintain_order=True)
        .select("customer_id", "store")
    )


def _banded(value: pl.Expr, least: dict[str, float]) -> pl.Expr:
    """The name of the last band whose least value is reached; the bands are ascending."""
    return pl.coalesce(pl.when(value >= edge).then(pl.lit(name)) for name, edge in reversed(least.items()))


def _why_nobody(lines: int, customers: int, parameters: Parameters) -> str:
    if not lines:
        return "there are no sale lines"
    if not customers:
        return "no sale line of the history has a customer and money: see the lines excluded by reason"
    return (
        f"none of the {customers} customers bought on a second day within {parameters.history_months} months: "
        "lifetime value needs repeat purchases; take a longer history (history_months)"
    )
