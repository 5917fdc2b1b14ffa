"""The ``information_schema`` of the Glue Catalog."""

# ruff: noqa: S608 -- a query engine builds SQL: names and texts are quoted, conditions come from a syntax tree.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.aws import athena_sql
from local.aws.athena_results import ResultColumn
from local.aws.athena_sql import Name
from local.aws.athena_tables import Column, Table, duckdb_type, quoted
from local.aws.catalog import Catalog

SCHEMA = "information_schema"
_COLUMNS = {
    "schemata": ("catalog_name", "schema_name"),
    "tables": ("table_catalog", "table_schema", "table_name", "table_type"),
    "views": ("table_catalog", "table_schema", "table_name", "view_definition"),
    "columns": ("table_catalog", "table_schema", "table_name", "column_name", "ordinal_position", "column_default",
                "is_nullable", "data_type"),
}  # fmt: skip


@dataclass(frozen=True)
class Information(Table):
    """A table of the information schema, whose rows are known."""

    rows: tuple[tuple, ...] = ()


def table(catalog: Catalog, name: Name) -> Table | None:
    """A table of the information schema, filled; ``None`` where there is no such table."""
    if name.table not in _COLUMNS:
        return None
    kinds = {"ordinal_position": "bigint"}
    columns = tuple(Column(column, kinds.get(column, "string")) for column in _COLUMNS[name.table])
    return Information(name, columns, rows=tuple(_ROWS[name.table](catalog)))


def relation(found: Table) -> str:
    """The SQL of its rows."""
    assert isinstance(found, Information)  # noqa: S101 (the schema has no other tables)
    names = ", ".join(column.name for column in found.columns)
    typed = ", ".join(f"CAST({c.name} AS {duckdb_type(c.type)}) AS {c.name}" for c in found.columns)
    rows = found.rows or [(None,) * len(found.columns)]
    values = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    condition = "" if found.rows else " WHERE false"
    return f"SELECT {typed} FROM (VALUES {values}) AS rows({names}){condition}"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else quoted(str(value))


def _each_table(catalog: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    for database in catalog.databases.values():
        for found in database.tables.values():
            yield database.name, found.as_dict()


def _schemata(catalog: Catalog) -> list[tuple]:
    return [(athena_sql.CATALOG, name) for name in [*catalog.databases, SCHEMA]]


def _tables(catalog: Catalog) -> list[tuple]:
    return [
        (athena_sql.CATALOG, database, described["Name"], "VIEW" if _is_view(described) else "BASE TABLE")
        for database, described in _each_table(catalog)
    ]


def _views(catalog: Catalog) -> list[tuple]:
    return [
        (athena_sql.CATALOG, database, described["Name"], described.get("ViewOriginalText"))
        for database, described in _each_table(catalog)
        if _is_view(described)
    ]


def _columns(catalog: Catalog) -> list[tuple]:
    rows = []
    for database, described in _each_table(catalog):
        columns = [
            *((described.get("StorageDescriptor") or {}).get("Columns") or []),
            *(described.get("PartitionKeys") or []),
        ]
        for position, column in enumerate(columns, start=1):
            kind = ResultColumn("", duckdb_type(column.get("Type", "string").lower())).athena_type
            rows.append(
                (athena_sql.CATALOG, database, described["Name"], column["Name"].lower(), position, None, "YES", kind)
            )
    return rows


def _is_view(described: dict) -> bool:
    return described.get("TableType") == "VIRTUAL_VIEW"


_ROWS = {"schemata": _schemata, "tables": _tables, "views": _views, "columns": _columns}
