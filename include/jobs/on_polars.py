"""The engine Polars."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import polars
import pyarrow as pa

from include.jobs.engine import FILE, month_folder


class OnPolars:
    """Polars on this machine, streaming.

    Args:
        scratch: A folder for what doesn't fit into memory.
    """

    name = "polars"

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """As `Engine.read`."""
        files = [location if location.endswith(FILE) else f"{location}*{FILE}" for location in locations]
        if schema is None:
            return nw.from_native(polars.scan_parquet(files, hive_partitioning=False))
        empty: Any = polars.from_arrow(schema.empty_table())
        if not files:
            return nw.from_native(empty.lazy())
        rows = polars.scan_parquet(
            files, hive_partitioning=False, schema=empty.schema, missing_columns="insert", extra_columns="ignore"
        )
        return nw.from_native(rows)

    def write(self, frame: nw.LazyFrame, location: str) -> None:
        """As `Engine.write`."""
        self._sink(frame.to_native(), location)

    def write_sorted(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_sorted`."""
        self._sink(frame.to_native().sort(key), location)

    def write_days(self, frame: nw.LazyFrame, location: str, day: str, key: Sequence[str]) -> nw.LazyFrame:
        """As `Engine.write_days`."""
        return nw.from_native(self._parted(frame, location, [day], key, lambda keys: f"day={keys[0]}"))

    def write_hours(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_hours`."""
        self._parted(frame, location, ["dt", "hour"], key, lambda keys: f"at={keys[0]}T{keys[1]}")

    def write_months(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_months`."""
        self._parted(frame, location, ["month"], key, lambda keys: month_folder(keys[0]))

    def persist(self, frame: nw.LazyFrame) -> nw.LazyFrame:
        """As `Engine.persist`."""
        return nw.from_native(frame.to_native().collect().lazy())

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """As `Engine.take`."""
        taken: Any = polars.from_arrow(rows)
        return nw.from_native(taken.lazy())

    def _parted(
        self,
        frame: nw.LazyFrame,
        location: str,
        by: Sequence[str],
        key: Sequence[str],
        folder: Callable[[tuple[Any, ...]], str],
    ) -> Any:
        # Sorted from a file: the memory of the joins before is free again by then.
        file = self.scratch / f"{len(list(self.scratch.iterdir()))}.parquet"
        frame.to_native().sink_parquet(file)
        rows = polars.scan_parquet(file)
        parts = polars.PartitionBy(
            location,
            key=by,
            include_key=True,
            approximate_bytes_per_file=None,
            file_path_provider=lambda part: (
                f"{folder(part.partition_keys.row(0))}/{part.index_in_partition:05}.parquet"
            ),
        )
        rows.sort(*by, *key).sink_parquet(parts, mkdir=True)
        return rows

    def _sink(self, rows: Any, location: str) -> None:
        rows.sink_parquet(f"{location}00000.parquet", mkdir=True)
