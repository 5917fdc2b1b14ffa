"""Clicks: raw files to bronze by hour of arrival, and bronze to sessions, visitors, sources and answers by event hour.

With `--files` the job loads raw files: hour of arrival → key, etag and size of each. With `--inputs` it refines:
`hours`, the event hours to build, and `locations`, all of bronze that has clicks of these hours.
"""

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa

from include.jobs import arguments, hourly, records, totals
from include.jobs.engine import Engine
from include.jobs.hourly import Refinery, Table
from include.streams.rules import SESSIONS, SOURCES_1M, VISITORS_1M, Rule
from include.transforms import clickstream

CLICKS = "click_events"
TABLES = {
    "sessions": Table("silver", SESSIONS.keys, lambda made: clickstream.sessions(made[CLICKS])),
    "sources": Table("silver", SOURCES_1M.keys, lambda made: clickstream.sources(made[CLICKS])),
    "product_accesses": Table("gold", ("product",), lambda made: clickstream.product_accesses(made[CLICKS])),
    "device_accesses": Table("gold", ("device",), lambda made: clickstream.device_accesses(made[CLICKS])),
    "source_page_accesses": Table(
        "gold", ("trafficfrom", "url"), lambda made: clickstream.source_page_accesses(made[CLICKS])
    ),
    "unique_visitors": Table(
        "gold", ("window_seconds", "window_start"), lambda made: clickstream.unique_visitors(made[CLICKS])
    ),
    "busiest_sources": Table("gold", ("window_start",), lambda made: clickstream.busiest_sources(made["sources"])),
}
"""What is made of the clicks, beside `click_events` and `visitors`."""


def refine(on: Engine, s3: Any, inputs: Mapping[str, list[str]], bucket: str, version: str) -> dict[str, Any]:
    """Writes the tables of some event hours.

    Args:
        on: The engine.
        s3: A client.
        inputs: hours and locations.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.
    """
    bronze = on.read(inputs["locations"], records.CLICKS.schema).drop("dt", "hour").with_columns(*clickstream.of_hour())
    taken = hourly.of_hours(bronze, inputs["hours"])
    rows_in = totals.of(taken)[0]
    refinery = Refinery(on, s3, bucket, version)
    kept = refinery.write_frame(CLICKS, "silver", clickstream.distinct(taken), ("event_time", "event_id"))
    if kept:
        clicks = refinery.made[CLICKS]
        seen = nw.concat([_visitors(on, clicks, rule) for rule in clickstream.VISITORS])
        refinery.write_frame("visitors", "silver", seen, VISITORS_1M.keys)
        for name, table in TABLES.items():
            refinery.write(name, table)
    return {"hours": inputs["hours"], "rows_in": rows_in, "duplicates": rows_in - kept, "tables": refinery.report}


def _visitors(on: Engine, clicks: nw.LazyFrame, rule: Rule) -> nw.LazyFrame:
    crowds = clickstream.crowds(clicks, rule).collect("pyarrow").to_native()
    if not crowds.num_rows:
        return clickstream.visitors(clicks, rule)
    return clickstream.visitors(clicks, rule, on.take(estimates(crowds, rule)))


def estimates(visits: pa.Table, rule: Rule) -> pa.Table:
    """What the rule's own sketch makes of the visits of crowds: window_start, url and `estimate`."""
    states: dict[tuple[Any, str], Any] = {}
    for visit in visits.to_pylist():
        window = visit["window_start"], visit["url"]
        states[window] = rule.reducer.add(states.get(window, rule.reducer.empty()), 0, 0, visit["custid"])
    rows = [
        {"window_start": start, "url": url, "estimate": rule.reducer.result(state).count}
        for (start, url), state in states.items()
    ]
    types = pa.schema([("window_start", pa.timestamp("us")), ("url", pa.string()), ("estimate", pa.int64())])
    return pa.Table.from_pylist(rows, types)


def main() -> None:
    """Runs the job."""
    given = arguments.read("version", "lake", "report", optional=("files", "inputs", "engine"))
    records.run(records.CLICKS, refine, given)


if __name__ == "__main__":
    main()
