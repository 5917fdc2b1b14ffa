from datetime import UTC, datetime
from itertools import pairwise

import pytest

from local.aws.schedules import ScheduleError, parse

START = datetime(2026, 2, 27, 22, 58, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("rate(1 minute)", ["2026-02-27 22:59:30", "2026-02-27 23:00:30"]),
        ("rate(2 hours)", ["2026-02-28 00:58:30", "2026-02-28 02:58:30"]),
        ("rate(1 day)", ["2026-02-28 22:58:30"]),
        ("cron(0 12 * * ? *)", ["2026-02-28 12:00:00", "2026-03-01 12:00:00"]),
        ("cron(0/30 22,23 * * ? *)", ["2026-02-27 23:00:00", "2026-02-27 23:30:00", "2026-02-28 22:00:00"]),
        ("cron(15 10 ? * MON-FRI *)", ["2026-03-02 10:15:00", "2026-03-03 10:15:00"]),
        ("cron(0 8 1 * ? *)", ["2026-03-01 08:00:00", "2026-04-01 08:00:00"]),
        ("cron(0 8 L * ? *)", ["2026-02-28 08:00:00", "2026-03-31 08:00:00"]),
        ("cron(0 8 29 FEB ? *)", ["2028-02-29 08:00:00", "2032-02-29 08:00:00"]),
        ("cron(0 8 ? JAN,MAR 1 2027)", ["2027-01-03 08:00:00", "2027-01-10 08:00:00"]),
        ("cron(59 22 27 2 ? 2026)", ["2026-02-27 22:59:00", None]),
    ],
)
def test_when_it_is_due(expression: str, times: list[str | None]) -> None:
    following = parse(expression)
    due: list[datetime | None] = [START]
    for _ in times:
        assert due[-1] is not None
        due.append(following(due[-1]))
    assert [time and f"{time:%Y-%m-%d %H:%M:%S}" for time in due[1:]] == times
    assert all(a < b for a, b in pairwise(filter(None, due)))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("every minute", "rate"),
        ("rate(0 minutes)", "N of 2 or more"),
        ("rate(1 minutes)", r"write rate\(1 minute\)"),
        ("rate(5 minute)", r"rate\(N minutes\)"),
        ("cron(0 12 * *)", "six fields"),
        ("cron(0 12 * * * *)", "exactly one"),
        ("cron(0 12 ? * ? *)", "exactly one"),
        ("cron(60 12 * * ? *)", "60 is not within 0-59"),
        ("cron(0 12 15W * ? *)", "15W is not done here"),
        ("cron(0 12 ? * 6#3 *)", "6#3 is not done here"),
        ("cron(0 12 ? * 5L *)", "5L is not done here"),
        ("cron(0/0 12 * * ? *)", "0/0"),
    ],
)
def test_what_is_no_schedule(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason):
        parse(expression)
