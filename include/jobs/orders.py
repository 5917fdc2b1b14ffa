"""Orders: raw files to bronze by hour of arrival, and bronze to lines and alarms by the hour in which they were placed.

With `--files` the job loads raw files: hour of arrival → key, etag and size of each. With `--inputs` it refines:
`hours`, the hours to build; `locations`, all of bronze that has lines of these hours and of the hour before each;
`rule`, the parameters of the rate alarm; and `alarms`, locations of the alarms of the hours before these.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import narwhals as nw
import pyarrow as pa

from include.jobs import arguments, hourly, records, totals
from include.jobs.engine import Engine
from include.jobs.hourly import Refinery
from include.streams.rate import Alarm, RateRule
from include.transforms import clickstream, order_lines

HOUR = timedelta(hours=1)
ALARMS = pa.schema(
    [
        ("alarm_at", pa.timestamp("us")),
        ("unit", pa.string()),
        ("counted", pa.int64()),
        ("threshold", pa.int64()),
        ("window_microseconds", pa.int64()),
        ("cooldown_microseconds", pa.int64()),
        ("ids", pa.string()),
    ]
)
"""Columns of `order_alarms`, beside its partition keys."""


def refine(on: Engine, s3: Any, inputs: Mapping[str, Any], bucket: str, version: str) -> dict[str, Any]:
    """Writes the tables of some hours; arguments and report as of `include.jobs.clicks.refine`.

    Raises:
        ValueError: the rule's window or cooldown is longer than an hour.
    """
    rule = RateRule(**inputs["rule"])
    for name in ("window", "cooldown"):
        if getattr(rule, name) > HOUR // timedelta(microseconds=1):
            raise ValueError(f"{name} of the rate alarm is {getattr(rule, name)} µs: an hour at most can be recomputed")
    bronze = on.read(inputs["locations"], records.ORDERS.schema).drop("dt", "hour").with_columns(*clickstream.of_hour())
    taken = hourly.of_hours(bronze, inputs["hours"])
    refinery = Refinery(on, s3, bucket, version)
    kept = refinery.write_frame("order_lines", "silver", order_lines.order_lines(taken), order_lines.HISTORY_KEY)
    starts = [datetime.fromisoformat(f"{hour}:00:00") for hour in inputs["hours"]]
    around = hourly.of_hours(bronze, [f"{start:%Y-%m-%dT%H}" for hour in starts for start in (hour - HOUR, hour)])
    columns = ("event_time", "placed_at", "invoice", "line_identity")
    events = around.select(*columns).collect("pyarrow").to_native().to_pylist()
    found = order_lines.rate_alarms(events, rule, starts, _last_alarms(on, inputs["alarms"], starts))
    if found:
        rows = on.take(_rows(found, rule)).with_columns(*clickstream.of_hour("alarm_at"))
        refinery.write_frame("order_alarms", "gold", rows, ("alarm_at", "unit"))
    rows_in = totals.of(taken)[0]
    return {"hours": inputs["hours"], "rows_in": rows_in, "duplicates": rows_in - kept, "tables": refinery.report}


def _last_alarms(on: Engine, locations: list[str], starts: list[datetime]) -> dict[datetime, datetime]:
    """The last alarm before each hour, of those that are there already."""
    if not locations:
        return {}
    known = on.read(locations, ALARMS).select(nw.col("alarm_at")).collect("pyarrow").to_native()["alarm_at"].to_pylist()
    before = {start: [moment for moment in known if start - HOUR <= moment < start] for start in starts}
    return {start: max(moments) for start, moments in before.items() if moments}


def _rows(alarms: list[Alarm], rule: RateRule) -> pa.Table:
    said = asdict(rule)
    rows = [
        {
            "alarm_at": alarm.time,
            "unit": said["unit"],
            "counted": alarm.count,
            "threshold": said["threshold"],
            "window_microseconds": said["window"],
            "cooldown_microseconds": said["cooldown"],
            "ids": " ".join(f"{id_:016x}" if isinstance(id_, int) else id_ for id_ in alarm.ids),
        }
        for alarm in alarms
    ]
    return pa.Table.from_pylist(rows, ALARMS)


def main() -> None:
    """Runs the job."""
    given = arguments.read("version", "lake", "report", optional=("files", "inputs", "engine"))
    records.run(records.ORDERS, refine, given)


if __name__ == "__main__":
    main()
