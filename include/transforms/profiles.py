"""What each person likes: categories of ads by period of the day, categories of visits by weekday."""

from functools import reduce

import narwhals as nw

from include.transforms import months
from include.transforms.grouping import aggregated, counted, summed
from include.transforms.local_time import day_number, to_local

PERIODS = ("night", "morning", "afternoon", "evening")
"""Of six local hours each, from midnight."""


def interaction_profile(interactions: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Interactions of each person by period of the day and category, by month and over the whole period.

    Args:
        interactions: user_id, category, moment in UTC.
        zone: IANA name of the time zone that periods and months are of.

    Returns:
        user_id, month ("YYYY-MM" or "all"), `period` (one of `PERIODS`), category, `interactions`, `share` of the
        person's interactions in the period, and `preferred`: whether the category has most of them. Of categories with
        as many, the first in the alphabet is preferred.
    """
    rows = _profile(interactions, to_local(nw.col("moment"), zone).dt.hour() // 6, "interactions", zone)
    period = reduce(
        lambda later, number: nw.when(nw.col("cell") == number).then(nw.lit(PERIODS[number])).otherwise(later),
        range(len(PERIODS) - 1),
        nw.lit(PERIODS[-1]),
    )
    rows = rows.with_columns(period.alias("period"))
    return rows.select("user_id", "month", "period", "category", "interactions", "share", "preferred")


def visit_profile(visits: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Visits of each person by weekday and category, by month and over the whole period.

    Args:
        visits: user_id, category, moment in UTC: rows of `visits.visits`, or of `visits.stays` with `begin` as the
            moment, if two hours in a cinema shall not weigh more than four ways to the pharmacy.
        zone: IANA name of the time zone that weekdays and months are of.

    Returns:
        user_id, month ("YYYY-MM" or "all"), `weekday` (1 is Monday, 7 Sunday), category, `visits`, `share` of the
        person's visits on that weekday, and `preferred`, as in `interaction_profile`.
    """
    # Counted, as narwhals has 0 for Sunday on Spark and 7 elsewhere; the first day of the year 1 was a Monday.
    weekday = (day_number(to_local(nw.col("moment"), zone)) - 1) % 7 + 1
    rows = _profile(visits, weekday, "visits", zone)
    return rows.rename({"cell": "weekday"}).select(
        "user_id", "month", "weekday", "category", "visits", "share", "preferred"
    )


def _profile(rows: nw.LazyFrame, cell: nw.Expr, name: str, zone: str) -> nw.LazyFrame:
    key = ["user_id", "month", "cell"]
    month = months.local_month(nw.col("moment"), zone)
    celled = rows.select("user_id", "category", month.alias("month"), cell.cast(nw.Int64).alias("cell"))
    by_month = counted(celled, [*key, "category"], name)
    whole = months.whole(summed(by_month, ["user_id", "cell", "category"], [name]))
    counts = nw.concat([part.select(*key, "category", name) for part in (by_month, whole)])
    figures = [nw.col(name).sum().alias("all"), nw.col(name).max().alias("most")]
    of_cell = aggregated(counts, key, figures, {"all": nw.Int64(), "most": nw.Int64()})
    counts = counts.join(of_cell, on=key, how="inner")
    first = nw.col("category").min().alias("first")
    first_of_cell = aggregated(counts.filter(nw.col(name) == nw.col("most")), key, [first], {"first": nw.String()})
    counts = counts.join(first_of_cell, on=key, how="inner").with_columns(
        (nw.col(name) / nw.col("all")).alias("share"), (nw.col("category") == nw.col("first")).alias("preferred")
    )
    return months.named(counts)
