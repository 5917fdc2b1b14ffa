"""Checks on an extract and on a product's output: what fails them is never published."""

import json
from collections.abc import Sequence
from decimal import Decimal
from tempfile import TemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.tables import versions
from include.tables.contract import Property, Table

MAX_KEYLESS = 0.05
"""Share of an extract's lines that may lack a product or an order: above it, the mapping is wrong, not the data."""

ARROW_TYPES = {
    "string": (pa.types.is_string, pa.types.is_large_string),
    "bigint": (pa.types.is_int64,),
    "double": (pa.types.is_float64,),
    "date": (pa.types.is_date32,),
    "timestamp": (pa.types.is_timestamp,),
    "boolean": (pa.types.is_boolean,),
}


class AuditError(ValueError):
    """Data broke its contract; the message lists every fault found."""


def check_extract(lake: dict[str, Any], warehouse: dict[str, Any], start: str, end: str) -> dict[str, Any]:
    """Compares what the lake holds of an extract with what the warehouse has for the same window.

    Args:
        lake: rows, keyless (lines without product or order), amount, first_sale, last_sale; from Athena, all strings.
        warehouse: rows and amount from Snowflake, and latest_sale over all time.
        start: first day of the window, ISO.
        end: the day after the last, ISO.

    Returns:
        The figures, as JSON values.

    Raises:
        AuditError: no rows, rows or money lost or gained, dates outside the window, or too many lines without keys.
    """
    rows, expected = int(lake["rows"]), int(warehouse["rows"])
    if expected == 0:
        raise AuditError(
            f"the client has no sales from {start} to {end} (exclusive); its latest sale is on "
            f"{warehouse['latest_sale'] or 'no day at all'}: set report_date to the day after it, or load newer sales"
        )
    faults = []
    if rows != expected:
        faults.append(f"{rows} rows arrived of {expected} in Snowflake")
    amount, expected_amount = Decimal(lake["amount"] or 0), Decimal(str(warehouse["amount"] or 0))
    if amount != expected_amount:
        faults.append(f"the amounts add up to {amount}, in Snowflake to {expected_amount}")
    keyless = int(lake["keyless"] or 0)
    if rows and keyless / rows > MAX_KEYLESS:
        faults.append(f"{keyless} of {rows} rows lack a product_id or order_id: check these roles in the contract")
    if rows and not (start <= lake["first_sale"][:10] and lake["last_sale"][:10] < end):
        faults.append(f"sales from {lake['first_sale']} to {lake['last_sale']} leave the window {start} to {end}")
    if faults:
        raise AuditError("the extract is not what Snowflake has: " + "; ".join(faults))
    return {"rows": rows, "amount": str(amount), "first_sale": lake["first_sale"], "last_sale": lake["last_sale"]}


def check_product(s3: Any, product: str, tables: Sequence[Table], output: str) -> dict[str, int]:
    """Checks every table that a product wrote against its contract.

    Args:
        s3: a boto3 S3 client.
        product: name of the product.
        tables: contracts of its tables.
        output: s3:// prefix that the job wrote below.

    Returns:
        Rows of each table.

    Raises:
        AuditError: a file is missing, has other columns or types, null or repeated keys, or other counts than reported.
    """
    bucket, prefix = versions.split(output)
    keys = [file.key for file in versions.files(s3, output)]
    report_key = f"{prefix}run_{product}.json"
    if report_key not in keys:
        raise AuditError(f"{product}: {output} holds no run_{product}.json, so the job did not finish its output")
    reported = json.load(s3.get_object(Bucket=bucket, Key=report_key)["Body"])["rows_out"]
    rows, faults = {}, []
    for table in tables:
        files = [k for k in keys if k.startswith(f"{prefix}{table.name}/") and k.endswith(".parquet")]
        if len(files) != 1:
            faults.append(f"{table.name}: {len(files)} Parquet files instead of 1")
            continue
        with TemporaryFile() as local:
            s3.download_fileobj(bucket, files[0], local)
            file = pq.ParquetFile(local)
            rows[table.name] = file.metadata.num_rows
            faults += [f"{table.name}: {fault}" for fault in _schema_faults(file.schema_arrow, table)]
            faults += [f"{table.name}: {fault}" for fault in _row_faults(file, table)]
        if reported.get(table.name) != rows[table.name]:
            faults.append(f"{table.name}: {rows[table.name]} rows, the job reported {reported.get(table.name)}")
    if faults:
        raise AuditError(f"{product}: " + "; ".join(faults))
    return rows


def _fits(column: Property, arrow_type: pa.DataType) -> bool:
    return any(matches(arrow_type) for matches in ARROW_TYPES[column.physicalType])


def _schema_faults(schema: pa.Schema, table: Table) -> list[str]:
    present = {field.name: field.type for field in schema}
    contracted = {column.name: column for column in table.columns}
    faults = [f"column {name} is not in the contract" for name in present if name not in contracted]
    for name, column in contracted.items():
        if name not in present:
            if not column.optional:
                faults.append(f"column {name} is missing")
        elif not _fits(column, present[name]):
            faults.append(f"column {name} is {present[name]}, the contract says {column.physicalType}")
    return faults


def _row_faults(file: pq.ParquetFile, table: Table) -> list[str]:
    key = table.primary_key
    required = [column.name for column in table.columns if column.required]
    if not set(required) <= set(file.schema_arrow.names):
        return []  # that a column is missing has been said
    rows = file.read(columns=required)
    faults = [f"{rows[name].null_count} rows without {name}" for name in required if rows[name].null_count]
    repeated = rows.num_rows - rows.group_by(key).aggregate([]).num_rows if key else 0
    return [*faults, f"{repeated} rows repeat the key ({', '.join(key)})"] if repeated else faults
