"""What is wrong with delivered location records and interactions, as expressions that every engine has."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import narwhals as nw

from include.transforms.local_time import moment

ACTIONS = ("view", "click")
LATE_DAYS = 400
"""A row may be so many days older than its delivery."""
EARLY_DAYS = 1
"""And so many days younger than the delivery's, by clocks that are wrong and zones that are ahead."""
UNKNOWN_ESTABLISHMENT = "establishment_id is unknown"
KNOWN = "known"
"""Column that is true where the establishment is known, null elsewhere."""


def plausible(delivered: date) -> tuple[datetime, datetime]:
    """The first moment that rows of a delivery may have, and the one from which on they may not, UTC.

    Args:
        delivered: Day of the delivery.
    """
    day = datetime(delivered.year, delivered.month, delivered.day)
    return day - timedelta(days=LATE_DAYS), day + timedelta(days=1 + EARLY_DAYS)


def location_reason(delivered: date) -> nw.Expr:
    """What is wrong with a location record, joined by "; "; null or empty where nothing is.

    Args:
        delivered: Day of the delivery. The frame has user_id, latitude, longitude and moment.
    """
    return _joined(
        [
            _missing("user_id"),
            *(_outside(column, limit) for column, limit in (("latitude", 90), ("longitude", 180))),
            *_moment(delivered),
        ]
    )


def interaction_reason(delivered: date) -> nw.Expr:
    """What is wrong with an interaction, joined by "; "; null or empty where nothing is.

    Args:
        delivered: Day of the delivery. The frame has user_id, campaign_id, ad_id, establishment_id, category, action,
            moment and `KNOWN`.
    """
    establishment = nw.col("establishment_id")
    unknown = nw.col(KNOWN).is_null() & ~_blank(establishment)
    return _joined(
        [
            *(_missing(column) for column in ("user_id", "campaign_id", "ad_id", "establishment_id", "category")),
            nw.when(unknown).then(nw.lit(UNKNOWN_ESTABLISHMENT)),
            nw.when(~nw.col("action").is_in(ACTIONS).fill_null(False)).then(
                nw.lit(f"action is not {' or '.join(ACTIONS)}")
            ),
            *_moment(delivered),
        ]
    )


def _joined(reasons: Sequence[nw.Expr]) -> nw.Expr:
    return nw.concat_str(list(reasons), separator="; ", ignore_nulls=True)


def _blank(text: nw.Expr) -> nw.Expr:
    return (text.fill_null("").str.strip_chars() == "").fill_null(True)


def _missing(column: str) -> nw.Expr:
    return nw.when(_blank(nw.col(column))).then(nw.lit(f"{column} is missing"))


def _outside(column: str, limit: int) -> nw.Expr:
    # Not the opposite of it: no engine but pandas has a NaN that is greater than nothing.
    within = ((nw.col(column) >= -limit) & (nw.col(column) <= limit)).fill_null(False)
    return nw.when(~within).then(nw.lit(f"{column} is not from -{limit} to {limit}"))


def _moment(delivered: date) -> list[nw.Expr]:
    first, end = plausible(delivered)
    at = nw.col("moment")
    return [
        nw.when(at.is_null()).then(nw.lit("moment is missing")),
        nw.when((at < moment(first)).fill_null(False)).then(
            nw.lit(f"moment is more than {LATE_DAYS} days before the delivery")
        ),
        nw.when((at >= moment(end)).fill_null(False)).then(nw.lit("moment is after the delivery")),
    ]
