"""What the jobs compute with, Polars, Dask or Spark: frames of Parquet files, and Parquet files of frames.

All give narwhals lazy frames, so a job never asks which of them it runs on.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import narwhals as nw
import pyarrow as pa

ENGINES = ("polars", "dask", "spark")
_LIBRARIES = {"polars": ("polars",), "dask": ("dask",), "spark": ("pyspark",)}
FILE = ".parquet"


class Engine(Protocol):
    """Reads and writes the lake. Locations are s3:// URIs of folders, with a slash at the end."""

    name: str

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """The rows of the Parquet files in folders.

        Args:
            locations: May be none where there is a schema. One that ends in `FILE` is a file.
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

    def write_months(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """Writes a frame as one file for each month, `month=<month>/`, as `write_days` does for days.

        Args:
            frame: Rows with their `month`, a text that is the folder's name as it is, such as 2026-07 or all.
            location: The folder of the months' folders.
            key: Other columns, unique within the month.
        """

    def persist(self, frame: nw.LazyFrame) -> nw.LazyFrame:
        """The same rows, computed once and kept in memory, for what is read several times."""

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """A few rows of this process as a frame."""


def month_folder(month: str | None) -> str:
    """The folder of a month.

    Raises:
        ValueError: there is no month.
    """
    if not month:
        raise ValueError("month is missing in some rows: give every row one before they are written")
    return f"month={month}"


@contextmanager
def chosen(name: str | None = None, dask_scheduler: str | None = None) -> Iterator[Engine]:
    """The engine of this process, until the end of the block.

    Args:
        name: One of `ENGINES`; else what the environment says in `VITRINE_ENGINE`; else Polars where it is installed,
            which it is not on Glue.
        dask_scheduler: Address of the scheduler whose workers Dask computes on, tcp://host:port; else what the
            environment says in `VITRINE_DASK_SCHEDULER`; else Dask computes in this process.

    Raises:
        ValueError: there is no such engine.
        ConnectionError: no Dask scheduler answers at the address.
        ModuleNotFoundError: the engine is not installed.
    """
    name = name or os.environ.get("VITRINE_ENGINE") or ("polars" if importlib.util.find_spec("polars") else "spark")
    scheduler = dask_scheduler or os.environ.get("VITRINE_DASK_SCHEDULER") or None
    _require(name, scheduler)
    # Only what is chosen is imported: of the three, Glue has Spark alone.
    if name == "polars":
        from include.jobs.on_polars import OnPolars

        with TemporaryDirectory() as scratch:
            yield OnPolars(Path(scratch))
    elif name == "dask":
        from include.jobs.on_dask import OnDask

        with OnDask.on(scheduler) as dask:
            yield dask
    elif name == "spark":
        from include.jobs.on_spark import OnSpark

        yield OnSpark()
    else:
        raise ValueError(f"--engine {name}: it must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")


def _require(name: str, scheduler: str | None) -> None:
    wanted = [*_LIBRARIES.get(name, ()), *(["distributed"] if name == "dask" and scheduler else [])]
    for library in wanted:
        if importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(
                f"--engine {name}: {library} is not installed: on AWS, name it with its version in the template's "
                "parameter GeoModules (docs/deploy.md) or let the run have no engine, which is Spark there; "
                "elsewhere, `make .venv/.tests-installed` installs it",
                name=library,
            )
