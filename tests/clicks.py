"""Clicks for tests: as the streams' rules have them, and as bronze does."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from include.streams import rules
from include.streams.encoding import canonical
from include.streams.rules import RULES, Click
from include.streams.windows import fold

SCHEMA = {
    "event_id": pl.String,
    "event_time": pl.Datetime("us"),
    "custid": pl.Int64,
    "trafficfrom": pl.String,
    "url": pl.String,
    "device": pl.String,
    "touchproduct": pl.Int64,
}
"""Columns of bronze that say what a click was."""


def fields(time: str | int, **values: Any) -> dict[str, Any]:
    """A click's fields, as a producer sends them; those that are not given have some value."""
    usual = {"custid": 1, "trafficfrom": "search", "url": "/", "device": "browser", "touchproduct": 0}
    return {**usual, **values, "trans_timestamp": time if isinstance(time, str) else rules.iso(time)}


def click(time: str | int, **values: Any) -> Click:
    """A click at a time, ISO 8601 or microseconds since the epoch."""
    return rules.parse_click(canonical(fields(time, **values)))


def frame(clicks: Sequence[Click]) -> pl.DataFrame:
    """Clicks as they are in bronze."""
    rows = [
        {
            "event_id": f"{one.identity:016x}",
            "event_time": one.time,
            **{name: getattr(one, name) for name in list(SCHEMA)[2:]},
        }
        for one in clicks
    ]
    times = {**SCHEMA, "event_time": pl.Int64}
    return pl.DataFrame(rows, schema=times).with_columns(pl.col("event_time").cast(pl.Datetime("us")))


def brute_force(name: str, clicks: Sequence[Click]) -> pl.DataFrame:
    """The rows of a rule, by the window core."""
    rule = RULES[name]
    states = fold(rule.assigner, rule.reducer, map(rule.event, clicks))
    rows = [rule.row(window, key, rule.reducer.result(state)) for (window, key), state in states.items()]
    types = {"string": pl.String, "integer": pl.Int64, "boolean": pl.Boolean, "timestamp": pl.Int64}
    made = pl.DataFrame(rows, schema={column: types[kind] for column, kind in rule.columns.items()})
    moments = [column for column, kind in rule.columns.items() if kind == "timestamp"]
    return made.with_columns(pl.col(moments).cast(pl.Datetime("us"))).sort(*rule.keys)
