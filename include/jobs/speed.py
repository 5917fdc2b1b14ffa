"""What the speed layer knows of some event hours: its states in DynamoDB as Parquet, one sorted file a table and hour.

`--hours` names a JSON document, the hours as 2026-03-01T10. Every window of an hour is one query of the table; it is
not scanned. An hour that isn't over is exported as far as it is.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.config import Config

from include.jobs import arguments, lake
from include.streams.fields import micros
from include.streams.items import Item, Items
from include.streams.rules import SESSIONS, SOURCES_1M, VISITORS_1M, VISITORS_15S, Rule
from include.streams.state import States
from include.streams.state_items import KEYS, row_of
from include.tables import versions

TABLES = {
    "speed_sessions": (SESSIONS,),
    "speed_visitors": (VISITORS_15S, VISITORS_1M),
    "speed_sources": (SOURCES_1M,),
}
"""Rules whose rows each table has."""
LATE = "speed_late"
SECONDS = 3000
"""For how long DynamoDB may take, throttling included."""

_HOUR = 3_600_000_000
_QUERIES = 16  # at a time
_TYPES = {"string": pa.string(), "integer": pa.int64(), "boolean": pa.bool_(), "timestamp": pa.timestamp("us")}
_AT = [("dt", pa.date32()), ("hour", pa.string())]
_LATE = pa.schema(
    [
        ("rule", pa.string()),
        ("window_start", pa.timestamp("us")),
        ("window_key", pa.string()),
        ("late_events", pa.int64()),
        *_AT,
    ]
)


def schema(name: str) -> pa.Schema:
    """The columns of a table."""
    if name == LATE:
        return _LATE
    columns = TABLES[name][0].columns.items()
    return pa.schema([*((column, _TYPES[kind]) for column, kind in columns), *_AT])


def windows(rule: Rule[Any], hour: str) -> range:
    """The starts of a rule's windows within an hour."""
    start = micros(f"{hour}:00:00")
    return range(start, start + _HOUR, rule.assigner.size)


class Export:
    """Writes what the speed layer knows of hours.

    Args:
        states: Of the windows.
        s3: A client.
        bucket: The lake.
        version: Of what is written.
    """

    def __init__(self, states: States, s3: Any, bucket: str, version: str) -> None:
        self.states, self.s3, self.bucket, self.version = states, s3, bucket, version

    def write(self, hours: Iterable[str]) -> dict[str, Any]:
        """Writes the tables; an hour without rows has no file.

        Returns:
            The job's report.

        Raises:
            UnavailableError: DynamoDB could not be read in time.
        """
        counts: dict[str, dict[str, int]] = {name: {} for name in (*TABLES, LATE)}
        with ThreadPoolExecutor(_QUERIES) as pool:
            for hour in hours:
                late: list[dict[str, Any]] = []
                for name, rules in TABLES.items():
                    asked = [(rule, start) for rule in rules for start in windows(rule, hour)]
                    rows = [row for found in pool.map(lambda one: self.states.rows(*one), asked) for row in found]
                    items = pool.map(lambda one: self.states.late(*one), asked)
                    late += [
                        row for (rule, _), found in zip(asked, items, strict=True) for row in late_rows(rule, found)
                    ]
                    counts[name][hour] = self._write(name, hour, rows, rules[0].keys)
                counts[LATE][hour] = self._write(LATE, hour, late, ("rule", "window_start", "window_key"))
                print(f"{hour}: {', '.join(f'{name} {of[hour]}' for name, of in counts.items())}", flush=True)
        return {
            "tables": {
                name: {
                    "layer": "silver",
                    "location": versions.location(self.bucket, "silver", name, self.version),
                    "rows_out": sum(found.values()),
                    "hours": {hour: rows for hour, rows in found.items() if rows},
                }
                for name, found in counts.items()
            }
        }

    def _write(self, name: str, hour: str, rows: list[dict[str, Any]], key: Iterable[str]) -> int:
        if rows:
            dt, _, of_day = hour.partition("T")
            rows = sorted(rows, key=lambda row: tuple(row[column] for column in key))
            made = pa.Table.from_pylist(
                [{**row, "dt": date.fromisoformat(dt), "hour": of_day} for row in rows], schema(name)
            )
            with TemporaryDirectory() as scratch:
                file = Path(scratch, "rows")
                pq.write_table(made, file, compression="zstd")
                location = versions.location(self.bucket, "silver", name, self.version)
                lake.upload(self.s3, file, f"{location}at={hour}/00000.parquet")
        return len(rows)


def late_rows(rule: Rule[Any], items: Iterable[Item]) -> list[dict[str, Any]]:
    """How many events were late for each window and key, of the items of late events."""
    columns: Mapping[str, str] = {name: rule.columns[name] for name in rule.keys}
    found: Counter[tuple[int, str]] = Counter()
    for item in items:
        row = row_of(columns, item)
        key = "#".join(str(row[name]) for name in rule.keys if not name.startswith("window_"))
        found[row["window_start"], key] += 1
    return [
        {"rule": rule.name, "window_start": start, "window_key": key, "late_events": count}
        for (start, key), count in found.items()
    ]


def main() -> None:
    """Runs the job."""
    given = arguments.read("hours", "version", "lake", "report", "windows_table")
    s3 = lake.client()
    dynamodb = boto3.client("dynamodb", config=Config(max_pool_connections=_QUERIES))
    items = Items(dynamodb, given.windows_table, KEYS, time.monotonic() + SECONDS)
    export = Export(States(items, "speed"), s3, given.lake, given.version)
    lake.write_json(s3, given.report, export.write(lake.read_json(s3, given.hours)))


if __name__ == "__main__":
    main()
