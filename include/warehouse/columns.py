"""A table's columns in the types of the warehouses, from its contract."""

import re
from collections.abc import Iterable
from typing import Any

from include.tables.contract import Property, Table

TEXT_BYTES = 256
"""Longest text that Redshift takes, in bytes of UTF-8; its COPY refuses a longer one."""

REDSHIFT = {
    "string": f"VARCHAR({TEXT_BYTES})",
    "bigint": "BIGINT",
    "double": "DOUBLE PRECISION",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
SNOWFLAKE = {
    "string": "VARCHAR",
    "bigint": "NUMBER(19, 0)",
    "double": "FLOAT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP_NTZ",
}


def columns(properties: Iterable[Property], types: dict[str, str]) -> list[dict[str, Any]]:
    """Name, type and `required` of each column, as JSON values.

    Args:
        properties: columns of a contract, in the order of the files.
        types: `REDSHIFT` or `SNOWFLAKE`.

    Raises:
        KeyError: a column's type is not known here; the message names both.
    """
    return [{"name": column.name, "type": _type(column, types), "required": column.required} for column in properties]


def money(table: Table) -> list[str]:
    """The columns that hold money: those of a decimal type."""
    return [column.name for column in table.properties if column.physicalType.startswith("decimal")]


def _type(column: Property, types: dict[str, str]) -> str:
    if sizes := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", column.physicalType):
        return f"NUMERIC({sizes[1]}, {sizes[2]})"
    if column.physicalType not in types:
        raise KeyError(
            f"column {column.name}: no type for {column.physicalType!r}; it takes {', '.join(types)}, decimal"
        )
    return types[column.physicalType]
