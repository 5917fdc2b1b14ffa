"""Tables by event hour: which rows of bronze make an hour, and one sorted file of each table for each hour."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import lake
from include.jobs.engine import Engine
from include.tables import versions

AT = "at="


class Table(NamedTuple):
    """A table by event hour.

    Attributes:
        layer: Folder of the lake: silver or gold.
        key: What its rows are sorted by; unique within an hour.
        make: From the tables made before it, by name.
    """

    layer: str
    key: tuple[str, ...]
    make: Callable[[Mapping[str, nw.LazyFrame]], nw.LazyFrame]


def at() -> nw.Expr:
    """The hour of a row, as 2026-03-01T10, of its `dt` and `hour`."""
    return nw.concat_str(nw.col("dt").dt.to_string("%Y-%m-%d"), nw.col("hour"), separator="T")


def of_hours(rows: nw.LazyFrame, hours: Sequence[str]) -> nw.LazyFrame:
    """The rows of some hours."""
    return rows.filter(at().is_in(list(hours)))


class Refinery:
    """Writes tables, one after the other, for the same event hours.

    Args:
        on: The engine.
        s3: A client of S3.
        bucket: The lake.
        version: Of what is written.
    """

    def __init__(self, on: Engine, s3: Any, bucket: str, version: str) -> None:
        self.on, self.s3, self.bucket, self.version = on, s3, bucket, version
        self.made: dict[str, nw.LazyFrame] = {}
        self.report: dict[str, dict[str, Any]] = {}

    def write(self, name: str, table: Table) -> int:
        """Makes a table and writes it; an hour without rows has no file.

        Returns:
            How many rows it has.
        """
        return self.write_frame(name, table.layer, table.make(self.made), table.key)

    def write_frame(self, name: str, layer: str, frame: nw.LazyFrame, key: Sequence[str]) -> int:
        """Writes rows as a table."""
        location = versions.location(self.bucket, layer, name, self.version)
        self.on.write_hours(frame, location, key)
        written = folders(self.s3, location)
        hours = {}
        if written:
            self.made[name] = self.on.read([f"{location}{AT}{hour}/" for hour in written])
            counted = self.made[name].group_by("dt", "hour").agg(nw.len().alias("rows")).collect("pyarrow").to_native()
            hours = {f"{row['dt']}T{row['hour']}": row["rows"] for row in counted.to_pylist()}
        rows = sum(hours.values())
        self.report[name] = {
            "layer": layer,
            "location": location,
            "rows_out": rows,
            "hours": dict(sorted(hours.items())),
        }
        print(f"{name}: {rows} rows in {len(hours)} hours", flush=True)
        return rows


def folders(s3: Any, location: str) -> list[str]:
    """The hours that a version has files of, as 2026-03-01T10."""
    prefix = versions.split(location)[1]
    names = {file.key.removeprefix(prefix).partition("/")[0] for file in versions.files(s3, location)}
    return sorted(name.removeprefix(AT) for name in names if name.startswith(AT))


def write_rows(
    s3: Any, rows: Iterable[Mapping[str, Any]], columns: pa.Schema, moment: str, location: str
) -> dict[str, int]:
    """Writes plain rows as a table by event hour; an hour without rows has no file.

    Args:
        s3: A client.
        rows: In the order in which they are to stand.
        columns: Of the table, without `dt` and `hour`.
        moment: The column that says of which hour a row is.
        location: Of the version.

    Returns:
        Hour, as 2026-03-01T10 → how many rows it has.
    """
    by_hour: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        dt, hour = f"{row[moment]:%Y-%m-%d %H}".split()
        by_hour[f"{dt}T{hour}"].append({**row, "dt": date.fromisoformat(dt), "hour": hour})
    schema = pa.schema([*columns, ("dt", pa.date32()), ("hour", pa.string())])
    for hour, those in by_hour.items():
        with TemporaryDirectory() as scratch:
            file = Path(scratch, "rows")
            pq.write_table(pa.Table.from_pylist(those, schema), file, compression="zstd")
            lake.upload(s3, file, f"{location}{AT}{hour}/00000.parquet")
    return {hour: len(those) for hour, those in sorted(by_hour.items())}
