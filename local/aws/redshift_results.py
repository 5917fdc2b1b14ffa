"""Rows in the Data API's form: typed fields, kept by page as they will be sent."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb

from local.aws.redshift_errors import QueryFailed
from local.aws.redshift_tables import Column, metadata

PAGE = 1000
LIMIT = 100 << 20
"""The most bytes of a result, as of the real Data API."""


@dataclass
class Rows:
    """The rows of a query.

    Attributes:
        columns: Their ``ColumnMetadata``.
        pages: ``Records``, encoded, a page each; at least one.
        total: How many there are.
        size: Of all pages in bytes.
    """

    columns: list[dict[str, Any]]
    pages: list[str] = field(default_factory=list)
    total: int = 0
    size: int = 0


def fetch(cursor: duckdb.DuckDBPyConnection, columns: list[Column], check: Callable[[], None]) -> Rows:
    """Take the rows of what was just executed.

    Args:
        cursor: Where it was.
        columns: Of the result.
        check: Raises when somebody cancelled.

    Raises:
        QueryFailed: There are too many, or a value has a type that Redshift lacks.
    """
    rows = Rows([metadata(column) for column in columns])
    while batch := cursor.fetchmany(PAGE):
        rows.pages.append(json.dumps([[_field(value) for value in row] for row in batch]))
        rows.total += len(batch)
        rows.size += len(rows.pages[-1])
        if rows.size > LIMIT:
            raise QueryFailed(f"The result is larger than {LIMIT >> 20} MB: UNLOAD it, or ask for less")
        check()
    rows.pages = rows.pages or ["[]"]
    return rows


def _field(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"isNull": True}
        case bool():
            return {"booleanValue": value}
        case int():
            if not -(2**63) <= value < 2**63:
                raise QueryFailed(f"Value out of range for 8 bytes: {value}")
            return {"longValue": value}
        case float():
            return {"doubleValue": value}
        case Decimal():
            return {"stringValue": format(value, "f")}
        case dt.datetime():
            text = value.replace(tzinfo=None).isoformat(" ")
            text = text.rstrip("0") if value.microsecond else text
            return {"stringValue": text + ("+00" if value.tzinfo else "")}
    return {"stringValue": str(value)}
