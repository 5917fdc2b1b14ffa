"""A generated marketplace, delivered day by day, and what of it there should be."""

import io
import tempfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import boto3
import polars as pl

from include.tables import contract
from local.data import marketplace
from local.data.marketplace import TABLES, file_name

LAKE = "vitrine-lake"
OF_AN_ORDER = ("orders", "order_items", "order_payments", "order_reviews")


def split(days: int, first: date, scale: float = 0.02) -> dict[date, dict[str, pl.DataFrame]]:
    """The marketplace in deliveries: on the first day everything but the orders, which come on all days.

    Args:
        days: How many days there are.
        first: The first of them.
        scale: Of the marketplace; 1.0 is 5 000 orders.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = marketplace.generate(Path(folder), scale)
        tables = {name: pl.read_csv(made.file(name), infer_schema=False) for name in TABLES}
    numbered = tables["orders"].select("order_id").with_row_index()
    size = -(-len(numbered) // days)
    deliveries: dict[date, dict[str, pl.DataFrame]] = {}
    for number in range(days):
        chosen = numbered.slice(number * size, size).select("order_id")
        of_day = {name: tables[name].join(chosen, on="order_id", how="semi") for name in OF_AN_ORDER}
        others = {name: table for name, table in tables.items() if name not in OF_AN_ORDER} if number == 0 else {}
        deliveries[first + timedelta(days=number)] = of_day | others
    return deliveries


def deliver(day: date, table: str, rows: pl.DataFrame, suffix: str = "") -> None:
    """Puts a file into the landing zone."""
    buffer = io.BytesIO()
    rows.write_csv(buffer)
    name = file_name(table, "csv").replace(".csv", f"{suffix}.csv")
    boto3.client("s3").put_object(Bucket=LAKE, Key=f"landing/olist/{day}/{name}", Body=buffer.getvalue())


def expected(deliveries: dict[date, dict[str, pl.DataFrame]]) -> list[tuple[str, str, str]]:
    """Order date, items and Σ price of each day, as text, from the files as they are."""
    orders, items = (pl.concat(tables[name] for tables in deliveries.values()) for name in OF_AN_ORDER[:2])
    joined = items.join(orders, on="order_id").with_columns(
        day=pl.col("order_purchase_timestamp").str.slice(0, 10), price=pl.col("price").cast(pl.Decimal(18, 2))
    )
    sums = joined.group_by("day").agg(pl.len(), pl.col("price").sum()).sort("day")
    return [(day, str(count), str(Decimal(price))) for day, count, price in sums.iter_rows()]


def clear() -> None:
    """Takes everything of the lakehouse out of the lake and the catalog, and what tells of files that landed before."""
    glue, bucket = boto3.client("glue"), boto3.resource("s3").Bucket(LAKE)
    for prefix in ("landing/", "bronze/", "silver/", "gold/", "quarantine/", "deliveries/", "quality/"):
        bucket.objects.filter(Prefix=prefix).delete()
    kept = [table.name for table in contract.of_layer("products") + contract.of_layer("raw")]
    for database in ("vitrine_bronze", "vitrine_silver", "vitrine_quarantine", "vitrine_audit", "vitrine"):
        for table in glue.get_tables(DatabaseName=database)["TableList"]:
            if table["Name"] not in kept:
                glue.delete_table(DatabaseName=database, Name=table["Name"])
    sqs = boto3.client("sqs")
    queue = sqs.get_queue_url(QueueName="vitrine-landing")["QueueUrl"]
    # Purging is allowed once a minute only.
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
