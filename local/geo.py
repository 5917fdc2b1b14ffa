"""Geo-advertising from outside: a generated city's files into the landing zone, by day or by month."""

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl

from local.aws import settings
from local.data import city, city_days
from local.lakehouse import LandError
from local.stack import LAKE

LANDING = "landing/geo"
BASEMAP = "reference/basemap.geojson"
"""Where the report looks for what is drawn below its points."""
DELIVERIES = ("month", "day")
DAYS, FROM = 62, date(2026, 7, 1)

_REFERENCE = ("establishments", "campaigns")
_RECORDS = ("locations", "interactions")
_COASTLINE = Path(city.__file__).with_name("city.geojson")


def generate(state: Path, scale: float, days: int = DAYS) -> Path:
    """A generated city's files; the same arguments give the same files.

    Args:
        state: The stack's state directory; the files are in `data/city` below.
        scale: 1.0 is a million location records.
        days: How many, from `FROM` on.

    Raises:
        LandError: the scale makes no record, or too many for so few days.
    """
    try:
        return city.generate(state / "data" / "city", scale, start=FROM, days=days).directory
    except ValueError as error:
        raise LandError(str(error)) from error


def land(folder: Path, by: str = "month") -> list[str]:
    """Puts a city's files into the landing zone, and the map of its coast to where the report looks for it.

    Establishments and campaigns come with the first delivery.

    Args:
        folder: With a Parquet file for each of the city's tables.
        by: A delivery for each "month" or "day" of the city's calendar; it comes on the day after its last.

    Returns:
        Keys of the landed files, in the order of their days.

    Raises:
        LandError: a file is missing.
    """
    if missing := [table for table in city.TABLES if not (folder / f"{table}.parquet").exists()]:
        raise LandError(f"{folder} has no {missing[0]}.parquet: `python -m local.data.city {folder}` makes it")
    put(BASEMAP, _COASTLINE.read_bytes())
    keys = []
    for number, (day, tables) in enumerate(_deliveries(folder, by)):
        whole = {table: pl.read_parquet(folder / f"{table}.parquet") for table in _REFERENCE} if not number else {}
        for table, rows in {**whole, **tables}.items():
            keys.append(f"{LANDING}/{day}/{table}.parquet")
            put(keys[-1], parquet(rows))
    return keys


def _deliveries(folder: Path, by: str) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
    local = pl.col("moment").dt.replace_time_zone("UTC").dt.convert_time_zone(city_days.ZONE).dt.date()
    until = {
        "month": local.dt.month_end().dt.offset_by("1d"),
        "day": local.dt.offset_by("1d"),
    }[by].alias("until")
    rows = {table: pl.scan_parquet(folder / f"{table}.parquet").with_columns(until) for table in _RECORDS}
    days = pl.concat([rows[table].select("until").unique() for table in _RECORDS]).unique().collect()["until"]
    for day in sorted(days):
        yield day, {table: rows[table].filter(pl.col("until") == day).drop("until").collect() for table in _RECORDS}


def parquet(rows: pl.DataFrame) -> bytes:
    """Rows as a file."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


def put(key: str, content: bytes) -> None:
    """Puts an object into the lake."""
    settings.client("s3").put_object(Bucket=LAKE, Key=key, Body=content)
