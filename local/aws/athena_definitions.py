"""Execute Hive definitions on the Glue Catalog."""

import functools
import re
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.glue.exceptions import (
    DatabaseNotFoundException,
    PartitionAlreadyExistsException,
    PartitionNotFoundException,
)

from local.aws import athena_ddl, athena_tables
from local.aws.athena_errors import QueryFailed, unsupported
from local.aws.athena_results import ResultColumn
from local.aws.athena_sql import Name
from local.aws.athena_statement import FORMATS, Outcome, Statement, add_partition, view_definition, written
from local.aws.athena_tables import NO_VALUE, Table, duckdb_type
from local.aws.catalog import Catalog

_HIVE = "FAILED: Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask. "


def define(catalog: Catalog, statement: Statement, sql: str) -> Outcome:
    """Run a definition.

    Raises:
        QueryFailed: With the reason.
    """
    definition = athena_ddl.parse(sql, statement.database)
    with catalog.lock:
        try:
            columns, rows = _run(definition, catalog)
        except JsonRESTError as error:
            raise QueryFailed("HIVE_METASTORE_ERROR", error.message) from error
    return written(statement, [ResultColumn(column, "VARCHAR") for column in columns], rows)


Rows = list[tuple[str | None, ...]]
Lines = tuple[list[str], Rows]
NOTHING: Lines = ([], [])


@functools.singledispatch
def _run(definition: Any, catalog: Catalog) -> Lines:
    raise TypeError(definition)


# ----------------------------------------------------------------------------------------------------------- databases


@_run.register
def _(definition: athena_ddl.CreateDatabase, catalog: Catalog) -> Lines:
    if definition.name in catalog.databases:
        if definition.if_not_exists:
            return NOTHING
        raise QueryFailed(
            "DATABASE_ALREADY_EXISTS",
            f"{_HIVE}AlreadyExistsException(message:Database {definition.name} already exists)",
        )
    described: dict[str, Any] = {"Name": definition.name, "Parameters": definition.properties}
    if definition.comment is not None:
        described["Description"] = definition.comment
    if definition.location is not None:
        described["LocationUri"] = definition.location
    catalog.create_database(definition.name, described)
    return NOTHING


@_run.register
def _(definition: athena_ddl.DropDatabase, catalog: Catalog) -> Lines:
    database = catalog.databases.get(definition.name)
    if database is None:
        if definition.if_exists:
            return NOTHING
        raise QueryFailed(
            "SCHEMA_NOT_FOUND", f"FAILED: SemanticException [Error 10072]: Database does not exist: {definition.name}"
        )
    if database.tables and not definition.cascade:
        raise QueryFailed(
            "SCHEMA_NOT_EMPTY",
            f"{_HIVE}InvalidOperationException(message:Database {definition.name} is not empty. "
            "One or more tables exist.)",
        )
    catalog.delete_database(definition.name)
    return NOTHING


# -------------------------------------------------------------------------------------------------------------- tables


@_run.register
def _(definition: athena_ddl.CreateTable, catalog: Catalog) -> Lines:
    name = definition.name
    if athena_tables.read(catalog, name) is not None:
        if definition.if_not_exists:
            return NOTHING
        raise QueryFailed(
            "TABLE_ALREADY_EXISTS", f"{_HIVE}AlreadyExistsException(message:Table {name.table} already exists.)"
        )
    columns = [*definition.columns, *definition.partition_keys]
    for number, column in enumerate(columns):
        duckdb_type(column["Type"])
        if any(column["Name"] == other["Name"] for other in columns[:number]):
            raise QueryFailed("DUPLICATE_COLUMN_NAME", f"Column '{column['Name']}' is specified more than once")
    athena_tables.files(definition.location or "")
    stored_as = definition.stored_as or "TEXTFILE"
    if stored_as not in FORMATS:
        raise unsupported(f"STORED AS {stored_as}", ", ".join(FORMATS))
    serde, input_format, output_format = FORMATS[stored_as]
    parameters = {"EXTERNAL": "TRUE", **definition.properties}
    if definition.comment is not None:
        parameters["comment"] = definition.comment
    described = {
        "Name": name.table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "PartitionKeys": definition.partition_keys,
        "StorageDescriptor": {
            "Columns": definition.columns,
            "Location": definition.location,
            "InputFormat": definition.input_format or input_format,
            "OutputFormat": definition.output_format or output_format,
            "SerdeInfo": {
                "SerializationLibrary": definition.serde or serde,
                "Parameters": definition.serde_properties or {"serialization.format": "1"},
            },
        },
    }
    table = athena_tables.Table(name, (), serde=definition.serde or serde)
    athena_tables.format_of(table)
    catalog.create_table(name.database, name.table, described)
    return NOTHING


