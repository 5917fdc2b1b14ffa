"""Whether what the speed layer serves has what the lake has: the order history and its alarms, and the search index.

Jobs compare them, `vitrine-history` and `vitrine-search-index`; here is what they are given, and what their reports
come to.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from include.streams_lake import hours as hour_names
from include.streams_lake import publish
from include.streams_lake.streams import ORDERS
from include.tables import catalog, contract

UNSETTLED = timedelta(minutes=10)
"""Before the end of what is loaded: for so long, the speed layer may know what is still on its way to the lake."""


class CompletenessError(ValueError):
    """The speed layer differs from the lake by more than it may; the message names some of what differs."""


def hours_of(since: str, until: str, hours: int, refined: Iterable[str]) -> list[str]:
    """The event hours that a run compares: those of its interval, as many as were asked for, and those it has built.

    Args:
        since: The first hour of the interval.
        until: The hour after its last.
        hours: How many hours before that are compared at least. One more than the interval has, and whatever came in
            its last minutes is compared by the next run when all of it has arrived.
        refined: The hours that the run has built.
    """
    first = min(since, hour_names.before(until, hours))
    return sorted({*hour_names.between(first, until), *refined})


def order_inputs(glue: Any, hours: Sequence[str], until: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """What the job `vitrine-history` is given.

    Args:
        glue: a boto3 Glue client.
        hours: The event hours to compare.
        until: Hours of arrival before this one are in bronze.
        rule: Parameters of the rate alarm.
    """
    bronze = publish.snapshot(glue, ORDERS, until, hours).locations
    settled = hour_names.start(until) - UNSETTLED
    return {
        "hours": list(hours),
        "lines": _locations(glue, "order_lines", hours),
        "alarms": _locations(glue, "order_alarms", hours),
        "bronze": bronze,
        "rule": dict(rule),
        "settled": settled.replace(tzinfo=None).isoformat(),
    }


def index_inputs(glue: Any, hours: Sequence[str], oldest: datetime) -> dict[str, Any]:
    """What the job `vitrine-search-index` is given.

    Args:
        glue: a boto3 Glue client.
        hours: The event hours to compare.
        oldest: Hours before this moment have no index any more.
    """
    kept = [hour for hour in hours if hour_names.start(hour) >= oldest]
    return {"hours": kept, "lines": _locations(glue, "web_logs", kept)}


def _locations(glue: Any, table: str, hours: Iterable[str]) -> list[str]:
    there = catalog.partitions(glue, contract.load(table))
    return [there[values].location for values in map(hour_names.values, hours) if values in there]


def judge_orders(report: Mapping[str, Any], threshold: float) -> list[str]:
    """What the comparison of history and alarms came to, a line for each.

    Args:
        report: Of the job `vitrine-history`.
        threshold: The share of lines, and of alarms, that may differ, 0 to 1.

    Raises:
        CompletenessError: more of them do.
    """
    lines, alarms = report["lines"], report["alarms"]
    told = {
        f"{lines['count']} lines": (lines["count"], {cause: lines[cause] for cause in ("missing", "outdated")}),
        f"{alarms['raised']} alarms raised, {alarms['expected']} by the batch layer": (
            max(alarms["raised"], alarms["expected"]),
            {cause: alarms[cause] for cause in ("missing", "unexpected", "unsent")},
        ),
    }
    return _judged(told, threshold, "order_gaps", report["named"])


def judge_index(report: Mapping[str, Any], threshold: float) -> list[str]:
    """What the comparison of the search index came to, a line for each hour that has any requests.

    Args:
        report: Of the job `vitrine-search-index`.
        threshold: The share of an hour's lines that may differ, 0 to 1.

    Raises:
        CompletenessError: more of some hour's do.
    """
    told = {
        f"{hour}: {of['lines']} lines of {of['requests']} requests, {of['documents']} documents": (
            of["lines"],
            {cause: of[cause] for cause in ("missing", "surplus")},
        )
        for hour, of in report["hours"].items()
        if of["lines"] or of["documents"]
    }
    return _judged(told, threshold, "index_gaps", report["named"])


def _judged(
    told: Mapping[str, tuple[int, Mapping[str, int]]], threshold: float, table: str, named: Sequence[str]
) -> list[str]:
    said, beyond = [], []
    for what, (of, causes) in told.items():
        differing = ", ".join(f"{count} {cause}" for cause, count in causes.items() if count)
        said.append(f"{what}: {differing or 'equal'}")
        if sum(causes.values()) > threshold * of:
            beyond.append(said[-1])
    if beyond:
        raise CompletenessError(
            f"more than {threshold:.2%} differ: {'; '.join(beyond)}. vitrine.{table} has all: {'; '.join(named)}"
        )
    return said
