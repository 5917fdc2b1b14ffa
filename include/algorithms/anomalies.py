"""Anomalous consumption: customers who bought far more of a group last month than customers do, and anomalous days.

Windows. The last month is [report date − 1 month, report date); the reference is the `history_months` months before it,
[report date − (history_months + 1) months, report date − 1 month), each month counted back from the report date: never
from the clock, so a rerun for an old report date gives the old result.

Customers. A *customer-month* is what one customer bought of one `anomaly_group` in one month: the sum of the month's
quantities, returns subtracted, where it is above 0. Months in which the customer bought nothing of the group are no
observation: most customers buy nothing of most groups, and counting their zeros would make every buyer a suspect. Per
group, mean and standard deviation (n − 1) of all reference customer-months; a suspect is a customer whose last month is
above mean + `sigmas` · std. One month is compared with single months, never with their sum. A group with fewer than two
reference customer-months has no deviation and is not judged; where all are equal (std 0) more than the mean is suspect
and has no z-score.

Days. Units sold (returns not subtracted: they belong to earlier days) per group and day, days without sales being 0,
from the group's first sale in the period to the eve of the report date; see `daily` for the engines. Both look at
earlier days only. A series needs `daily.WARM_UP` days before its first score.

Lines left out for the first step they fail: `invalid_group`, `outside_period`, `invalid_quantity` from everything;
`invalid_customer_id` from the customers' part, not from the days.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from include.algorithms import daily, sale_lines
from include.algorithms.outcome import InputError, Outcome
from include.clients import contract

if TYPE_CHECKING:
    from datetime import date

log = logging.getLogger(__name__)

ENGINES = ("holt-winters", "reference")
"""How days are scored; the customers' rule is the same with both."""

COLUMNS = (
    "anomaly_group",
    "customer_id",
    "sale_date",
    "quantity",
    "amount",
    "order_id",
    "product_id",
    "product_name",
    "store",
)

SUSPECTS = pl.Schema(
    {
        "anomaly_group": pl.String,
        "customer_id": pl.String,
        "units": pl.Float64,
        "mean": pl.Float64,
        "std": pl.Float64,
        "threshold": pl.Float64,
        "z_score": pl.Float64,
        "months": pl.Int64,
    }
)
HABITS = pl.Schema(
    {
        "anomaly_group": pl.String,
        "mean": pl.Float64,
        "std": pl.Float64,
        "threshold": pl.Float64,
        "months": pl.Int64,
    }
)
TRANSACTIONS = pl.Schema(
    {
        "order_id": pl.String(),
        "sale_date": pl.Datetime("us"),
        "customer_id": pl.String(),
        "anomaly_group": pl.String(),
        "product_id": pl.String(),
        "product_name": pl.String(),
        "store": pl.String(),
        "quantity": pl.Float64(),
        "amount": pl.Float64(),
    }
)
DAYS = pl.Schema(
    {
        "anomaly_group": pl.String,
        "sale_date": pl.Date,
        "units": pl.Float64,
        "expected": pl.Float64,
        "scale": pl.Float64,
        "score": pl.Float64,
        "is_anomaly": pl.Boolean,
    }
)
_STEPS = ("invalid_group", "outside_period", "invalid_quantity", "invalid_customer_id")


class Parameters(contract.AnomaliesParameters):
    """What suspects and anomalies depend on besides the sales: the contract's parameters."""


def run(sales: pl.DataFrame, parameters: Parameters, report_date: date, engine: str = ENGINES[0]) -> Outcome:
    """Suspects with their transactions, and daily series with scores.

    Args:
        sales: the extract; needs the columns of `COLUMNS`.
        parameters: months and thresholds.
        report_date: the first day that does not count.
        engine: "holt-winters" or "reference" (trailing mean and deviation), for the days.

    Returns:
        Tables `anomaly_suspects` (largest z-score first within a group), `anomaly_transactions` (the suspects' lines of
        the last month, returns too) and `anomaly_days` (every scored day; score and scale in the engine's unit).

    Raises:
        InputError: a column is missing or unreadable, or the engine is unknown.
    """
    if engine not in ENGINES:
        raise InputError(f"anomalies has no engine {engine!r}; it has {', '.join(ENGINES)}")
    lines = _judged(sales, parameters, report_date)
    excluded = sale_lines.counts_by_reason(lines, _STEPS)
    last_month = sale_lines.months_before(report_date, 1)
    is_last = pl.col("sale_date") >= pl.lit(last_month)
    attributed = lines.filter(pl.col("reason").is_null()).with_columns(_month(parameters, report_date))
    months = (
        attributed.group_by("anomaly_group", "customer_id", "month")
        .agg(units=pl.col("quantity").sum().cast(pl.Float64))
        .filter(pl.col("units") > 0)
        .sort("anomaly_group", "month", "customer_id")
    )
    habits = _habits(months, parameters.sigmas)
    last = months.filter(pl.col("month") == 1)
    suspects = _suspects(last, habits)
    transactions = (
        attributed.filter(is_last)
        .join(suspects, on=["anomaly_group", "customer_id"], how="semi")
        .select(TRANSACTIONS.names())
        .cast(TRANSACTIONS)
        .sort("anomaly_group", "customer_id", "sale_date", "order_id", "product_id", "quantity", "amount", "store")
    )
    log.info(
        "%s suspects of %s customers and groups in the last month, from %s on",
        *(f"{n:,}" for n in (len(suspects), len(last))), last_month,
    )  # fmt: skip

    sold = lines.filter(pl.col("reason").is_null() | (pl.col("reason") == _STEPS[-1]), pl.col("quantity") > 0)
    series = _series(sold, report_date)
    tables = {name: _days(series, name, parameters.day_score) for name in ENGINES}
    days = tables[engine]
    found = {name: int(table["is_anomaly"].sum()) for name, table in tables.items()}
    log.info("%s of %s days are anomalies (%s)", f"{found[engine]:,}", f"{len(days):,}", engine)
    return Outcome(
        tables={"anomaly_suspects": suspects, "anomaly_transactions": transactions, "anomaly_days": days},
        excluded=excluded,
        facts={
            "last_month_from": last_month.isoformat(),
            "reference_from": sale_lines.months_before(report_date, parameters.history_months + 1).isoformat(),
            "groups": lines["anomaly_group"].n_unique() - int(lines["anomaly_group"].null_count() > 0),
            "groups_judged": len(habits),
            "reference_customer_months": len(months) - len(last),
            "last_customer_months": len(last),
            "days_scored": len(days),
            "anomalous_days": found,
        },
        reason=_why_empty(suspects, months, last, habits, parameters),
    )


