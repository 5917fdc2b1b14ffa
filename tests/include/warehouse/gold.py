"""A small published gold layer for tests, and readers of the warehouses."""

import io
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import narwhals as nw
import polars as pl

from benchmarks.lakehouse import bronze_of, ours
from include.lakehouse import publish
from include.tables import contract

LAKE = "vitrine-lake"
TABLES = ("wide_sales", "daily_sales", "customer_rfm")
SINCE = date(2018, 7, 20)
"""Days before this one are left out: every day is a file, and these are enough."""

Gold = dict[str, pl.DataFrame]


def make(directory: Path, scale: float = 0.4) -> Gold:
    """The gold tables of a generated marketplace, in the contracts' order of columns."""
    ours(
        bronze_of(directory, scale),
        directory,
        lambda file: nw.from_native(pl.scan_parquet(file)),
        lambda rows, file: rows.to_native().sink_parquet(file),
    )
    made = {}
    for name in TABLES:
        day = "order_date" if name != "customer_rfm" else "last_order_date"
        rows = pl.read_parquet(directory / f"{name}.parquet").filter(pl.col(day) >= SINCE)
        columns = [column.name for column in contract.load(name).properties]
        made[name] = rows.select(columns).sort(columns)
    return made


def put(gold: Gold, version: str) -> dict[str, str]:
    """Writes a version of the tables as the gold job does; where each is."""
    s3, places = boto3.client("s3"), {}
    for name, rows in gold.items():
        prefix = f"gold/{name}/v={version}/"
        parts = {"": rows}
        if name != "customer_rfm":
            parts = {f"day={day}/": part for (day,), part in rows.partition_by("order_date", as_dict=True).items()}
        for folder, part in parts.items():
            buffer = io.BytesIO()
            part.write_parquet(buffer)
            s3.put_object(Bucket=LAKE, Key=f"{prefix}{folder}part-0.parquet", Body=buffer.getvalue())
        places[name] = f"s3://{LAKE}/{prefix}"
    return places


def publish_all(gold: Gold, version: str) -> dict[str, str]:
    """Writes and publishes a version."""
    places = put(gold, version)
    glue = boto3.client("glue")
    for name in gold:
        publish.publish_gold(boto3.client("s3"), glue, contract.load(name), LAKE, version, "-")
    return places


def event(gold: Gold, places: dict[str, str], name: str) -> dict[str, Any]:
    """What the event of an asset says of a version."""
    money = {"wide_sales": ("price", "freight_value"), "daily_sales": ("revenue", "freight")}.get(name, ("monetary",))
    rows = gold[name]
    return {
        "version": places[name],
        "rows": rows.height,
        "money": {column: str(rows[column].sum()) for column in money},
        "changed": 1,
    }


def publish_scores(scores: pl.DataFrame, client: str, report_date: str, version: str) -> str:
    """Publishes CLV scores of a client, as the products' DAG does; where they are."""
    from include.tables import catalog

    table = contract.load("clv_customers")
    prefix = f"products/{client}/{report_date}/v={version}/clv-1/clv_customers/"
    buffer = io.BytesIO()
    scores.write_parquet(buffer)
    boto3.client("s3").put_object(Bucket=LAKE, Key=f"{prefix}a.parquet", Body=buffer.getvalue())
    glue = boto3.client("glue")
    catalog.ensure_table(glue, table, f"s3://{LAKE}/products/clv_customers/")
    catalog.switch_partition(glue, table, (client, report_date), f"s3://{LAKE}/{prefix}")
    return f"s3://{LAKE}/{prefix}"


def scores(customers: dict[str, float]) -> pl.DataFrame:
    """CLV scores of customers, all columns that a file must have."""
    names = ("frequency", "recency", "age", "monetary", "p_alive", "expected_purchases", "expected_average_value")
    return pl.DataFrame(
        {
            "customer_id": list(customers),
            "store": "Centro",
            "frequency": pl.Series([1] * len(customers), dtype=pl.Int64),
            **{name: pl.Series([1.5] * len(customers)) for name in names[1:]},
            "clv": list(customers.values()),
            "value_group": "High",
            "retention": "alive",
        }
    )


def redshift(sql: str | list[str]) -> list[list[Any]]:
    """Runs a statement, or several in one transaction; rows of the first."""
    client, where = boto3.client("redshift-data"), {"WorkgroupName": "vitrine", "Database": "vitrine"}
    started = (
        client.execute_statement(Sql=sql, **where)
        if isinstance(sql, str)
        else client.batch_execute_statement(Sqls=sql, **where)
    )
    while (described := client.describe_statement(Id=started["Id"]))["Status"] not in ("FINISHED", "FAILED", "ABORTED"):
        time.sleep(0.02)
    assert described["Status"] == "FINISHED", described["Error"]
    if not described["HasResultSet"]:
        return []
    records = client.get_statement_result(Id=started["Id"])["Records"]
    return [[next(iter(field.values())) if not field.get("isNull") else None for field in row] for row in records]


def money(value: Any) -> Decimal:
    """An amount, however an engine writes it."""
    return Decimal(str(value)).quantize(Decimal("0.01"))