@_run.register
def _(definition: athena_ddl.Drop, catalog: Catalog) -> Lines:
    try:
        table = athena_tables.read(catalog, definition.name)
    except QueryFailed:
        if definition.if_exists:
            return NOTHING
        raise
    if table is None:
        if definition.if_exists:
            return NOTHING
        raise _no_table(definition.name)
    is_view = table.view is not None
    if is_view != (definition.kind == "VIEW"):
        raise QueryFailed(
            "GENERIC_USER_ERROR",
            f"'{definition.name}' is a {'view' if is_view else 'table'}: use DROP {'VIEW' if is_view else 'TABLE'}",
        )
    catalog.delete_table(definition.name.database, definition.name.table)
    return NOTHING


def _no_table(name: Name) -> QueryFailed:
    return QueryFailed("TABLE_NOT_FOUND", f"FAILED: SemanticException [Error 10001]: Table not found {name}")


def _table(catalog: Catalog, name: Name) -> Table:
    table = athena_tables.read(catalog, name)
    if table is None:
        raise _no_table(name)
    return table


def _update(catalog: Catalog, name: Name, **changes: Any) -> None:
    """Replace parts of a table: ``Location`` and ``Columns`` of its storage, or ``Parameters``."""
    described = catalog.get_table(name.database, name.table).get_version(
        str(catalog.get_table(name.database, name.table)._current_version)
    )
    descriptor = {
        **(described.get("StorageDescriptor") or {}),
        **{key: value for key, value in changes.items() if key != "Parameters"},
    }
    parameters = {**(described.get("Parameters") or {}), **changes.get("Parameters", {})}
    catalog.update_table(
        name.database, name.table, {**described, "StorageDescriptor": descriptor, "Parameters": parameters}
    )


@_run.register
def _(definition: athena_ddl.SetProperties, catalog: Catalog) -> Lines:
    _table(catalog, definition.name)
    _update(catalog, definition.name, Parameters=definition.properties)
    return NOTHING


@_run.register
def _(definition: athena_ddl.ChangeColumns, catalog: Catalog) -> Lines:
    table = _table(catalog, definition.name)
    described = catalog.get_table(definition.name.database, definition.name.table).as_dict()
    before = [] if definition.replace else list(described["StorageDescriptor"].get("Columns") or [])
    columns = [*before, *definition.columns]
    names = [column["Name"] for column in columns] + [key.name for key in table.keys]
    if len(names) != len(set(names)):
        raise QueryFailed("DUPLICATE_COLUMN_NAME", f"Duplicate column name among {names}")
    for column in definition.columns:
        duckdb_type(column["Type"])
    _update(catalog, definition.name, Columns=columns)
    return NOTHING


# ---------------------------------------------------------------------------------------------------------- partitions


def _values(table: Table, specification: athena_ddl.Specification, *, complete: bool = True) -> list[str | None]:
    names = [key.name for key in table.keys]
    unknown = [name for name in specification if name not in names]
    if unknown or (complete and len(specification) != len(names)):
        raise QueryFailed(
            "INVALID_PARTITION_VALUE",
            f"FAILED: SemanticException [Error 10006]: Partition not found or spec {specification} doesn't match the "
            f"partition keys {names} of {table.name}",
        )
    return [specification.get(name) for name in names]


