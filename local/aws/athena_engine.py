"""Run one statement of Athena's: queries on DuckDB over the files of the lake, definitions on the Glue Catalog."""

# ruff: noqa: S608 -- a query engine builds SQL: names and texts are quoted, conditions come from a syntax tree.

import base64
import contextlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from sqlglot import exp

from local.aws import athena_information, athena_sql, athena_tables, athena_write, s3
from local.aws.athena_definitions import define
from local.aws.athena_errors import Cancelled, QueryFailed, from_duckdb, place, unsupported
from local.aws.athena_functions import macro_statements
from local.aws.athena_results import ResultColumn, ResultFile
from local.aws.athena_sql import Name, Query
from local.aws.athena_statement import FORMATS, Outcome, Statement, add_partition, view_definition, written
from local.aws.athena_tables import Column, Table, duckdb_type, hive_type, identifier, quoted
from local.aws.athena_write import Layout, Written
from local.aws.catalog import Catalog
from local.aws.settings import current

THREADS = 2


_instances: dict[Path, duckdb.DuckDBPyConnection] = {}
_starting = threading.Lock()


def _cursor() -> duckdb.DuckDBPyConnection:
    """A connection to the DuckDB of the current state folder, whose views nobody else sees."""
    state = current().state
    with _starting:
        if state not in _instances:
            _instances[state] = _instance(state)
        return _instances[state].cursor()


