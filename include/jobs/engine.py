"""What the jobs compute with, Polars or Spark: frames of Parquet files, and Parquet files of frames.

Both give narwhals lazy frames, so a job never asks which of them it runs on.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import narwhals as nw
import pyarrow as pa

ENGINES = ("polars", "spark")


class Engine(Protocol):
    """Reads and writes the lake. Locations are s3:// URIs of folders, with a slash at the end."""

    name: str

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """The rows of the Parquet files in folders.

        Args:
            locations: May be none where there is a schema.
            schema: Columns of the frame; those that a file lacks are null, others are left out. Without it, all files
                have the columns of the first.
        """

    def write(self, frame: nw.LazyFrame, location: str) -> None:
        """Writes a frame as few Parquet files, in any order."""

    def write_sorted(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """Writes a frame as one Parquet file, sorted by a unique key: the same rows give the same bytes."""

    def write_days(self, frame: nw.LazyFrame, location: str, day: str, key: Sequence[str]) -> nw.LazyFrame:
        """Writes a frame as one file for each day, `day=<YYYY-MM-DD>/`, sorted by a key unique within the day.

        The same rows of a day give the same bytes. The files have all columns.

        Args:
            frame: Rows.
            location: The folder of the days' folders.
            day: Column of the day.
            key: Other columns.

        Returns:
            The rows, ready to be read again.
        """

    def write_hours(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """Writes a frame as one file for each hour, `at=<YYYY-MM-DD>T<HH>/`, as `write_days` does for days.

        Args:
            frame: Rows with their day `dt` and their hour `hour`, two digits.
            location: The folder of the hours' folders.
            key: Other columns, unique within the hour.
        """

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """A few rows of this process as a frame."""


@contextmanager
def chosen(name: str | None = None) -> Iterator[Engine]:
    """The engine of this process, until the end of the block.

    Args:
        name: One of `ENGINES`; else what the environment says in `VITRINE_ENGINE`; else Polars where it is installed,
            which it is not on Glue.

    Raises:
        ValueError: there is no such engine.
    """
    name = name or os.environ.get("VITRINE_ENGINE") or ("polars" if importlib.util.find_spec("polars") else "spark")
    if name == "polars":
        with TemporaryDirectory() as scratch:
            yield OnPolars(Path(scratch))
    elif name == "spark":
        yield OnSpark()
    else:
        raise ValueError(f"--engine {name}: it must be {' or '.join(ENGINES)}")


class OnPolars:
    """Polars on this machine, streaming.

    Args:
        scratch: A folder for what doesn't fit into memory.
    """

    name = "polars"

    def __init__(self, scratch: Path) -> None:
        import polars

        self.polars, self.scratch = polars, scratch

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """As `Engine.read`."""
        files = [f"{location}*.parquet" for location in locations]
        if schema is None:
            return nw.from_native(self.polars.scan_parquet(files, hive_partitioning=False))
        empty: Any = self.polars.from_arrow(schema.empty_table())
        if not files:
            return nw.from_native(empty.lazy())
        rows = self.polars.scan_parquet(
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

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """As `Engine.take`."""
        taken: Any = self.polars.from_arrow(rows)
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
        rows = self.polars.scan_parquet(file)
        parts = self.polars.PartitionBy(
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


class OnSpark:
    """Spark, wherever this process finds it: Glue, a cluster, or this machine."""

    name = "spark"

    def __init__(self) -> None:
        from pyspark.sql import SparkSession

        settings = {
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.parquet.compression.codec": "zstd",
            # Readers that take all that lies below a prefix, as COPY does, stumble over the empty _SUCCESS.
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        }
        builder = SparkSession.builder
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """As `Engine.read`."""
        reader = self.session.read
        if schema is not None:
            from pyspark.sql.pandas.types import from_arrow_schema

            typed = from_arrow_schema(schema, prefer_timestamp_ntz=True)
            if not locations:
                return nw.from_native(self.session.createDataFrame([], typed))
            reader = reader.schema(typed)
        return nw.from_native(reader.parquet(*locations))

    def write(self, frame: nw.LazyFrame, location: str) -> None:
        """As `Engine.write`."""
        frame.to_native().write.parquet(location)

    def write_sorted(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_sorted`."""
        frame.to_native().repartition(1).sortWithinPartitions(*key).write.parquet(location)

    def write_days(self, frame: nw.LazyFrame, location: str, day: str, key: Sequence[str]) -> nw.LazyFrame:
        """As `Engine.write_days`."""
        rows = frame.to_native()
        # All rows of a day are in one partition after this, so in one file.
        partitioned = rows.withColumn("day", rows[day]).repartition("day").sortWithinPartitions("day", *key)
        partitioned.write.partitionBy("day").parquet(location)
        return nw.from_native(self.session.read.parquet(location).drop("day"))

    def write_hours(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_hours`."""
        from pyspark.sql import functions

        hour = functions.concat_ws("T", "dt", "hour")
        parted = frame.to_native().withColumn("at", hour).repartition("at").sortWithinPartitions("at", *key)
        parted.write.partitionBy("at").parquet(location)

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """As `Engine.take`."""
        from pyspark.sql.pandas.types import from_arrow_schema

        values = [tuple(row.values()) for row in rows.to_pylist()]
        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
        return nw.from_native(self.session.createDataFrame(values, schema))