@_run.register
def _(definition: athena_ddl.AddPartitions, catalog: Catalog) -> Lines:
    table = _table(catalog, definition.name)
    wanted = []
    for specification, location in definition.partitions:
        values = tuple(_values(table, specification))
        folder = "/".join(f"{key.name}={value}" for key, value in zip(table.keys, values, strict=True))
        wanted.append((values, location or f"{table.location.rstrip('/')}/{folder}/"))
    existing = {partition.values for partition in table.partitions}
    if not definition.if_not_exists and any(values in existing for values, _ in wanted):
        raise QueryFailed("ALREADY_EXISTS", f"{_HIVE}AlreadyExistsException(message:Partition already exists.)")
    for values, location in wanted:
        if values not in existing:
            athena_tables.files(location)
            try:
                add_partition(catalog, table, values, location)
            except PartitionAlreadyExistsException:
                if not definition.if_not_exists:
                    raise
    return NOTHING


@_run.register
def _(definition: athena_ddl.DropPartitions, catalog: Catalog) -> Lines:
    table = _table(catalog, definition.name)
    doomed: list[list[str]] = []
    for specification in definition.partitions:
        wanted = _values(table, specification, complete=False)
        matching = [
            partition.values
            for partition in table.partitions
            if all(want is None or want == value for want, value in zip(wanted, partition.values, strict=True))
        ]
        if not matching and not definition.if_exists:
            raise QueryFailed(
                "PARTITION_NOT_FOUND", f"FAILED: SemanticException [Error 10006]: Partition not found ({specification})"
            )
        doomed += [[NO_VALUE if value is None else value for value in values] for values in matching]
    for values in doomed:
        try:
            catalog.delete_partition(definition.name.database, definition.name.table, values)
        except PartitionNotFoundException:
            continue  # named twice in one statement
    return NOTHING


@_run.register
def _(definition: athena_ddl.SetLocation, catalog: Catalog) -> Lines:
    table, name = _table(catalog, definition.name), definition.name
    athena_tables.files(definition.location)
    if definition.partition is None:
        _update(catalog, name, Location=definition.location)
        return NOTHING
    values = [value for value in _values(table, definition.partition) if value is not None]
    try:
        present = catalog.get_partition(name.database, name.table, values)  # type: ignore[arg-type]
    except PartitionNotFoundException as error:
        raise QueryFailed(
            "PARTITION_NOT_FOUND",
            f"FAILED: SemanticException [Error 10006]: Partition not found ({definition.partition})",
        ) from error
    described = dict(present.partition_input)
    described["StorageDescriptor"] = {**(described.get("StorageDescriptor") or {}), "Location": definition.location}
    catalog.update_partition(name.database, name.table, described, values)
    return NOTHING


@_run.register
def _(definition: athena_ddl.Repair, catalog: Catalog) -> Lines:
    table = _table(catalog, definition.name)
    if not table.keys:
        raise QueryFailed("GENERIC_USER_ERROR", f"{_HIVE}Table {definition.name} is not a partitioned table")
    existing = {partition.values for partition in table.partitions}
    lines: Rows = []
    for partition in athena_tables.discover(table):
        values = tuple(None if value == NO_VALUE else value for value in partition.values)
        if values not in existing:
            add_partition(catalog, table, values, partition.location)
            spec = "/".join(f"{key.name}={value}" for key, value in zip(table.keys, partition.values, strict=True))
            lines.append((f"Repair: Added partition to metastore {definition.name}:{spec}",))
    if lines:
        missing = ", ".join(str(line[0]).rpartition(":")[2] for line in lines)
        lines.insert(0, (f"Partitions not in metastore:\t{missing}",))
    return ["result"], lines


# ---------------------------------------------------------------------------------------------------------------- show


def _matches(name: str, pattern: str | None) -> bool:
    return pattern is None or re.fullmatch(pattern.replace("*", ".*"), name) is not None


