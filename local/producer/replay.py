"""A user's own files as streams: order lines in the columns of the UCI data set, and Apache logs."""

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from include.clients import contract
from local import sales_file
from local.data.order_lines import event_time

_COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "Customer", "Country")
_MINUTES = "%-m/%-d/%Y %-H:%M"


class ReplayError(ValueError):
    """A file that cannot be replayed; the message names file, field and fix."""


class Orders:
    """The lines of a sales file.

    Args:
        path: CSV, Parquet or Excel with the columns of the contract `online_retail`.

    Raises:
        ReplayError: the file isn't there, is empty, lacks a column or has a value that doesn't fit.
    """

    def __init__(self, path: Path) -> None:
        try:
            frame = sales_file.read(path, contract.load("online_retail")).frame.rename({"CustomerID": "Customer"})
        except sales_file.FileError as error:
            raise ReplayError(str(error)) from error
        text = {name: pl.col(name).cast(pl.String).fill_null("") for name in _COLUMNS}
        self._frame = frame.with_row_index("row").select(
            **text
            | {
                "InvoiceDate": pl.col("InvoiceDate").dt.strftime(_MINUTES).fill_null(""),
                "UnitPrice": text["UnitPrice"].str.replace(r"\.?0+$", ""),
            },
            LineNo=(pl.int_range(pl.len()).over("InvoiceNo") + 1).cast(pl.String),
            begin=pl.col("row").min().over("InvoiceNo"),
        )

    def __len__(self) -> int:
        return len(self._frame)

    def lines(self, first: int, start: datetime, interval: timedelta) -> Iterator[dict[str, str]]:
        """The lines from one on, placed now: `EventTime` is the replay's, `InvoiceDate` the file's.

        Args:
            first: Row of the first, from 0.
            start: The time of row 0. An order's lines have the time of its first.
            interval: Between two rows.
        """
        for row in self._frame[first:].iter_rows(named=True):
            begin = row.pop("begin")
            yield row | {"EventTime": event_time(start + begin * interval)}


class WebLog:
    """The lines of an Apache log, as they are, broken ones too; empty lines are left out.

    Args:
        path: Perhaps gzipped.

    Raises:
        ReplayError: the file isn't there, can't be read or has no lines.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except (OSError, EOFError) as error:
            raise ReplayError(f"--file {path}: {error}") from error
        self._lines = [line for line in data.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]
        if not self._lines:
            raise ReplayError(f"--file {path}: it has no lines")

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self, first: int) -> Iterator[bytes]:
        """The lines from one on."""
        yield from self._lines[first:]
