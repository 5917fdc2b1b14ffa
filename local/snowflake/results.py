"""Results that the server makes up itself, as DuckDB SQL, so that every result takes the same way to the client."""

# ruff: noqa: S608 -- a database server builds SQL: identifiers and texts are quoted by sqlglot, values are bound.

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp


@dataclass(frozen=True)
class Column:
    """A result column: its name as the client sees it and its DuckDB type."""

    name: str
    type: str = "VARCHAR"


def literal_rows(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> str:
    """Return a query that yields `rows`, keeping the columns' types even without a row.

    Args:
        columns: Names and DuckDB types.
        rows: One sequence of strings, numbers, booleans or None per row, as long as `columns`.
    """
    quoted = [exp.to_identifier(column.name, quoted=True).sql("duckdb") for column in columns]
    casts = ", ".join(f"CAST({name} AS {column.type}) AS {name}" for name, column in zip(quoted, columns, strict=True))
    values = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    if not values:
        nulls = ", ".join(["NULL"] * len(columns))
        return f"SELECT {casts} FROM (VALUES ({nulls})) AS result({', '.join(quoted)}) WHERE FALSE"
    return f"SELECT {casts} FROM (VALUES {values}) AS result({', '.join(quoted)})"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    return exp.Literal.string(str(value)).sql("duckdb")
