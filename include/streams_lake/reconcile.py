"""Whether the speed layer and the batch layer agree: the queries, window by window, and the verdict.

A window differs where the two say anything different of it. Why, is one of:

- late: the speed layer left events out, as they came after the window had closed, and has a list of them;
- missing: the speed layer has less than can be explained by that;
- duplicate: it has more than the batch layer;
- value: it has as many, but other pages or times.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jinja2

from include.sql import SQL
from include.streams_lake import hours as hour_names

_TEMPLATES = jinja2.Environment(  # noqa: S701 - SQL, not HTML
    loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


class ReconcileError(ValueError):
    """The layers differ by more than they may; the message says in what."""


@dataclass(frozen=True)
class Compared:
    """A rule, as the queries need it: SQL over the tables of both layers.

    Attributes:
        name: Of the rule.
        batch: Table of the batch layer.
        speed: Table of the speed layer, with the same columns.
        key: Key within the window, as `speed_late.window_key` has it.
        counted: What tells more from less.
        said: All that is said of the window, as text.
        only: Condition on the rows of both tables, with AND behind it; empty where all are of the rule.
    """

    name: str
    batch: str
    speed: str
    key: str
    counted: str
    said: str
    only: str = ""


_SAID_OF_A_SESSION = (
    "concat_ws(' ', cast(events AS varchar), first_url, last_url, "
    "date_format(\"begin\", '%Y-%m-%d %H:%i:%s.%f'), date_format(\"end\", '%Y-%m-%d %H:%i:%s.%f'), "
    "cast(duration AS varchar))"
)
RULES = (
    Compared(
        "sessions",
        "vitrine_silver.sessions",
        "vitrine_silver.speed_sessions",
        "concat(cast(custid AS varchar), '#', device)",
        "events",
        _SAID_OF_A_SESSION,
    ),
    *(
        Compared(
            name,
            "vitrine_silver.visitors",
            "vitrine_silver.speed_visitors",
            "url",
            "visitors",
            "concat_ws(' ', cast(visitors AS varchar), cast(exact AS varchar))",
            f"window_seconds = {seconds} AND ",
        )
        for name, seconds in (("visitors_15s", 15), ("visitors_1m", 60))
    ),
    Compared(
        "sources_1m",
        "vitrine_silver.sources",
        "vitrine_silver.speed_sources",
        "trafficfrom",
        "events",
        "cast(events AS varchar)",
    ),
)


class Totals(NamedTuple):
    """What came out of a rule's windows.

    Attributes:
        rule: Its name.
        speed_windows: Windows and keys of the speed layer.
        batch_windows: Windows and keys of the batch layer.
        late: Those that differ for that reason.
        missing: Those that differ for that reason.
        duplicate: Those that differ for that reason.
        other: Those that have as many, but other values.
    """

    rule: str
    speed_windows: int
    batch_windows: int
    late: int
    missing: int
    duplicate: int
    other: int

    @property
    def differing(self) -> int:
        """Windows of which the layers say different things."""
        return self.late + self.missing + self.duplicate + self.other


def settled(changed: Iterable[str], until: str) -> list[str]:
    """The event hours that can be compared after a publication of the batch layer.

    What happens as an hour ends arrives in the next, so its last windows are whole when that one is loaded, too.

    Args:
        changed: event hours that were published.
        until: what arrived before this hour is in the batch layer.

    Returns:
        The hour that has become whole by this, and those before that have changed.
    """
    whole = hour_names.before(until, 2)
    return sorted({whole, *(hour for hour in changed if hour <= whole)})


def differences(hours: Sequence[str]) -> str:
    """The query, in Athena's SQL, of the windows that differ; its columns are those of the table `reconcile`.

    Args:
        hours: Event hours, as 2026-03-01T10; at least one.
    """
    return _render("reconcile_windows", hours)


def unload(hours: Sequence[str], location: str) -> str:
    """The statement that writes the windows that differ as Parquet, by hour; an hour without any has no file.

    Args:
        hours: Event hours.
        location: s3:// prefix that nothing lies below.
    """
    options = "format = 'PARQUET', compression = 'ZSTD', partitioned_by = ARRAY['dt', 'hour']"
    return f"UNLOAD (\n{differences(hours)}\n) TO '{location}' WITH ({options})"


def totals(hours: Sequence[str]) -> str:
    """The query, in Athena's SQL, of what came out of each rule, when `reconcile` has been published."""
    return _render("reconcile_totals", hours)


def within(hours: Iterable[str]) -> str:
    """The condition, in Athena's SQL, that a row is of one of these hours; it prunes partitions."""
    days: dict[str, list[str]] = {}
    for hour in sorted(set(hours)):
        dt, of_day = hour_names.values(hour)
        days.setdefault(dt, []).append(f"'{of_day}'")
    if not days:
        raise ValueError("hours is empty: name at least one, such as 2026-03-01T10")
    conditions = [f"(dt = DATE '{day}' AND hour IN ({', '.join(of_day)}))" for day, of_day in days.items()]
    return f"({' OR '.join(conditions)})"


def _render(name: str, hours: Sequence[str]) -> str:
    context: Mapping[str, Any] = {"layers": ("batch", "speed"), "rules": RULES, "within": within(hours)}
    return _TEMPLATES.get_template(f"athena/{name}.sql").render(reconcile=context)


def judge(found: Sequence[Totals], threshold: float) -> list[str]:
    """What the totals come to, a line for each rule.

    Args:
        found: Of every rule.
        threshold: The share of the batch layer's windows that may differ, 0 to 1.

    Raises:
        ReconcileError: a rule has more differences; the message has each cause's number.
    """
    lines = []
    beyond = []
    for of in found:
        counts = f"{of.late} late, {of.missing} missing, {of.duplicate} duplicate, {of.other} of another value"
        line = f"{of.rule}: {of.speed_windows} windows in speed, {of.batch_windows} in batch, "
        lines.append(line + (f"{of.differing} differ: {counts}" if of.differing else "equal"))
        if of.differing > threshold * max(of.batch_windows, of.speed_windows):
            beyond.append(lines[-1])
    if beyond:
        raise ReconcileError(
            f"more than {threshold:.2%} of the windows differ: {'; '.join(beyond)}. vitrine.reconcile has each of them"
        )
    return lines
