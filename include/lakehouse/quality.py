"""What each layer took in, let through and rejected: whether it adds up, and the table `quality`."""

import io
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from include.tables import catalog, contract, versions

MONEY = {
    "order_items": "price",
    "order_payments": "payment_value",
    "wide_sales": "price",
    "daily_sales": "revenue",
    "customer_rfm": "monetary",
}
"""The money column of each table that has one."""

AGGREGATED = ("geolocation",)
"""Silver tables whose rows each come of many source rows."""

SCHEMA = pa.schema(
    [
        pa.field("layer", pa.string()),
        pa.field("table_name", pa.string()),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_out", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("money", pa.decimal128(18, 2)),
        pa.field("reconciled", pa.bool_()),
        pa.field("warnings", pa.string()),
    ]
)

Reports = Mapping[str, Mapping[str, Any]]
"""Layer → what its job reported."""


class QualityError(ValueError):
    """Rows or money went missing between two layers; the message says where and how many."""


class Measured(NamedTuple):
    """One table in one run; the columns of the files of `quality`."""

    layer: str
    table_name: str
    rows_in: int | None
    rows_out: int
    rejected: int
    money: Decimal | None
    reconciled: bool
    warnings: str | None


def rows(reports: Reports, bronze: Mapping[str, int], warnings: Mapping[str, str]) -> list[Measured]:
    """A row for each table of each layer that ran.

    Args:
        reports: see `include.jobs`.
        bronze: table → rows that all of bronze has of it.
        warnings: table → what its audit warned of.
    """
    return [*_bronze(reports.get("bronze", {})), *_refined(reports, bronze, warnings)]


def _bronze(report: Mapping[str, Any]) -> Iterator[Measured]:
    partitions = report.get("partitions", [])
    for table in sorted({built["table"] for built in partitions}):
        of_table = [built for built in partitions if built["table"] == table]
        accepted, rejected = (sum(built[count] for built in of_table) for count in ("rows", "rejected"))
        delivered = sum(file["rows"] for built in of_table for file in built["files"])
        yield Measured("bronze", table, delivered, accepted, rejected, None, delivered == accepted + rejected, None)


def _refined(reports: Reports, bronze: Mapping[str, int], warnings: Mapping[str, str]) -> Iterator[Measured]:
    items = reports.get("silver", {}).get("tables", {}).get("order_items", {})
    for layer in ("silver", "gold"):
        for table, made in sorted(reports.get(layer, {}).get("tables", {}).items()):
            taken, out, rejected = made.get("rows_in"), made["rows_out"], made.get("rejected", 0)
            money = Decimal(made["money"][MONEY[table]]) if table in MONEY else None
            if layer == "silver":
                complete = taken == bronze[table] and (table in AGGREGATED or taken == out + rejected)
            elif table == "wide_sales":
                complete = out == items["rows_out"] and money == Decimal(items["money"]["price"])
            else:
                complete = True  # they sum up what is left out on purpose; their checks are in their contracts
            yield Measured(layer, table, taken, out, rejected, money, complete, warnings.get(table))


def require_every_row(layer: str, reports: Reports, bronze: Mapping[str, int]) -> None:
    """Compares a layer with the one before it.

    Args:
        layer: the layer.
        reports: of this layer, and of silver where it is gold.
        bronze: table → rows that all of bronze has of it.

    Raises:
        QualityError: rows or money are not all there.
    """
    lost = [row for row in rows(reports, bronze, {}) if row.layer == layer and not row.reconciled]
    if lost:
        raise QualityError(
            "; ".join(
                f"{row.layer} {row.table_name}: {row.rows_in} rows came in, {row.rows_out} went out, "
                f"{row.rejected} were rejected, money {row.money}"
                for row in lost
            )
        )


def write(s3: Any, glue: Any, measured: list[Measured], lake: str, load_date: date, run: str, attempt: int) -> str:
    """Publishes the measures of a run as its partition of `quality`, in place of those of an earlier try.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        measured: the rows.
        lake: name of the lake's bucket.
        load_date: day of the run.
        run: name of the run.
        attempt: number of the try.

    Returns:
        The partition's location.
    """
    table = contract.load("quality")
    location = f"s3://{lake}/quality/load_date={load_date}/run={run}/v={attempt}/"
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in measured], SCHEMA), buffer)
    bucket, key = versions.split(location)
    s3.put_object(Bucket=bucket, Key=f"{key}quality.parquet", Body=buffer.getvalue())
    catalog.ensure_table(glue, table, f"s3://{lake}/quality/")
    catalog.switch_partition(glue, table, (load_date.isoformat(), run), location)
    return location


def totals(measured: list[Measured]) -> dict[str, dict[str, int]]:
    """Rows and rejected rows of each layer."""
    found: dict[str, dict[str, int]] = {}
    for row in measured:
        layer = found.setdefault(row.layer, {"rows": 0, "rejected": 0})
        layer["rows"] += row.rows_out
        layer["rejected"] += row.rejected
    return found