@_run.register
def _(definition: athena_ddl.Show, catalog: Catalog) -> Lines:
    if definition.what == "DATABASES":
        return ["database_name"], [(name,) for name in sorted(catalog.databases) if _matches(name, definition.pattern)]
    if definition.name is None:
        try:
            tables = catalog.get_database(definition.database).tables
        except DatabaseNotFoundException as error:
            raise QueryFailed("SCHEMA_NOT_FOUND", f"Schema '{definition.database}' does not exist") from error
        shown = [
            name
            for name, table in sorted(tables.items())
            if _matches(name, definition.pattern)
            and (definition.what == "TABLES" or table.as_dict().get("TableType") == "VIRTUAL_VIEW")
        ]
        return [{"TABLES": "tab_name", "VIEWS": "views"}[definition.what]], [(name,) for name in shown]
    table = _table(catalog, definition.name)
    if definition.what == "PARTITIONS":
        if not table.keys:
            raise QueryFailed(
                "GENERIC_USER_ERROR",
                f"FAILED: SemanticException [Error 10241]: Table {definition.name} is not a partitioned table",
            )
        return ["partition"], [
            ("/".join(f"{k.name}={v or NO_VALUE}" for k, v in zip(table.keys, partition.values, strict=True)),)
            for partition in table.partitions
        ]
    if definition.what == "COLUMNS":
        return ["field"], [(column.name.ljust(20),) for column in (*table.columns, *table.keys)]
    if definition.what == "TBLPROPERTIES":
        shown_properties = [
            (key, value) for key, value in sorted(table.parameters.items()) if definition.pattern in (None, key)
        ]
        return ["prpt_name", "prpt_value"], list(shown_properties)
    if definition.what == "CREATE VIEW":
        return ["Create View"], [(line,) for line in _create_view(table).split("\n")]
    if table.view is not None:
        raise QueryFailed("GENERIC_USER_ERROR", f"'{definition.name}' is a view: use SHOW CREATE VIEW")
    described = catalog.get_table(definition.name.database, definition.name.table).as_dict()
    return ["createtab_stmt"], [(line,) for line in _create_table(table, described).split("\n")]


def _create_view(table: Table) -> str:
    definition = view_definition(table)
    return f'CREATE VIEW "{table.name.table}" AS\n{definition["originalSql"]}'


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t").replace("\x01", "\\001") + "'"


def _create_table(table: Table, described: dict[str, Any]) -> str:
    """The statement that would create a table again."""

    def listed(columns: list[dict[str, str]]) -> str:
        return ",\n".join(
            f"  `{column['Name']}` {column['Type']}"
            + (f" COMMENT {_text(column['Comment'])}" if column.get("Comment") else "")
            for column in columns
        )

    def properties(found: dict[str, str]) -> str:
        return ",\n".join(f"  {_text(key)}={_text(value)}" for key, value in sorted(found.items()))

    descriptor = described.get("StorageDescriptor") or {}
    parts = [f"CREATE EXTERNAL TABLE `{table.name.table}`(\n{listed(descriptor.get('Columns') or [])})"]
    if described.get("PartitionKeys"):
        parts.append(f"PARTITIONED BY (\n{listed(described['PartitionKeys'])})")
    parts.append(f"ROW FORMAT SERDE\n  {_text(table.serde)}")
    if table.serde_parameters:
        parts.append(f"WITH SERDEPROPERTIES (\n{properties(table.serde_parameters)})")
    parts.append(
        f"STORED AS INPUTFORMAT\n  {_text(descriptor.get('InputFormat') or '')}\nOUTPUTFORMAT\n  "
        f"{_text(descriptor.get('OutputFormat') or '')}"
    )
    parts.append(f"LOCATION\n  {_text(table.location)}")
    shown = {key: value for key, value in table.parameters.items() if key not in ("EXTERNAL", "comment")}
    if shown:
        parts.append(f"TBLPROPERTIES (\n{properties(shown)})")
    return "\n".join(parts)


@_run.register
def _(definition: athena_ddl.Describe, catalog: Catalog) -> Lines:
    table = _table(catalog, definition.name)

    def line(name: str, kind: str) -> tuple[str]:
        return (f"{name.ljust(20)}\t{kind.ljust(20)}\t{''.ljust(20)}",)

    lines: Rows = [line(column.name, column.type) for column in (*table.columns, *table.keys)]
    if table.keys:
        lines += [
            (" \t \t ",),
            ("# Partition Information\t \t ",),
            (f"{'# col_name'.ljust(20)}\t{'data_type'.ljust(20)}\tcomment",),
        ]
        lines += [(" \t \t ",), *(line(key.name, key.type) for key in table.keys)]
    return ["col_name"], lines
