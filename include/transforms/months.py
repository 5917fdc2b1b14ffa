"""Sums and distinct people by local month, and over the whole period, which is the month "all"."""

from collections.abc import Sequence

import narwhals as nw

from include.transforms.grouping import summed
from include.transforms.local_time import to_local

WHOLE = "all"

_WHOLE = 0


def local_month(time: nw.Expr, zone: str) -> nw.Expr:
    """Year × 100 + month in a time zone, of a timestamp in UTC; `named` makes text of it when rows are few."""
    local = to_local(time, zone)
    return local.dt.year().cast(nw.Int64) * 100 + local.dt.month().cast(nw.Int64)


def whole(rows: nw.LazyFrame) -> nw.LazyFrame:
    """The same rows, all of them in the whole period."""
    return rows.with_columns(nw.lit(_WHOLE).cast(nw.Int64).alias("month"))


def named(rows: nw.LazyFrame) -> nw.LazyFrame:
    """Months as "YYYY-MM", the whole period as "all"."""
    digits = nw.col("month").cast(nw.String)
    month = nw.concat_str(digits.str.slice(0, 4), digits.str.slice(4, 2), separator="-")
    return rows.with_columns(nw.when(nw.col("month") == _WHOLE).then(nw.lit(WHOLE)).otherwise(month).alias("month"))


def sums(rows: nw.LazyFrame, by: Sequence[str], columns: Sequence[str]) -> nw.LazyFrame:
    """Sums and the number of distinct people, by month and over the whole period.

    People of several months are one person of the whole period. The rows are aggregated once, by person; both counts
    come from there, as no engine but Polars counts distinct values in a group well.

    Args:
        rows: `user_id`, `month` as `local_month` has it, and the columns of the other arguments.
        by: Columns of a group.
        columns: Whole numbers to be summed up.

    Returns:
        `by`, `month` ("YYYY-MM" or "all"), the sums, and `people`.
    """
    of_month = summed(rows, [*by, "month", "user_id"], columns)
    of_whole = whole(summed(of_month, [*by, "user_id"], columns))
    people = [part.select(*by, "month", "user_id", *columns) for part in (of_month, of_whole)]
    of_group = nw.concat(people).with_columns(nw.lit(1).cast(nw.Int64).alias("people"))
    return named(summed(of_group, [*by, "month"], [*columns, "people"]))
