"""Geo-advertising from outside: a generated city's files into the landing zone, and what became of them."""

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console

from local import lakehouse
from local.airflow import RunError
from local.aws import settings
from local.dag_runs import Run, Runners
from local.data import city, city_days
from local.lakehouse import LandError
from local.show import filled, new_table, print_table, terminal
from local.stack import LAKE

LANDING = "landing/geo"
BASEMAP = "reference/basemap.geojson"
"""Where the report looks for what is drawn below its points."""
DAYS, FROM = 62, date(2026, 7, 1)

SCALE = 0.2
"""Of the city, for a scale of 1 of all data: 200 000 location records."""

_CAMPAIGNS = """
    SELECT campaign_id, category, views, clicks, ctr, low, high
    FROM vitrine.campaign_ctr WHERE month = 'all' AND rank <= 3 ORDER BY rank
"""
_ESTABLISHMENTS = """
    SELECT of_all.establishment_id, of_all.category, of_all.visits, attribution.share, visit_lift.lift, visit_lift.low,
        visit_lift.high
    FROM vitrine.establishment_visits AS of_all
    INNER JOIN vitrine.attribution
        ON of_all.establishment_id = attribution.establishment_id AND of_all.month = attribution.month
    INNER JOIN vitrine.visit_lift
        ON of_all.establishment_id = visit_lift.establishment_id AND of_all.month = visit_lift.month
    WHERE of_all.month = 'all' AND visit_lift.lift IS NOT NULL
    ORDER BY visit_lift.low DESC, of_all.establishment_id LIMIT 3
"""

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


def run(folder: Path, state: Path, runners: Runners, environment: dict[str, str]) -> None:
    """Lands a city's files, runs the DAG on them, and shows what it made.

    Args:
        folder: With the files.
        state: The stack's state directory.
        runners: Run the DAG.
        environment: What the run needs to find the stack.

    Raises:
        RunError: the run failed.
    """
    print(f"{len(land(folder))} files of a city are in {LANDING}", flush=True)
    if failures := runners.side_by_side([[Run("geo_advertising")]], environment):
        raise RunError("; ".join(failures))
    show(state)


def show(state: Path, console: Console | None = None) -> None:
    """Prints the first rows of the figures of the whole period, and where their pages are.

    Args:
        state: The stack's state directory.
        console: Where to print.
    """
    console = console or terminal()
    campaigns = new_table("Best campaigns (table campaign_ctr)", "campaign", "category", ">views", ">clicks", ">CTR")
    for campaign, category, views, clicks, rate, low, high in lakehouse.query(_CAMPAIGNS):
        campaigns.add_row(campaign, category, views, clicks, _interval(rate, low, high))
    print_table(console, filled(campaigns))
    title = "Ads that bring visits (tables establishment_visits, attribution, visit_lift)"
    visited = new_table(title, "establishment", "category", ">visits", ">after an ad", ">lift on days with an ad")
    for establishment, category, visits, share, lift, low, high in lakehouse.query(_ESTABLISHMENTS):
        visited.add_row(establishment, category, visits, f"{float(share):.1%}", _interval(lift, low, high))
    print_table(console, filled(visited))
    pages = (state / "s3" / LAKE / "reports" / "geo_advertising").glob("v=*/index.html")
    console.print(f"Charts and maps: {max(pages, key=lambda page: page.stat().st_mtime)}", soft_wrap=True)


def _interval(value: str, low: str, high: str) -> str:
    return f"{float(value):.2%} ({float(low):.2%} to {float(high):.2%})"