def _judged(sales: pl.DataFrame, parameters: Parameters, report_date: date) -> pl.DataFrame:
    """The lines with the reason why they are left out (null: they are not)."""
    lines = sale_lines.clean(sales, COLUMNS)
    start = sale_lines.months_before(report_date, parameters.history_months + 1)
    conditions = (
        pl.col("anomaly_group").is_not_null(),
        (pl.col("sale_date") >= pl.lit(start)) & (pl.col("sale_date") < pl.lit(report_date)),
        pl.col("quantity").is_not_null(),
        pl.col("customer_id").is_not_null(),
    )
    return lines.with_columns(sale_lines.first_failing(zip(_STEPS, conditions, strict=True)))


def _month(parameters: Parameters, report_date: date) -> pl.Expr:
    """The line's month, counted back from the report date: 1 is the last, 2 the one before."""
    starts = [sale_lines.months_before(report_date, k) for k in range(1, parameters.history_months + 1)]
    earlier = [(pl.col("sale_date") < pl.lit(start)).cast(pl.Int64) for start in starts]
    return (1 + pl.sum_horizontal(earlier)).alias("month")


def _habits(months: pl.DataFrame, sigmas: float) -> pl.DataFrame:
    """Mean, std, threshold and number of months with data per group that has a deviation."""
    # Sorted lines and two plain passes: the last digits must not depend on how threads share the work.
    rows = []
    for (group,), part in months.filter(pl.col("month") > 1).group_by("anomaly_group", maintain_order=True):
        if len(part) > 1:
            units = part["units"].to_numpy()
            mean, std = float(np.mean(units)), float(np.std(units, ddof=1))
            rows.append((group, mean, std, mean + sigmas * std, part["month"].n_unique()))
    return pl.DataFrame(rows, schema=HABITS, orient="row")


def _suspects(last: pl.DataFrame, habits: pl.DataFrame) -> pl.DataFrame:
    above = last.join(habits, on="anomaly_group").filter(pl.col("units") > pl.col("threshold"))
    z_score = pl.when(pl.col("std") > 0).then((pl.col("units") - pl.col("mean")) / pl.col("std"))
    return (
        above.with_columns(z_score=z_score)
        .select(SUSPECTS.names())
        .sort("anomaly_group", "units", "customer_id", descending=[False, True, False])
    )


def _series(sold: pl.DataFrame, report_date: date) -> pl.DataFrame:
    """Units per group and day (anomaly_group, sale_date, units), without gaps, sorted."""
    units = (
        sold.group_by("anomaly_group", pl.col("sale_date").dt.date())
        .agg(units=pl.col("quantity").sum().cast(pl.Float64))
        .sort("anomaly_group", "sale_date")
    )
    end = pl.lit(report_date).dt.offset_by("-1d")
    calendar = (
        units.group_by("anomaly_group")
        .agg(pl.date_range(pl.col("sale_date").min(), end).alias("sale_date"))
        .explode("sale_date")
        .sort("anomaly_group", "sale_date")
    )
    return calendar.join(units, on=["anomaly_group", "sale_date"], how="left", maintain_order="left").fill_null(0.0)


def _days(series: pl.DataFrame, engine: str, day_score: float) -> pl.DataFrame:
    """The scored days of all series."""
    parts = [part["units"].to_numpy() for part in series.partition_by("anomaly_group", maintain_order=True)]
    if not parts:
        return pl.DataFrame(schema=DAYS)
    # Series start on different days and end on the same: side by side from their first day, filled up behind.
    block = np.full((len(parts), max(map(len, parts))), np.nan)
    for row, part in enumerate(parts):
        block[row, : len(part)] = part
    inside = ~np.isnan(block)
    scored: dict[str, Any] = {name: values[inside] for name, values in daily.ENGINES[engine](block)._asdict().items()}
    days = series.with_columns(**{name: pl.Series(values) for name, values in scored.items()})
    return (
        days.filter(pl.col("score").is_not_nan())
        .with_columns(is_anomaly=pl.col("score").abs() > day_score)
        .select(DAYS.names())
        .cast(DAYS)
    )


def _why_empty(
    suspects: pl.DataFrame, months: pl.DataFrame, last: pl.DataFrame, habits: pl.DataFrame, parameters: Parameters
) -> str | None:
    if len(suspects):
        return None
    if months.is_empty():
        return "no customer bought anything in the period: see the lines excluded by reason"
    if last.is_empty():
        return "no customer bought anything in the last month"
    if habits.is_empty():
        return "no group has two customers' months of reference before the last month"
    return f"no customer's last month is above mean + {parameters.sigmas:g} standard deviations of its group"