def _instance(state: Path) -> duckdb.DuckDBPyConnection:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    instance = duckdb.connect(
        config={
            "threads": THREADS,
            "memory_limit": f"{min(memory, 4 << 30)}B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    work = state / "athena"
    shutil.rmtree(work, ignore_errors=True)  # what a crash left
    work.mkdir(parents=True)
    for setting in (
        "SET GLOBAL TimeZone = 'UTC'",
        "SET GLOBAL lambda_syntax = 'ENABLE_SINGLE_ARROW'",
        "SET GLOBAL integer_division = true",  # Trino's / of two integers is an integer
        f"SET temp_directory = {quoted(str(work / 'spill'))}",
        # Users' SQL names tables only, but nothing of it could reach a file outside the lake either.
        f"SET allowed_directories = [{quoted(str(state / 's3'))}, {quoted(str(work))}]",
        "SET enable_external_access = false",
    ):
        instance.execute(setting)
    for macro in macro_statements():
        instance.execute(macro)
    instance.execute("SET lock_configuration = true")
    return instance


class Engine:
    """Runs statements.

    Args:
        catalog: The Glue Catalog that they read and change.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def run(self, statement: Statement) -> Outcome:
        """Run a statement.

        Raises:
            QueryFailed: With the reason.
            Cancelled: Somebody stopped it.
        """
        statement.check()
        sql = athena_sql.bind(athena_sql.strip(statement.sql), statement.parameters)
        kind = athena_sql.kind(sql)
        self._check_output(statement)
        if kind == "DDL":
            return define(self.catalog, statement, sql)
        run = {
            "QUERY": self._query,
            "INSERT": self._insert,
            "CTAS": self._create_table_as,
            "VIEW": self._create_view,
            "UNLOAD": self._unload,
            "EXPLAIN": self._explain,
        }[kind]
        try:
            return run(statement, sql)
        finally:
            shutil.rmtree(statement.staging, ignore_errors=True)

    @staticmethod
    def _check_output(statement: Statement) -> None:
        try:
            bucket, _ = s3.split(statement.output)
        except ValueError as error:
            raise QueryFailed("INVALID_OUTPUT_LOCATION", str(error)) from error
        if bucket not in s3.backend().buckets:
            raise QueryFailed("INVALID_OUTPUT_LOCATION", f"Unable to verify/create output bucket {bucket}")

    # ------------------------------------------------------------------------------------------------------- reading

    def resolve(self, tree: exp.Expr, database: str) -> "Plan":
        """Translate a query and everything that it reads, views included, from the catalog of this moment.

        Raises:
            QueryFailed: Something in it does not exist.
        """
        with self.catalog.lock:
            plan = Plan()
            plan.query = self._resolve(tree, database, plan, ())
        return plan

    def _resolve(self, tree: exp.Expr, database: str, plan: "Plan", inside: tuple[Name, ...]) -> Query:
        query = athena_sql.translate(tree, database, lambda name: self._table(name, plan).shape)
        for name in sorted(query.tables, key=str):
            table = plan.tables[name]
            plan.places[name] = plan.places.get(name, 0) + 1
            if table.view is not None and name not in plan.views:
                if name in inside:
                    raise QueryFailed("INVALID_VIEW", f"View '{name}' is recursive")
                view = view_definition(table)
                nested = athena_sql.parse(view["originalSql"])
                try:
                    plan.views[name] = self._resolve(nested, view["schema"], plan, (*inside, name))
                except QueryFailed as failure:
                    raise QueryFailed("INVALID_VIEW", f"Failed analyzing stored view '{name}': {failure}") from failure
                plan.order.append(name)
            elif name not in plan.order:
                plan.order.append(name)
        for name, conditions in query.filters.items():
            plan.filters.setdefault(name, []).extend(conditions)
        plan.shows_path |= athena_sql.mentions_path(tree)
        return query

    def _table(self, name: Name, plan: "Plan") -> Table:
        if name not in plan.tables:
            if name.database == athena_information.SCHEMA:
                table = athena_information.table(self.catalog, name)
            else:
                table = athena_tables.read(self.catalog, name)
            if table is None:
                raise QueryFailed("TABLE_NOT_FOUND", f"Table '{athena_sql.CATALOG}.{name}' does not exist")
            plan.tables[name] = table
        return plan.tables[name]

    @contextlib.contextmanager
    def reading(self, statement: Statement, plan: "Plan") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in which the tables of a plan are views.

        Raises:
            QueryFailed: Something can't be read, the query has an error, or reads more than the workgroup allows.
            Cancelled: Somebody stopped it.
        """
        connection = _cursor()
        statement.connection = connection
        try:
            statement.check()
            for name in plan.order:
                self._define_view(connection, statement, plan, name)
            if statement.cutoff is not None and statement.scanned > statement.cutoff:
                raise QueryFailed(
                    "Query cancelled! ", "Bytes scanned limit was exceeded", state="CANCELLED"
                )  # Athena's own words
            statement.check()
            yield connection
        except duckdb.InterruptException as error:
            raise Cancelled from error
        except duckdb.Error as error:
            statement.check()
            raise from_duckdb(error, plan.query.tree, f"{athena_tables.lake()}/") from error
        finally:
            statement.connection = None
            connection.close()

    def _define_view(
        self, connection: duckdb.DuckDBPyConnection, statement: Statement, plan: "Plan", name: Name
    ) -> None:
        table = plan.tables[name]
        if name in plan.views:
            names = ", ".join(identifier(column.name) for column in table.columns)
            sql = f"{identifier(str(name))}({names}) AS {plan.views[name].sql}"
        elif name.database == athena_information.SCHEMA:
            sql = f"{identifier(str(name))} AS {athena_information.relation(table)}"
        else:
            conditions = plan.filters.get(name, []) if plan.places[name] == 1 else []
            relation = athena_tables.relation(
                connection, table, [athena_sql.render(condition) for condition in conditions], path=plan.shows_path
            )
            statement.scanned += relation.size
            sql = f"{identifier(str(name))} AS {relation.sql}"
        connection.execute(f"CREATE TEMP VIEW {sql}")

    def _query(self, statement: Statement, sql: str) -> Outcome:
        plan = self.resolve(athena_sql.parse(sql), statement.database)
        with self.reading(statement, plan) as connection:
            cursor = connection.execute(plan.query.sql)
            columns = result_columns(cursor)
            result = ResultFile(columns)
            statement.staging.mkdir(parents=True)
            staged = statement.staging / "result.csv"
            result.write(staged, _rows(cursor, statement))
        statement.check()
        publish(staged, f"{statement.output}{statement.id}.csv")
        return Outcome(result)

    def _explain(self, statement: Statement, sql: str) -> Outcome:
        rest = athena_sql.strip(sql[len("EXPLAIN") :])
        analyze = bool(re.match(r"ANALYZE\b", rest, re.IGNORECASE))
        rest = athena_sql.strip(rest[len("ANALYZE") :]) if analyze else rest
        if rest.startswith("(") and re.match(r"\(\s*(?:TYPE|FORMAT)\b", rest, re.IGNORECASE):
            raise unsupported("EXPLAIN with options", "EXPLAIN query, EXPLAIN ANALYZE query")
        if athena_sql.kind(rest) != "QUERY":
            raise unsupported("EXPLAIN of anything but a query")
        plan = self.resolve(athena_sql.parse(rest), statement.database)
        with self.reading(statement, plan) as connection:
            rows = connection.execute(f"EXPLAIN {'ANALYZE ' if analyze else ''}{plan.query.sql}").fetchall()
        lines: list[tuple[str | None, ...]] = [(line,) for _, text in rows for line in text.split("\n")]
        return written(statement, [ResultColumn("Query Plan", "VARCHAR")], lines)

    # ------------------------------------------------------------------------------------------------------- writing

    def _create_table_as(self, statement: Statement, sql: str) -> Outcome:
        tree = athena_sql.parse(sql)
        name = athena_sql.table_name(tree.this.find(exp.Table), statement.database)
        if tree.args.get("replace"):
            raise unsupported("CREATE OR REPLACE TABLE")
        options = _properties(tree)
        if athena_tables.read(self.catalog, name) is not None:
            if tree.args.get("exists"):
                return written(statement, [], [])
            raise QueryFailed(
                "TABLE_ALREADY_EXISTS", f"line 1:1: Destination table '{athena_sql.CATALOG}.{name}' already exists"
            )
        stored_as = options.text("format", "PARQUET").upper()
        if stored_as not in FORMATS:
            raise unsupported(f"CREATE TABLE AS with format {stored_as}", ", ".join(FORMATS))
        keys = tuple(key.lower() for key in options.words("partitioned_by"))
        layout = Layout(
            {"PARQUET": "parquet", "TEXTFILE": "text", "JSON": "json"}[stored_as],
            keys,
            options.text("write_compression", options.text("parquet_compression", "")) or None,
            options.text("field_delimiter", "\x01"),
        )
        external = options.text("external_location", "")
        options.finish("CREATE TABLE AS")
        if external and statement.enforced:
            raise QueryFailed(
                "INVALID_TABLE_PROPERTY",
                "The Create Table As Select query failed because it was submitted with an 'external_location' property "
                "to an Athena Workgroup that enforces a centralized output location for all queries. Please remove the "
                "'external_location' property and resubmit the query.",
            )
        location = (external or f"{statement.output}tables/{statement.id}").rstrip("/") + "/"
        if _exists(location):
            raise QueryFailed(
                "HIVE_PATH_ALREADY_EXISTS", f"Target directory for table '{name}' already exists: {location}"
            )
        plan = self.resolve(tree.expression, statement.database)
        with self.reading(statement, plan) as connection:
            columns = _new_columns(connection, plan.query)
            if keys and tuple(column.name for column in columns[-len(keys) :]) != keys:
                raise QueryFailed(
                    "HIVE_COLUMN_ORDER_MISMATCH",
                    "Partition keys must be the last columns in the table and in the same order as the table "
                    "properties: "
                    f"{list(keys)}",
                )
            if len(columns) == len(keys):
                raise QueryFailed("INVALID_TABLE_PROPERTY", "Table contains only partition columns")
            data = tree.args.get("properties") and tree.find(exp.WithDataProperty)
            query = _cast(plan.query.sql, columns) + (" LIMIT 0" if data and data.args.get("no") else "")
            staged = athena_write.stage(connection, query, layout, statement.staging, statement.id)
        statement.check()
        count = len(columns) - len(keys)
        described = _table_input(name, columns[:count], columns[count:], location, stored_as, layout)
        with self.catalog.lock:
            self.catalog.create_table(name.database, name.table, described)
            manifest = self._add_files(athena_tables.read(self.catalog, name), staged, layout)
        return self._wrote(statement, staged, manifest, location)

    def _insert(self, statement: Statement, sql: str) -> Outcome:
        tree = athena_sql.parse(sql)
        if not isinstance(tree, exp.Insert) or tree.args.get("overwrite"):
            raise unsupported("INSERT OVERWRITE", "INSERT INTO")
        target = tree.this.find(exp.Table)
        name = athena_sql.table_name(target, statement.database)
        table = athena_tables.read(self.catalog, name)
        if table is None:
            raise QueryFailed("TABLE_NOT_FOUND", f"{place(target)}Table '{athena_sql.CATALOG}.{name}' does not exist")
        if table.view is not None:
            raise unsupported("INSERT INTO a view")
        if table.parameters.get("projection.enabled", "").lower() == "true":
            raise unsupported("INSERT INTO a table with partition projection")
        layout = _layout_of(table)
        names = [column.name.lower() for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else None
        plan = self.resolve(tree.expression, statement.database)
        with self.reading(statement, plan) as connection:
            query = _inserted(connection, table, plan.query, names)
            staged = athena_write.stage(connection, query, layout, statement.staging, statement.id)
        statement.check()
        with self.catalog.lock:
            now = athena_tables.read(self.catalog, name)
            if now is None:
                raise QueryFailed("TABLE_NOT_FOUND", f"Table '{name}' was dropped meanwhile")
            manifest = self._add_files(now, staged, layout)
        return self._wrote(statement, staged, manifest, f"{statement.output}{statement.id}")

    def _add_files(self, table: Table | None, staged: Written, layout: Layout) -> list[str]:
        """Move files into a table's location, or its partitions', adding those that are new."""
        assert table is not None  # noqa: S101 (the caller holds the lock and has just seen it)
        existing = {partition.values: partition.location for partition in table.partitions}
        manifest = []
        for values, found in staged.partitions.items():
            location = table.location
            if table.keys:
                folder = athena_write.folder_name(layout.keys, values)
                location = existing.get(values) or f"{table.location.rstrip('/')}/{folder}"
            manifest += athena_write.move(found, location)
            if table.keys and values not in existing:
                add_partition(self.catalog, table, values, location)
        return manifest

    def _unload(self, statement: Statement, sql: str) -> Outcome:
        match = re.match(
            r"UNLOAD\s*\((?P<query>.*)\)\s*TO\s*'(?P<to>[^']+)'\s*(?:WITH\s*(?P<with>\(.*\)))?$", sql, re.I | re.S
        )
        if match is None:
            raise QueryFailed("SYNTAX_ERROR", "line 1:1: write UNLOAD (query) TO 's3://…/' WITH (format = '…')")
        tree = athena_sql.parse(f"CREATE TABLE unloaded WITH {match['with'] or '()'} AS SELECT 1")
        options = _properties(tree)
        stored_as = options.text("format", "").upper()
        if stored_as not in FORMATS:
            raise unsupported(f"UNLOAD with format '{stored_as}'", ", ".join(FORMATS))
        keys = tuple(key.lower() for key in options.words("partitioned_by"))
        layout = Layout(
            {"PARQUET": "parquet", "TEXTFILE": "text", "JSON": "json"}[stored_as],
            keys,
            options.text("compression", "GZIP"),
            options.text("field_delimiter", "\x01"),
        )
        options.finish("UNLOAD")
        location = match["to"].rstrip("/") + "/"
        if _exists(location):
            raise QueryFailed("HIVE_PATH_ALREADY_EXISTS", f"Target directory already exists: {location}")
        plan = self.resolve(athena_sql.parse(match["query"]), statement.database)
        with self.reading(statement, plan) as connection:
            columns = _new_columns(connection, plan.query)
            query = _cast(plan.query.sql, columns)
            staged = athena_write.stage(connection, query, layout, statement.staging, statement.id)
        statement.check()
        manifest = []
        for values, found in staged.partitions.items():
            manifest += athena_write.move(found, location + athena_write.folder_name(keys, values))
        return self._wrote(statement, staged, manifest, f"{statement.output}{statement.id}")

    def _wrote(self, statement: Statement, staged: Written, manifest: list[str], output: str) -> Outcome:
        uri = f"{statement.output}{statement.id}-manifest.csv"
        s3.put(uri, "".join(f"{line}\n" for line in manifest).encode())
        result = ResultFile([ResultColumn("rows", "BIGINT")], header=False)
        return Outcome(result, "", manifest, staged.rows, output)

    def _create_view(self, statement: Statement, sql: str) -> Outcome:
        tree = athena_sql.parse(sql)
        name = athena_sql.table_name(tree.this.find(exp.Table), statement.database)
        plan = self.resolve(tree.expression, statement.database)
        if name in plan.tables:
            raise QueryFailed("INVALID_VIEW", f"View '{name}' would read itself")
        with self.reading(statement, plan) as connection:
            columns = _new_columns(connection, plan.query)
        statement.scanned = 0
        original = re.split(r"\bAS\b", sql, maxsplit=1, flags=re.IGNORECASE)[1].strip()
        definition = {
            "originalSql": original,
            "catalog": athena_sql.CATALOG,
            "schema": statement.database,
            "columns": [
                {"name": c.name, "type": ResultColumn(c.name, duckdb_type(c.type)).athena_type} for c in columns
            ],
        }
        encoded = base64.b64encode(json.dumps(definition).encode()).decode()
        described = {
            "Name": name.table,
            "TableType": "VIRTUAL_VIEW",
            "Parameters": {"presto_view": "true", "comment": "Presto View"},
            "PartitionKeys": [],
            "StorageDescriptor": {
                "Columns": [{"Name": c.name, "Type": c.type} for c in columns],
                "Location": "",
                "SerdeInfo": {},
            },
            "ViewOriginalText": f"/* Presto View: {encoded} */",
            "ViewExpandedText": "/* Presto View */",
        }
        with self.catalog.lock:
            present = athena_tables.read(self.catalog, name)
            if present is not None and present.view is None:
                raise QueryFailed("TABLE_ALREADY_EXISTS", f"'{name}' is a table, not a view")
            if present is None:
                self.catalog.create_table(name.database, name.table, described)
            elif tree.args.get("replace"):
                self.catalog.update_table(name.database, name.table, described)
            else:
                raise QueryFailed("ALREADY_EXISTS", f"line 1:1: View already exists: '{athena_sql.CATALOG}.{name}'")
        return written(statement, [], [])


@dataclass
class Plan:
    """A query, and the tables and views it reads, as they were at one moment.

    Attributes:
        query: The outermost query.
        tables: Everything read.
        views: The queries behind views.
        order: The names, those that others need first.
        places: In how many queries a name occurs.
        filters: Conditions on partition keys.
        shows_path: Whether ``"$path"`` is wanted.
    """

    query: Query = field(default_factory=lambda: Query(exp.Select(), exp.Select()))
    tables: dict[Name, Table] = field(default_factory=dict)
    views: dict[Name, Query] = field(default_factory=dict)
    order: list[Name] = field(default_factory=list)
    places: dict[Name, int] = field(default_factory=dict)
    filters: dict[Name, list[exp.Expr]] = field(default_factory=dict)
    shows_path: bool = False


# ------------------------------------------------------------------------------------------------------------- results


def result_columns(cursor: duckdb.DuckDBPyConnection) -> list[ResultColumn]:
    """The columns of what was just executed."""
    described = cursor.description or []
    names = athena_sql.column_names([column[0] for column in described])
    return [ResultColumn(name, str(column[1])) for name, column in zip(names, described, strict=True)]


def _rows(cursor: duckdb.DuckDBPyConnection, statement: Statement) -> Iterator[tuple]:
    while rows := cursor.fetchmany(5000):
        statement.check()
        yield from rows


def publish(staged: Path, uri: str) -> None:
    """Put a file into the lake."""
    bucket, key = s3.split(uri)
    contents = s3.Contents(staged)
    try:
        s3.backend().put_object(bucket, key, contents)
    finally:
        contents.close()


# -------------------------------------------------------------------------------------------------------------- columns


def _described(connection: duckdb.DuckDBPyConnection, query: Query) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {query.sql}").fetchall()]


def _new_columns(connection: duckdb.DuckDBPyConnection, query: Query) -> list[Column]:
    """The columns of a table or view that a query defines, with Hive types."""
    columns: list[Column] = []
    for number, (name, kind) in enumerate(_described(connection, query), start=1):
        if name.startswith(athena_sql.UNNAMED):
            raise QueryFailed("MISSING_COLUMN_NAME", f"line 1:1: Column name not specified at position {number}")
        if name.lower() in [column.name for column in columns]:
            raise QueryFailed(
                "DUPLICATE_COLUMN_NAME", f"line 1:1: Column name '{name.lower()}' specified more than once"
            )
        columns.append(Column(name.lower(), hive_type(kind)))
    return columns


def _cast(sql: str, columns: list[Column]) -> str:
    """A query whose columns have exactly the declared types; DuckDB's own, such as HUGEINT, would be lost in files."""
    names = ", ".join(identifier(column.name) for column in columns)
    typed = ", ".join(f"CAST({identifier(c.name)} AS {duckdb_type(c.type)}) AS {identifier(c.name)}" for c in columns)
    return f"SELECT {typed} FROM ({sql}) AS result({names})"


_RANKS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE")
_SYNONYMS = {
    "INT": "INTEGER", "HUGEINT": "BIGINT", "UBIGINT": "BIGINT", "UINTEGER": "BIGINT", "USMALLINT": "INTEGER",
    "UTINYINT": "SMALLINT", "REAL": "FLOAT", "TEXT": "VARCHAR", "JSON": "VARCHAR",
}  # fmt: skip


def _coercible(kind: str, declared: str) -> bool:
    """Whether Trino turns a value of one type into the other by itself."""
    source, target = (_SYNONYMS.get(t, "DECIMAL" if t.startswith("DECIMAL") else t) for t in (kind, declared))
    if source in (target, '"NULL"'):
        return True
    if source in _RANKS and target in _RANKS:
        return _RANKS.index(source) <= _RANKS.index(target)
    if source == "DATE" and target == "TIMESTAMP":
        return True
    nested = ("STRUCT", "MAP", "TUPLE")
    return source.endswith("[]") == target.endswith("[]") == (source[-2:] == "[]") and (
        source.endswith("[]") or (source.startswith(nested) and target.startswith(nested))
    )


def _inserted(connection: duckdb.DuckDBPyConnection, table: Table, query: Query, names: list[str] | None) -> str:
    """The rows to insert, in the order and with the types of the table's columns."""
    columns = {column.name: column for column in (*table.columns, *table.keys)}
    given = names or list(columns)
    if unknown := [name for name in given if name not in columns]:
        raise QueryFailed(
            "COLUMN_NOT_FOUND", f"line 1:1: Insert column name does not exist in target table: {unknown[0]}"
        )
    described = _described(connection, query)
    if len(described) != len(given) or not all(
        _coercible(kind, duckdb_type(columns[name].type)) for (_, kind), name in zip(described, given, strict=True)
    ):
        wanted = ", ".join(ResultColumn("", duckdb_type(columns[name].type)).athena_type for name in given)
        offered = ", ".join(ResultColumn("", kind).athena_type for _, kind in described)
        raise QueryFailed(
            "TYPE_MISMATCH",
            f"line 1:1: Insert query has mismatched column types: Table: [{wanted}], Query: [{offered}]",
        )
    aliases = {name: f"c{number}" for number, name in enumerate(given)}
    typed = ", ".join(
        f"CAST({aliases.get(name, 'NULL')} AS {duckdb_type(column.type)}) AS {identifier(name)}"
        for name, column in columns.items()
    )
    return f"SELECT {typed} FROM ({query.sql}) AS result({', '.join(aliases.values())})"


# --------------------------------------------------------------------------------------------------------- descriptions


class _Options:
    """The ``WITH (…)`` of a statement; what nobody asked for is an error."""

    def __init__(self, found: dict[str, exp.Expr]) -> None:
        self._found = found

    def text(self, name: str, default: str) -> str:
        value = self._found.pop(name, None)
        return value.name if value is not None else default

    def words(self, name: str) -> list[str]:
        value = self._found.pop(name, None)
        return [item.name for item in value.expressions] if value is not None else []

    def finish(self, form: str) -> None:
        for name in self._found:
            raise unsupported(f"{form} with the property '{name}'")


def _properties(tree: exp.Expr) -> _Options:
    found: dict[str, exp.Expr] = {}
    clause = tree.args.get("properties")
    for node in clause.expressions if clause else ():
        if isinstance(node, exp.FileFormatProperty):
            found["format"] = node.this
        elif isinstance(node, exp.PartitionedByProperty):
            found["partitioned_by"] = node.this
        elif isinstance(node, exp.LocationProperty):
            found["external_location"] = node.this
        elif isinstance(node, exp.Property) and not isinstance(node, exp.WithDataProperty):
            found[node.name.lower() if node.name else node.key] = node.args.get("value") or node
    return _Options(found)


def _table_input(
    name: Name, columns: list[Column], keys: list[Column], location: str, stored_as: str, layout: Layout
) -> dict[str, Any]:
    serde, input_format, output_format = FORMATS[stored_as]
    serde_parameters = {"field.delim": layout.delimiter} if stored_as == "TEXTFILE" else {"serialization.format": "1"}
    return {
        "Name": name.table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": stored_as.lower().replace("textfile", "csv")},
        "PartitionKeys": [{"Name": key.name, "Type": key.type} for key in keys],
        "StorageDescriptor": {
            "Columns": [{"Name": column.name, "Type": column.type} for column in columns],
            "Location": location,
            "InputFormat": input_format,
            "OutputFormat": output_format,
            "SerdeInfo": {"SerializationLibrary": serde, "Parameters": serde_parameters},
        },
    }


def _layout_of(table: Table) -> Layout:
    kind = athena_tables.format_of(table)
    if kind == "csv":
        raise unsupported("INSERT INTO a table of OpenCSVSerde", "Parquet, delimited text and JSON tables")
    keys = tuple(key.name for key in table.keys)
    codec = table.parameters.get("parquet.compression") or table.parameters.get("write.compression")
    given = table.serde_parameters
    if kind == "text" and "escape.delim" in given:
        raise unsupported("INSERT INTO a table with ESCAPED BY")
    delimiter = given.get("field.delim") or given.get("serialization.format") or "\x01"
    return Layout(
        kind, keys, codec if kind == "parquet" else None, delimiter, given.get("serialization.null.format", "\\N")
    )


def _exists(location: str) -> bool:
    folder = s3.path_of(location)
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))
