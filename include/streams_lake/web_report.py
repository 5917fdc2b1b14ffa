"""The web server's day as a page that people look at, and whether too many answers were errors of the server.

The page is one file of HTML without anything else: `reports/web_logs/<day>.html` in the lake.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jinja2

from include.sql import SQL

PATHS = 20
"""Paths on a page."""
PARTS = ("days", "hours", "paths")
"""Queries, below `include/sql/athena/web_report`, that a page is made of."""

_TEMPLATE = Path(__file__).with_name("web_report.html")
_UNITS = ("B", "kB", "MB", "GB", "TB")

Row = Mapping[str, str]
"""A row of Athena's answer: columns to values, as text."""


class ErrorRateError(ValueError):
    """Too many answers were errors of the server; the message names the hours."""


def queries(days: Iterable[date]) -> list[str]:
    """The queries of the pages of some days, in the order of `PARTS`.

    Args:
        days: At least one.
    """
    context = {"days": ", ".join(f"DATE '{day}'" for day in days), "paths": PATHS}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)  # noqa: S701 - SQL
    return [templates.get_template(f"athena/web_report/{part}.sql").render(report=context) for part in PARTS]


def pages(parts: Sequence[Sequence[Row]]) -> dict[str, str]:
    """Day → its page.

    Args:
        parts: What the queries gave, in the order of `PARTS`.
    """
    days, hours, paths = parts
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": _number, "size": _size, "share": _share}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return {
        day["dt"]: template.render(
            day=day,
            hours=(of_day := [row for row in hours if row["dt"] == day["dt"]]),
            most=max(int(row["requests"]) for row in of_day),
            paths=[row for row in paths if row["dt"] == day["dt"]],
        )
        for day in days
    }


def judge(hours: Iterable[Row], wanted: Iterable[str], bound: float, least: int) -> list[str]:
    """The server's share of errors in some hours, a line for each hour.

    Args:
        hours: What the query `hours` gave.
        wanted: Hours to judge, as 2026-03-01T10.
        bound: The greatest share of answers with a status of 500 or more that is right, 0 to 1.
        least: Requests that an hour must have to be judged: one error in two requests is no outage.

    Raises:
        ErrorRateError: some hour has a greater one.
    """
    said, beyond = [], []
    among = set(wanted)
    for row in hours:
        hour, requests, errors = f"{row['dt']}T{row['hour']}", int(row["requests"]), int(row["server_errors"])
        if hour in among:
            said.append(f"{hour}: {errors} of {requests} answers were errors of the server ({errors / requests:.2%})")
            if requests >= least and errors > bound * requests:
                beyond.append(said[-1])
    if beyond:
        raise ErrorRateError(f"more than {bound:.2%}: {'; '.join(beyond)}. vitrine.page_requests has the paths")
    return said


def _number(value: str | int) -> str:
    return f"{int(value):,}"


def _size(value: str | None) -> str:
    size, unit = float(value or 0), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"


def _share(part: str | int, whole: str | int) -> str:
    return f"{int(part) / int(whole):.2%}" if int(whole) else "–"


def rows(results: Any) -> list[dict[str, Any]]:
    """The rows of Athena's answer, page by page: columns to values, as text; null is None."""
    lines = [
        [cell.get("VarCharValue") for cell in row["Data"]] for page in results for row in page["ResultSet"]["Rows"]
    ]
    header, *values = lines
    return [dict(zip(header, line, strict=True)) for line in values]
