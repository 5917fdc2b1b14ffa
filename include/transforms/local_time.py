"""Wall time of a business time zone to UTC and back, and counts of days, in expressions that every engine has."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from operator import or_
from zoneinfo import ZoneInfo

import narwhals as nw

BUSINESS_ZONE = "America/Sao_Paulo"
FIRST, END = datetime(2010, 1, 1), datetime(2038, 1, 1)
"""Wall times from FIRST until before END are converted; the silver transforms reject any other."""
_EPOCH = datetime(1970, 1, 1).toordinal()


def to_utc(wall_time: nw.Expr, zone: str) -> nw.Expr:
    """UTC of wall times, both without a time zone in their type.

    An hour that is repeated when summer time ends is read as its first passing, and one that is skipped when it begins
    as if it had not begun yet: `fold=0` of Python (PEP 495), and what Java and so Spark do. Spark itself converts by
    the session's zone and Polars raises on such hours, hence the arithmetic.

    Args:
        wall_time: Timestamps between FIRST and END.
        zone: IANA name of the time zone.

    Raises:
        ZoneInfoNotFoundError: no such time zone.
    """
    (usual, _), *others = sorted(_spans(zone).items(), key=lambda item: -_length(item[1]))
    utc = _minus(wall_time, usual)
    for offset, spans in others:
        within = reduce(or_, ((wall_time >= moment(start)) & (wall_time < moment(end)) for start, end in spans))
        utc = nw.when(within).then(_minus(wall_time, offset)).otherwise(utc)
    return utc


def to_local(utc: nw.Expr, zone: str) -> nw.Expr:
    """Wall times of UTC, both without a time zone in their type.

    Args:
        utc: Timestamps between FIRST and END.
        zone: IANA name of the time zone.

    Raises:
        ZoneInfoNotFoundError: no such time zone.
    """
    (usual, _), *others = sorted(_utc_spans(zone).items(), key=lambda item: -_length(item[1]))
    local = _minus(utc, -usual)
    for offset, spans in others:
        within = reduce(or_, ((utc >= moment(start)) & (utc < moment(end)) for start, end in spans))
        local = nw.when(within).then(_minus(utc, -offset)).otherwise(local)
    return local


def moment(at: datetime) -> nw.Expr:
    """A timestamp, to the second, as a literal.

    It goes as text: Polars takes milliseconds to make a literal of a datetime, and the transforms have hundreds.
    """
    return nw.lit(f"{at:%Y-%m-%d %H:%M:%S}").str.to_datetime(format="%Y-%m-%d %H:%M:%S").cast(nw.Datetime("us"))


def day_number(day: nw.Expr) -> nw.Expr:
    """Days since the year 0, as `date.toordinal`: differences of it are whole days.

    Engines subtract dates to types of their own (durations, intervals), so the calendar is counted instead.
    """
    past = day.dt.year().cast(nw.Int64) - 1
    return past * 365 + past // 4 - past // 100 + past // 400 + day.dt.ordinal_day().cast(nw.Int64)


def minute_number(time: nw.Expr) -> nw.Expr:
    """Whole minutes since midnight before the year 1: a number of buckets of any width follows by division."""
    hours = day_number(time) * 24 + time.dt.hour().cast(nw.Int64)
    return hours * 60 + time.dt.minute().cast(nw.Int64)


def micros(time: nw.Expr) -> nw.Expr:
    """Microseconds since 1970 of a timestamp in UTC, without a zone in its type; Spark has no such cast."""
    days = day_number(time.dt.date()) - _EPOCH
    parts = ((days, 24), (time.dt.hour(), 60), (time.dt.minute(), 60), (time.dt.second(), 1_000_000))
    elapsed = nw.lit(0).cast(nw.Int64)
    for count, of_the_next in parts:
        elapsed = (elapsed + count.cast(nw.Int64)) * of_the_next
    return elapsed + microsecond(time)


def microsecond(time: nw.Expr) -> nw.Expr:
    """The microsecond within its second of a timestamp in UTC; of one without a zone, Spark can't tell."""
    return time.cast(nw.Datetime("us", "UTC")).dt.microsecond().cast(nw.Int64)


def _minus(wall_time: nw.Expr, offset: timedelta) -> nw.Expr:
    minutes = -int(offset.total_seconds()) // 60
    return wall_time.dt.offset_by(f"{minutes}m") if minutes else wall_time


def _length(spans: list[tuple[datetime, datetime]]) -> timedelta:
    return sum((end - start for start, end in spans), timedelta())


@cache
def _spans(zone: str) -> dict[timedelta, list[tuple[datetime, datetime]]]:
    """Spans of wall time, from FIRST to END, in which each offset to UTC holds."""
    spans = defaultdict(list)
    start, offset = FIRST, _offset(zone, FIRST)
    for instant in _changes(zone):
        after = _offset(zone, instant)
        end = instant + max(offset, after)  # a skipped hour and the first passing of a repeated one keep the old offset
        spans[offset].append((start, end))
        start, offset = end, after
    spans[offset].append((start, END))
    return dict(spans)


@cache
def _utc_spans(zone: str) -> dict[timedelta, list[tuple[datetime, datetime]]]:
    """Spans of UTC, from FIRST to END, in which each offset to UTC holds."""
    spans = defaultdict(list)
    start = FIRST
    for end in (*_changes(zone), END):
        spans[_offset(zone, start)].append((start, end))
        start = end
    return dict(spans)


def _changes(zone: str) -> list[datetime]:
    """Instants, in UTC, at which the offset changes; two within five days are not told apart, and no zone has them."""
    changes: list[datetime] = []
    step, low, before = timedelta(days=5), FIRST, _offset(zone, FIRST)
    while low < END:
        high = low + step
        after = _offset(zone, high)
        if after != before:
            start, end = low, high
            while end - start > timedelta(minutes=1):
                middle = start + (end - start) / 2
                start, end = (middle, end) if _offset(zone, middle) == before else (start, middle)
            changes.append(end.replace(second=0, microsecond=0))
        low, before = high, after
    return changes


def _offset(zone: str, instant: datetime) -> timedelta:
    offset = instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None  # noqa: S101 - astimezone always gives one
    return offset
