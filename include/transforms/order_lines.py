"""Lines of the order stream: the latest version of each, and the alarms that their rate should have raised.

`order_lines` takes parsed lines, the rows of `vitrine_bronze.stream_orders`. `dt` and `hour` are the UTC day and hour
(two digits) in which the order was placed. Sliding windows have no good form in dataframes: `rate_alarms` runs the rule
of the speed layer over plain rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import narwhals as nw

from include.streams.rate import Alarm, RateRule
from include.transforms.clickstream import HOUR, of_hour

HISTORY_KEY = ("customer", "order_line")
"""A line's key in the order history."""
LINE = (
    "customer",
    "order_line",
    "event_time",
    "placed_at",
    "invoice",
    "line",
    "line_identity",
    "stock_code",
    "description",
    "quantity",
    "unit_price",
    "invoice_date",
    "country",
    "content",
)
"""Columns that say what a line was."""

_VERSION = ["placed_at", "content", "event_time"]
_MICROSECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1)


def order_lines(lines: nw.LazyFrame) -> nw.LazyFrame:
    """Of each line, the version that the order history keeps: placed last, of equal times the content that sorts last.

    Versions of different hours stay apart, for an hour depends on its own lines alone: an order that was placed again
    later is in both hours, and the history has the later one.
    """
    placed = lines.select(*LINE).with_columns(*of_hour())
    return placed.unique([*HOUR, *HISTORY_KEY], keep="last", order_by=_VERSION).select(*LINE, *HOUR)


def rate_alarms(
    lines: Iterable[Mapping[str, Any]], rule: RateRule, hours: Sequence[datetime], after: Mapping[datetime, datetime]
) -> list[Alarm]:
    """The alarms of some hours.

    Args:
        lines: event_time, placed_at, invoice and line_identity of the lines of these hours and of the rule's window
            before each. Lines of which nobody knows when they were placed raise no alarm.
        rule: When to alarm.
        hours: Starts of the hours, UTC without a zone.
        after: Start of an hour → the last alarm before it, whose cooldown holds; of an hour that follows another one of
            these, what that one finds counts.

    Returns:
        Alarms, earliest first.
    """
    events = sorted(
        {
            (micros_of(line["event_time"]), rule.id(line["invoice"], int(line["line_identity"], 16)))
            for line in lines
            if line["placed_at"]
        }
    )
    found: list[Alarm] = []
    for hour in sorted(hours):
        start = micros_of(hour)
        end = start + 3600 * _MICROSECOND
        known = [micros_of(after[hour])] if hour in after else []
        known += [alarm.time for alarm in found[-1:]]
        inside = [event for event in events if start - rule.window < event[0] < end]
        alarms = rule.alarms(inside, max(known, default=None))
        # Before the hour, the windows are not whole.
        found += [alarm for alarm in alarms if alarm.time >= start]
    return found


def micros_of(moment: datetime) -> int:
    """Microseconds since the epoch of a moment in UTC, without a zone."""
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * _MICROSECOND + elapsed.microseconds
