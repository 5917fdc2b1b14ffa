"""The lakehouse from outside: deliveries into its landing zone, and what became of them, as tables for a terminal."""

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from local.aws import settings
from local.data import marketplace
from local.show import filled, new_table, print_table, terminal
from local.stack import LAKE

LANDING = "landing/olist"
SUFFIXES = (".csv", ".csv.gz", ".parquet")

_LAYERS = """
    SELECT layer, count(*), sum(rows_out), sum(rejected)
    FROM vitrine.quality
    WHERE load_date = DATE '{day}' AND run = (SELECT max(run) FROM vitrine.quality WHERE load_date = DATE '{day}')
    GROUP BY layer ORDER BY position(layer IN 'bronze silver gold')
"""
_CATEGORIES = """
    SELECT category, items, revenue, revenue_share, review_score, late_share
    FROM vitrine.category_performance ORDER BY revenue DESC LIMIT 3
"""
_SEGMENTS = """
    SELECT segment, count(*), round(avg(recency_days)), sum(monetary)
    FROM vitrine.customer_segments GROUP BY segment ORDER BY sum(monetary) DESC LIMIT 3
"""


class LandError(ValueError):
    """There is nothing to deliver; the message says where it was looked for."""


def generate(state: Path, scale: float) -> Path:
    """A generated marketplace's files; the same scale gives the same files.

    Args:
        state: The stack's state directory; the files are in `data/marketplace` below.
        scale: 1.0 is 5 000 orders.

    Raises:
        LandError: the scale makes less than one order.
    """
    try:
        return marketplace.generate(state / "data" / "marketplace", scale).directory
    except ValueError as error:
        raise LandError(str(error)) from error


def land(folder: Path, day: date) -> list[str]:
    """Puts files into the landing zone, as a delivery of a day.

    Args:
        folder: Of the files; those with other endings than `SUFFIXES` are left out.
        day: Of the delivery.

    Returns:
        Keys of the landed files.

    Raises:
        LandError: there are no such files in the folder.
    """
    files = sorted(file for file in folder.glob("*") if file.name.endswith(SUFFIXES))
    if not files:
        raise LandError(f"{folder} has no file that ends in {', '.join(SUFFIXES)}")
    s3 = settings.client("s3")
    keys = [f"{LANDING}/{day}/{file.name}" for file in files]
    for file, key in zip(files, keys, strict=True):
        s3.upload_file(str(file), LAKE, key)
    return keys


def show(day: date, console: Console | None = None) -> None:
    """Prints what the lakehouse made of the deliveries up to a day: its layers, and the first rows of its views.

    Args:
        day: The run's.
        console: Where to print.
    """
    console = console or terminal()
    layers = new_table(f"Lakehouse, deliveries up to {day}", "layer", ">tables", ">rows", ">rejected")
    for layer, tables, rows, rejected in query(_LAYERS.format(day=day)):
        layers.add_row(layer, tables, f"{int(rows):,}", f"{int(rejected):,}")
    print_table(console, filled(layers))
    title = "What sells (view category_performance)"
    categories = new_table(title, "category", ">items", ">revenue, BRL", ">share", ">review", ">late")
    for category, items, revenue, share, score, late in query(_CATEGORIES):
        figures = (f"{int(items):,}", f"{float(revenue):,.2f}", f"{float(share):.1%}", score, f"{float(late or 0):.1%}")
        categories.add_row(category, *figures)
    print_table(console, filled(categories))
    segments = new_table("Who buys (view customer_segments)", "segment", ">customers", ">days since", ">money, BRL")
    for segment, customers, recency, money in query(_SEGMENTS):
        segments.add_row(segment, f"{int(customers):,}", f"{float(recency):.0f}", f"{float(money):,.2f}")
    print_table(console, filled(segments))


def query(sql: str) -> Iterator[Any]:
    """The rows of Athena's answer, as text."""
    athena = settings.client("athena")
    query = athena.start_query_execution(QueryString=sql, WorkGroup="vitrine")["QueryExecutionId"]
    while (status := athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"])["State"] in (
        "QUEUED",
        "RUNNING",
    ):
        time.sleep(0.05)
    if status["State"] != "SUCCEEDED":
        raise RuntimeError(status["StateChangeReason"])
    for row in athena.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"][1:]:
        yield [cell.get("VarCharValue") for cell in row["Data"]]
