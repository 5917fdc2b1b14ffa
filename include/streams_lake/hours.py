"""Hours, in UTC, as text such as 2026-03-01T10, which sorts as they do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

FORM = "%Y-%m-%dT%H"
_HOUR = timedelta(hours=1)


def at(moment: datetime) -> str:
    """The hour of a moment; one without a zone is UTC."""
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime(FORM)


def start(hour: str) -> datetime:
    """The first moment of an hour, in UTC.

    Raises:
        ValueError: the text is no hour.
    """
    return datetime.strptime(hour, FORM).replace(tzinfo=UTC)


def between(since: str, until: str) -> Iterator[str]:
    """The hours from one on, up to another that is not among them."""
    moment, end = start(since), start(until)
    while moment < end:
        yield at(moment)
        moment += _HOUR


def before(hour: str, hours: int) -> str:
    """The hour so many hours earlier."""
    return at(start(hour) - hours * _HOUR)


def values(hour: str) -> tuple[str, str]:
    """The values of the partition keys `dt` and `hour`."""
    dt, _, of_day = hour.partition("T")
    return dt, of_day


def of(values: tuple[str, ...]) -> str:
    """The hour of the last two values of a partition."""
    return "T".join(values[-2:])
