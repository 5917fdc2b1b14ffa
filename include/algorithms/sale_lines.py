"""Reads sale lines with care: ids that identify nobody, values that are no numbers, periods that end in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from include.algorithms.outcome import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

#: Words that stand for "nothing" in exports, compared in lower case.
_NOTHING = ("", "nan", "nat", "none", "null", "na", "n/a", "undefined", "unknown")
#: Zero, however it is written, and every negative number: sources use them as "unknown".
_NOT_POSITIVE = r"^(?:[+-]?0+(?:\.0*)?|-\d+(?:\.\d*)?)$"

_IDS = ("product_id", "order_id", "customer_id")
_NUMBERS = {"quantity": pl.Decimal(38, 4), "amount": pl.Decimal(38, 4)}


def text(column: str) -> pl.Expr:
    """The column as trimmed text; blank and the words for "nothing" become null."""
    trimmed = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(~trimmed.str.to_lowercase().is_in(_NOTHING)).then(trimmed).alias(column)


def identifier(column: str) -> pl.Expr:
    """The column as an id; null where it identifies nothing.

    Invalid are: null, blank, zero (0, 00, 0.0), negative numbers, and in any case of letters the words nan, nat, none,
    null, na, n/a, undefined and unknown.
    """
    trimmed = text(column)
    return pl.when(~trimmed.str.contains(_NOT_POSITIVE)).then(trimmed).alias(column)


def clean(sales: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The named columns in one type each; what cannot be read becomes null and is counted by the caller.

    Args:
        sales: the extract, any types.
        columns: the columns that are needed.

    Returns:
        One row per sale line: ids and other text as trimmed strings, `sale_date` as datetime[μs], `quantity` and
        `amount` as decimals of 4 places, so that sums do not depend on the order of the lines.

    Raises:
        InputError: a column is missing, or is of a type that holds no such values.
    """
    missing = [column for column in columns if column not in sales.columns]
    if missing:
        raise InputError(
            f"the sales have no column {', '.join(missing)}; they have {', '.join(sales.columns) or 'no column'}: "
            "name the missing roles in the client's contract and extract again"
        )
    return sales.select(_read(column, sales.schema[column]) for column in columns)


def _read(column: str, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise InputError(f"column {column} holds {dtype}, not single values: correct its type in the client's contract")
    if column in _IDS:
        return identifier(column)
    if column == "sale_date":
        moment = pl.col(column)
        if dtype == pl.String:
            moment = moment.str.strip_chars().str.to_datetime(strict=False, time_unit="us")
        elif not dtype.is_temporal() and dtype != pl.Null:
            raise InputError(f"column sale_date holds {dtype}, not dates: correct its type in the client's contract")
        return moment.cast(pl.Datetime("us"), strict=False)
    if column in _NUMBERS:
        if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
            raise InputError(f"column {column} holds {dtype}, not numbers: correct its type in the client's contract")
        number = pl.col(column)
        if dtype == pl.String:
            number = number.str.strip_chars().cast(pl.Float64, strict=False)
        if dtype.is_float() or dtype == pl.String:
            # A float beyond 1e15 has no digit left after the point: a garbled value, not money.
            number = pl.when(number.is_finite() & (number.abs() < 1e15)).then(number)
        return number.cast(_NUMBERS[column], strict=False).alias(column)
    return text(column)


def months_before(report_date: date, months: int) -> date:
    """The day `months` calendar months before, the month's last day where it is shorter (31 March → 28 February)."""
    return pl.select(pl.lit(report_date).dt.offset_by(f"-{months}mo")).item()


def first_failing(steps: Iterable[tuple[str, pl.Expr]]) -> pl.Expr:
    """The reason of the first step that a line fails, null for a line that passes all.

    Args:
        steps: pairs of a reason and the condition that a line must meet; an unknown condition counts as failed.
    """
    return pl.coalesce(
        pl.when(~condition.fill_null(value=False)).then(pl.lit(reason)) for reason, condition in steps
    ).alias("reason")


def counts_by_reason(lines: pl.DataFrame, reasons: Iterable[str]) -> dict[str, int]:
    """Reason → lines left out for it, in the order given, without the reasons that left out none."""
    counts = dict(lines.drop_nulls("reason").group_by("reason").len().iter_rows())
    return {reason: counts[reason] for reason in reasons if reason in counts}


def in_categories(categories: Sequence[str] | None, denied_categories: Sequence[str] | None) -> pl.Expr:
    """Whether `product_group` takes part. A product without group is in no list: not allowed by one, not denied by one.

    Args:
        categories: the groups that take part; None for all.
        denied_categories: the groups that do not; None for none.
    """
    group = pl.col("product_group")
    allowed = pl.lit(value=True) if categories is None else group.is_in(list(categories)).fill_null(value=False)
    return allowed & ~group.is_in(list(denied_categories or ())).fill_null(value=False)


def latest(lines: pl.DataFrame, key: str, columns: Sequence[str], prefer: pl.Expr | None = None) -> pl.DataFrame:
    """For every key its latest known value of each column; of several at the same moment the greatest.

    Args:
        lines: with the key, the columns and `sale_date`.
        key: column of the key.
        columns: columns whose values are wanted.
        prefer: which lines are asked first; the others count only where those know nothing. By default all are equal.

    Returns:
        One row per key, sorted by key.
    """
    result = lines.select(key).unique()
    for column in columns:
        values = lines.drop_nulls(column)
        if prefer is not None:
            preferred = prefer.fill_null(value=False)
            values = values.filter(preferred | ~preferred.any().over(key))
        values = values.filter(pl.col("sale_date") == pl.col("sale_date").max().over(key))
        values = values.group_by(key).agg(pl.col(column).max())
        result = result.join(values, on=key, how="left")
    return result.sort(key)
