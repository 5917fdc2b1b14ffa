"""A generated marketplace in the shape of Olist's nine files, at any scale, as CSV or Parquet.

The same arguments give the same bytes. Orders are in the order of the days of purchase, 600 of them. Memory doesn't
grow with the orders: they are made and written in chunks.

`python -m local.data.marketplace --help`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, get_args

import polars as pl
import pyarrow.parquet as pq

from local.data import marketplace_orders, marketplace_world

ORDERS = 5_000
"""Orders at scale 1."""
UNTIL = date(2018, 9, 1)
Format = Literal["csv", "parquet"]

_ORDERS_PER_CHUNK = 50_000
_FIXED = ("sellers", "products", "geolocation", "category_translation")
_GROWING = ("orders", "customers", "order_items", "order_payments", "order_reviews")
TABLES = (*_GROWING, *_FIXED)

Write = Callable[[pl.DataFrame], None]


@dataclass(frozen=True)
class Marketplace:
    """A generated marketplace on disk.

    Attributes:
        directory: Where the files are.
        format: What they are.
        rows: Number of rows of each table.
    """

    directory: Path
    format: Format
    rows: dict[str, int]

    def file(self, table: str) -> Path:
        """The file of one of `TABLES`."""
        return self.directory / file_name(table, self.format)


def file_name(table: str, extension: str) -> str:
    """What Olist calls the file of a table."""
    name = "product_category_name_translation" if table == "category_translation" else f"olist_{table}_dataset"
    return f"{name}.{extension}"


def generate(
    directory: Path, scale: float = 1.0, seed: int = 1, format: Format = "csv", until: date = UNTIL
) -> Marketplace:
    """Generates a marketplace; files of the same names are replaced.

    Zip prefixes are numbers in both formats, as they are in the source: what had leading zeros has lost them. Parquet
    has decimal(18,2) for money and timestamps of wall time to the microsecond.

    Args:
        directory: Where to write; created if it isn't there.
        scale: 1.0 is 5 000 orders, about 5 600 items; 1 000 is 5 million.
        seed: Any whole number from 0 to a million.
        format: Of all files.
        until: Day after the last purchase.

    Raises:
        ValueError: the scale makes less than one order, or the seed or format isn't one.
    """
    total = round(ORDERS * scale)
    if total < 1:
        raise ValueError(f"scale is {scale}, it must be at least {1 / ORDERS}")
    if not 0 <= seed <= 1_000_000:
        raise ValueError(f"seed is {seed}, it must be from 0 to 1000000")
    if format not in get_args(Format):
        raise ValueError(f"format is {format!r}, it must be one of {', '.join(get_args(Format))}")
    directory.mkdir(parents=True, exist_ok=True)
    world = marketplace_world.build(scale, seed)
    marketplace = Marketplace(directory, format, dict.fromkeys(TABLES, 0))
    with ExitStack() as files:
        write = {table: files.enter_context(_writer(marketplace.file(table), format)) for table in TABLES}

        def add(table: str, rows: pl.DataFrame) -> None:
            write[table](rows)
            marketplace.rows[table] += len(rows)

        for table in _FIXED:
            add(table, getattr(world, table)())
        for first in range(0, total, _ORDERS_PER_CHUNK):
            count = min(_ORDERS_PER_CHUNK, total - first)
            chunk = marketplace_orders.chunk_of(world, first, count, total, until)
            for table, rows in chunk.tables().items():
                add(table, rows)
    return marketplace


@contextmanager
def _writer(file: Path, format: Format) -> Iterator[Write]:
    """Gives a function that appends rows to the file."""
    if format == "csv":
        with file.open("wb") as out:
            yield lambda rows: rows.write_csv(
                out, include_header=out.tell() == 0, datetime_format="%Y-%m-%d %H:%M:%S", line_terminator="\n"
            )
        return
    parquet: list[pq.ParquetWriter] = []

    def append(rows: pl.DataFrame) -> None:
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        if not parquet:
            parquet.append(pq.ParquetWriter(file, table.schema, compression="zstd"))
        parquet[0].write_table(table)

    try:
        yield append
    finally:
        for writer in parquet:
            writer.close()


def main() -> None:
    """Generates a marketplace from the command line."""
    parser = argparse.ArgumentParser(prog="python -m local.data.marketplace", description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", type=Path, help="where to write; files of the same names are replaced")
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is 5 000 orders (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same files (%(default)s)")
    parser.add_argument("--format", choices=get_args(Format), default="csv", help="(%(default)s)")
    parser.add_argument(
        "--until", type=date.fromisoformat, default=UNTIL, help="day after the last order, YYYY-MM-DD (%(default)s)"
    )
    options = parser.parse_args()
    try:
        marketplace = generate(options.directory, options.scale, options.seed, options.format, options.until)
    except ValueError as error:
        parser.error(str(error))
    for table, rows in marketplace.rows.items():
        print(f"{rows:>12,}  {marketplace.file(table)}")


if __name__ == "__main__":
    main()
