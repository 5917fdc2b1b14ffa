"""Schedules of EventBridge rules: `rate(5 minutes)` and `cron(0 12 * * ? *)`, in UTC.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import calendar
import re
from collections.abc import Callable
from datetime import datetime, timedelta

type Schedule = Callable[[datetime], datetime | None]

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_LAST_YEAR = 2199


class ScheduleError(ValueError):
    """The expression is none, or has something that is not done here."""


def parse(expression: str) -> Schedule:
    """A function from a time (UTC) to the next one that is due after it; none when there is no more.

    Raises:
        ScheduleError: It is not a schedule.
    """
    if found := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", expression):
        number, unit = int(found[1]), found[2]
        if number < 1 or (number == 1) == bool(found[3]):
            raise ScheduleError(f"{expression}: write rate(1 {unit}), or rate(N {unit}s) with N of 2 or more")
        return lambda after: after + timedelta(**{f"{unit}s": number})
    if found := re.fullmatch(r"cron\((.*)\)", expression):
        return _cron(found[1].split(), expression)
    raise ScheduleError(f"{expression}: a schedule is rate(N minutes|hours|days) or cron(six fields)")


def _cron(fields: list[str], expression: str) -> Schedule:
    if len(fields) != 6:
        raise ScheduleError(f"{expression}: cron has six fields: minutes hours day-of-month month day-of-week year")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ScheduleError(f"{expression}: exactly one of day-of-month and day-of-week must be ?")
    try:
        minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
        months, years = _values(fields[3].upper(), 1, 12, _MONTHS), _values(fields[5], 1970, _LAST_YEAR)
        last = fields[2] == "L"
        month_days = range(1, 32) if fields[2] in "?L" else _values(fields[2], 1, 31)
        week_days = range(1, 8) if fields[4] == "?" else _values(fields[4].upper(), 1, 7, _DAYS)
    except ValueError as error:
        raise ScheduleError(f"{expression}: {error}") from None

    def is_day(day: datetime) -> bool:
        if last and day.day != calendar.monthrange(day.year, day.month)[1]:
            return False
        return day.day in month_days and day.isoweekday() % 7 + 1 in week_days

    def following(after: datetime) -> datetime | None:
        first = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = first.replace(hour=0, minute=0)
        while day.year <= min(_LAST_YEAR, first.year + 8):  # a 29th of February is at most 8 years away
            if day.year not in years or day.month not in months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if is_day(day):
                due = (day.replace(hour=hour, minute=minute) for hour in hours for minute in minutes)
                if (time := next((time for time in due if time >= first), None)) is not None:
                    return time
            day += timedelta(days=1)
        return None

    return following


def _values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> list[int]:
    """The numbers that a field stands for, in order."""
    names = names or {}
    chosen: set[int] = set()
    for part in field.split(","):
        found = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if found is None:
            raise ValueError(f"{part} is not done here: *, numbers, lists, ranges and steps are")
        begin, end, step = found.groups()
        if begin == "*":
            start, stop = low, high
        else:
            start = _number(begin, names)
            stop = _number(end, names) if end else (high if step else start)
        if not low <= start <= stop <= high or step == "0":
            raise ValueError(f"{part} is not within {low}-{high}")
        chosen.update(range(start, stop + 1, int(step or 1)))
    return sorted(chosen)


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdecimal():
        raise ValueError(f"{text} is not done here: *, numbers, lists, ranges and steps are")
    return int(text)
