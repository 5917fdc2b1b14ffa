"""Glue Catalog tables as DuckDB relations: types, files, partitions, formats."""

# ruff: noqa: S608 -- a query engine builds SQL: names and texts are quoted, conditions come from a syntax tree.

import calendar
import datetime as dt
import functools
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from local.aws import s3
from local.aws.athena_errors import QueryFailed, unsupported
from local.aws.athena_sql import Name, Shape
from local.aws.catalog import Catalog

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""Hive's value of a partition key that is NULL."""

PARQUET_SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
TEXT_SERDE = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
CSV_SERDE = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
JSON_SERDES = ("org.openx.data.jsonserde.JsonSerDe", "org.apache.hive.hcatalog.data.JsonSerDe")

CSV_OPTIONS = (("quoteChar", '"'), ("escapeChar", "\\"))
"""OpenCSVSerde's properties and their defaults."""

MOST_PROJECTED = 100_000


@dataclass(frozen=True)
class Column:
    """A column of a table, and the Hive type it is declared with."""

    name: str
    type: str


@dataclass(frozen=True)
class Partition:
    """The values of the partition keys, and where the files are."""

    values: tuple[str | None, ...]
    location: str


@dataclass(frozen=True)
class Table:
    """A table or view as the Glue Catalog had it when the query started."""

    name: Name
    columns: tuple[Column, ...]
    keys: tuple[Column, ...] = ()
    location: str = ""
    serde: str = ""
    serde_parameters: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    partitions: tuple[Partition, ...] = ()
    view: str | None = None
    kind: str = "EXTERNAL_TABLE"

    @property
    def shape(self) -> Shape:
        """What translating a query needs to know."""
        types = {column.name: column.type for column in (*self.columns, *self.keys)}
        return Shape(frozenset(key.name for key in self.keys), types)


def read(catalog: Catalog, name: Name) -> Table | None:
    """Copy what the catalog says about a table; ``None`` where there is no such table.

    Raises:
        QueryFailed: There is no such database.
    """
    with catalog.lock:
        database = catalog.databases.get(name.database)
        if database is None:
            raise QueryFailed("SCHEMA_NOT_FOUND", f"Schema '{name.database}' does not exist")
        found = database.tables.get(name.table)
        if found is None:
            return None
        described = found.as_dict()
        descriptor = described.get("StorageDescriptor") or {}
        partitions = tuple(
            Partition(
                tuple(None if value == NO_VALUE else value for value in partition.values),
                ((partition.partition_input.get("StorageDescriptor") or {}).get("Location") or ""),
            )
            for partition in found.partitions.values()
        )
    serde = descriptor.get("SerdeInfo") or {}
    return Table(
        name=name,
        columns=_columns(descriptor.get("Columns")),
        keys=_columns(described.get("PartitionKeys")),
        location=descriptor.get("Location") or "",
        serde=serde.get("SerializationLibrary") or "",
        serde_parameters=dict(serde.get("Parameters") or {}),
        parameters=dict(described.get("Parameters") or {}),
        partitions=partitions,
        view=described.get("ViewOriginalText") if described.get("TableType") == "VIRTUAL_VIEW" else None,
        kind=described.get("TableType") or "EXTERNAL_TABLE",
    )


def _columns(described: Iterable[dict[str, str]] | None) -> tuple[Column, ...]:
    return tuple(Column(column["Name"].lower(), column.get("Type", "string").lower()) for column in described or ())


# --------------------------------------------------------------------------------------------------------------- types


@functools.lru_cache(maxsize=1024)
def duckdb_type(hive: str) -> str:
    """The DuckDB type of a Hive type such as ``struct<a:int,b:array<string>>``.

    Raises:
        QueryFailed: There is no such type.
    """
    try:
        tree = sqlglot.parse_one(f"CAST(x AS {hive})", read="hive")
    except SqlglotError as error:
        raise QueryFailed("HIVE_INVALID_METADATA", f"'{hive}' is not a Hive type") from error
    kind = tree.to if isinstance(tree, exp.Cast) else None
    if kind is None or any(node.this == exp.DataType.Type.USERDEFINED for node in kind.find_all(exp.DataType)):
        raise QueryFailed("HIVE_INVALID_METADATA", f"'{hive}' is not a Hive type")
    for node in kind.find_all(exp.DataType):
        if node.this in (exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPNTZ):
            node.set("this", exp.DataType.Type.TIMESTAMP)  # Hive's timestamp has no zone
        if node.this in (exp.DataType.Type.VARCHAR, exp.DataType.Type.CHAR):
            node.set("expressions", [])
        if node.this == exp.DataType.Type.DECIMAL and not node.expressions:
            node.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(n)) for n in (10, 0)])
    return kind.sql("duckdb")


def hive_type(duckdb: str) -> str:
    """The Hive type of a DuckDB type, for tables that a query creates."""
    simple = {
        "VARCHAR": "string", "JSON": "string", "UUID": "string", "BOOLEAN": "boolean", "TINYINT": "tinyint",
        "SMALLINT": "smallint", "INTEGER": "int", "BIGINT": "bigint", "HUGEINT": "bigint", "UTINYINT": "int",
        "USMALLINT": "int", "UINTEGER": "bigint", "UBIGINT": "bigint", "FLOAT": "float", "DOUBLE": "double",
        "DATE": "date", "BLOB": "binary", "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamp",
        "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
    }  # fmt: skip
    if duckdb in simple:
        return simple[duckdb]
    if duckdb.startswith("DECIMAL"):
        return duckdb.lower()
    if duckdb.endswith("[]"):
        return f"array<{hive_type(duckdb[:-2])}>"
    kind = sqlglot.parse_one(f"CAST(x AS {duckdb})", read="duckdb").find(exp.DataType)
    if kind is not None and duckdb.startswith(("STRUCT", "MAP")):
        return kind.sql("hive").lower().replace(": ", ":").replace(", ", ",")
    raise unsupported(f"A column of the type {duckdb}")


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """A quoted name."""
    return '"' + text.replace('"', '""') + '"'


# --------------------------------------------------------------------------------------------------------------- files


def files(location: str) -> list[Path]:
    """The data files below a location, in all nested folders.

    Files and folders whose names start with ``_`` or ``.`` and empty files hold no data.

    Raises:
        QueryFailed: The location is not an S3 URI.
    """
    try:
        root = s3.path_of(location)
    except ValueError as error:
        raise QueryFailed("HIVE_INVALID_METADATA", f"The location {location!r} is not s3://bucket/prefix/") from error
    found = []
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith(("_", ".")))
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(("_", "."))]
    return [file for file in found if file.stat().st_size]


def lake() -> Path:
    """The folder of all buckets."""
    return s3.path("aws").parent


def uri_of(file: Path) -> str:
    """The S3 URI of a file of the lake."""
    return f"s3://{file.relative_to(lake()).as_posix()}"


def discover(table: Table) -> Iterator[Partition]:
    """The partitions whose folders ``key=value/…`` lie below the table's location."""
    root, depth = s3.path_of(table.location), len(table.keys)
    folders = [root]
    for key in table.keys:
        folders = [
            child
            for folder in folders
            if folder.is_dir()
            for child in sorted(folder.iterdir())
            if child.is_dir() and child.name.lower().startswith(f"{key.name}=")
        ]
    for folder in folders if depth else ():
        relative = folder.relative_to(root).parts
        values = tuple(unquote(part.partition("=")[2]) for part in relative)
        yield Partition(values, f"{table.location.rstrip('/')}/{'/'.join(relative)}/")


# --------------------------------------------------------------------------------------------------------- projection


def projected(table: Table) -> tuple[Partition, ...]:
    """The partitions that partition projection makes up, without asking the catalog.

    Raises:
        QueryFailed: Its properties are incomplete, or of a type other than enum, integer and date.
    """
    values = [_projected_values(table, key) for key in table.keys]
    count = 1
    for each in values:
        count *= len(each)
    if count > MOST_PROJECTED:
        raise unsupported(f"A projection of {count} partitions of '{table.name}' (more than {MOST_PROJECTED})")
    default = table.location.rstrip("/") + "/" + "/".join(f"{key.name}=${{{key.name}}}" for key in table.keys)
    template = table.parameters.get("storage.location.template", default)
    found = []
    for combination in itertools.product(*values):
        location = template
        for key, value in zip(table.keys, combination, strict=True):
            location = location.replace(f"${{{key.name}}}", value)
        found.append(Partition(tuple(combination), location))
    return tuple(found)


_JAVA_DATE = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


def _projected_values(table: Table, key: Column) -> list[str]:
    def given(name: str) -> str:
        full = f"projection.{key.name}.{name}"
        if full not in table.parameters:
            raise QueryFailed("INVALID_TABLE_PROPERTY", f"Table '{table.name}' is missing the property '{full}'")
        return table.parameters[full]

    kind = given("type")
    if kind == "enum":
        return [value.strip() for value in given("values").split(",")]
    if kind == "integer":
        first, last = (int(bound) for bound in given("range").split(","))
        step = int(table.parameters.get(f"projection.{key.name}.interval", 1))
        digits = int(table.parameters.get(f"projection.{key.name}.digits", 0))
        return [str(value).zfill(digits) for value in range(first, last + 1, step)]
    if kind == "date":
        return _projected_dates(table, key, given("format"), given("range"))
    raise unsupported(f"Partition projection of the type '{kind}' (table '{table.name}')", "enum, integer, date")


def _projected_dates(table: Table, key: Column, java: str, bounds: str) -> list[str]:
    pieces = [match[0] for match in re.finditer(r"'[^']*'|([a-zA-Z])\1*|.", java)]
    if unknown := [piece for piece in pieces if piece[0].isalpha() and piece not in _JAVA_DATE]:
        raise unsupported(f"The letters '{unknown[0]}' in the date format '{java}' of a partition projection")
    pattern = "".join(_JAVA_DATE.get(piece, piece.strip("'").replace("%", "%%")) for piece in pieces)
    units = {"%S": "seconds", "%M": "minutes", "%H": "hours", "%d": "days", "%m": "months", "%Y": "years"}
    finest = next((unit for code, unit in units.items() if code in pattern), "days")
    unit = table.parameters.get(f"projection.{key.name}.interval.unit", finest).lower().rstrip("s") + "s"
    step = int(table.parameters.get(f"projection.{key.name}.interval", 1))
    first, last = (_projected_bound(bound.strip(), pattern, key) for bound in bounds.split(","))
    found: list[str] = []
    for at in itertools.count():
        moment = _later(first, at * step, unit)
        if moment > last:
            return found
        found.append(moment.strftime(pattern))
        if len(found) > MOST_PROJECTED:
            raise unsupported(f"A projection of more than {MOST_PROJECTED} values of '{key.name}'")
    return found


def _projected_bound(bound: str, pattern: str, key: Column) -> dt.datetime:
    relative = re.fullmatch(r"NOW(?:\s*([+-])\s*(\d+)\s*(YEAR|MONTH|WEEK|DAY|HOUR|MINUTE|SECOND)S?)?", bound)
    if relative:
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        amount = int(f"{relative[1]}{relative[2]}") if relative[1] else 0
        return _later(now, amount, f"{(relative[3] or 'day').lower()}s")
    try:
        return dt.datetime.strptime(bound, pattern)
    except ValueError as error:
        raise QueryFailed("INVALID_TABLE_PROPERTY", f"projection.{key.name}.range: {error}") from error


def _later(moment: dt.datetime, amount: int, unit: str) -> dt.datetime:
    if unit in ("months", "years"):
        month = moment.year * 12 + moment.month - 1 + amount * (12 if unit == "years" else 1)
        year, month = month // 12, month % 12 + 1
        return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))
    return moment + dt.timedelta(**{unit: amount})


# ------------------------------------------------------------------------------------------------------------ relations


@dataclass
class Relation:
    """The SQL that reads a table, and the bytes of the files that it reads."""

    sql: str
    size: int


def relation(
    connection: duckdb.DuckDBPyConnection, table: Table, conditions: Iterable[str] = (), *, path: bool = False
) -> Relation:
    """The query that reads a table.

    Args:
        connection: To look into files and to evaluate conditions.
        table: From :func:`read`.
        conditions: SQL conditions on partition keys; partitions for which one isn't true are not read.
        path: Whether it shows the column ``"$path"``.

    Raises:
        QueryFailed: A format that the local stack doesn't read, or a file whose columns have other types.
    """
    if table.parameters.get("table_type", "").upper() == "ICEBERG":
        raise unsupported(f"The Iceberg table '{table.name}'", "Parquet, text, CSV and JSON tables")
    found = _partitions(table)
    if table.keys:
        found = _pruned(connection, table, found, list(conditions))
    owners: dict[Path, list[Partition]] = {}  # several partitions may share a location
    for partition in found:
        for file in files(partition.location):
            owners.setdefault(file, []).append(partition)
    arms = []
    for group, columns in _groups(connection, table, list(owners)):
        arms.append(_arm(table, group, columns, {file: owners[file] for file in group}, path))
    if not arms:
        nothing = [
            f"CAST(NULL AS {duckdb_type(c.type)}) AS {identifier(c.name)}" for c in (*table.columns, *table.keys)
        ]
        nothing += ['CAST(NULL AS VARCHAR) AS "$path"'] if path else []
        arms = [f"SELECT {', '.join(nothing)} WHERE false"]
    return Relation(" UNION ALL ".join(arms), sum(file.stat().st_size for file in owners))


def _partitions(table: Table) -> tuple[Partition, ...]:
    if not table.keys:
        return (Partition((), table.location),)
    if table.parameters.get("projection.enabled", "").lower() == "true":
        return projected(table)
    return table.partitions


def _pruned(
    connection: duckdb.DuckDBPyConnection, table: Table, found: tuple[Partition, ...], conditions: list[str]
) -> tuple[Partition, ...]:
    if not conditions or not found:
        return found
    columns = [[partition.values[place] for partition in found] for place in range(len(table.keys))]
    listed = ", ".join(f"unnest(?::VARCHAR[]) AS {identifier(key.name)}" for key in table.keys)
    typed = ", ".join(
        f"CAST({identifier(key.name)} AS {duckdb_type(key.type)}) AS {identifier(key.name)}" for key in table.keys
    )
    kept = connection.execute(
        f"SELECT number FROM (SELECT number, {typed} FROM (SELECT unnest(range({len(found)})) AS number, {listed})) "
        f"WHERE {' AND '.join(f'({condition})' for condition in conditions)}",
        columns,
    ).fetchall()
    return tuple(found[number] for (number,) in sorted(kept))


def _value(key: Column, value: str | None) -> str:
    literal = "NULL" if value is None else quoted(value)
    return f"CAST({literal} AS {duckdb_type(key.type)})"


def _arm(
    table: Table, group: list[Path], columns: dict[str, str], owners: dict[Path, list[Partition]], path: bool
) -> str:
    """Read files of one kind; ``columns`` maps the names of columns to SQL over the ``source``."""
    shown = [
        f"{columns.get(column.name, f'CAST(NULL AS {duckdb_type(column.type)})')} AS {identifier(column.name)}"
        for column in table.columns
    ]
    source = f"{_source(table, group)} AS source"
    partitions = list(dict.fromkeys(partition for found in owners.values() for partition in found))
    if len(partitions) == 1:
        values = partitions[0].values
        shown += [f"{_value(k, v)} AS {identifier(k.name)}" for k, v in zip(table.keys, values, strict=True)]
    else:
        rows = ", ".join(
            f"({', '.join('NULL' if text is None else quoted(text) for text in (str(file), *owner.values))})"
            for file, found in owners.items()
            for owner in found
        )
        names = ", ".join(identifier(key.name) for key in table.keys)
        source += f" JOIN (VALUES {rows}) AS owner(file, {names}) ON source.filename = owner.file"
        shown += [
            f"CAST(owner.{identifier(k.name)} AS {duckdb_type(k.type)}) AS {identifier(k.name)}" for k in table.keys
        ]
    if path:
        shown.append(f"'s3://' || substr(source.filename, {len(str(lake())) + 2}) AS \"$path\"")
    return f"SELECT {', '.join(shown)} FROM {source}"


def format_of(table: Table) -> str:
    """``parquet``, ``text``, ``csv`` or ``json``.

    Raises:
        QueryFailed: Any other format.
    """
    known = {PARQUET_SERDE: "parquet", TEXT_SERDE: "text", CSV_SERDE: "csv", **dict.fromkeys(JSON_SERDES, "json")}
    for serde, name in known.items():
        if table.serde.lower() == serde.lower():
            return name
    raise unsupported(f"The SerDe '{table.serde}' of table '{table.name}'", ", ".join(known))


def _source(table: Table, group: list[Path]) -> str:
    listed = "[" + ", ".join(quoted(str(file)) for file in group) + "]"
    kind = format_of(table)
    if kind == "parquet":
        return f"read_parquet({listed}, filename = true, hive_partitioning = false)"
    for file in group:
        if file.suffix in (".bz2", ".snappy", ".lzo", ".lz4", ".deflate"):
            raise unsupported(f"The compression of {uri_of(file)}", "gzip (.gz) and Zstandard (.zst)")
    common = "filename = true, hive_partitioning = false"
    if kind == "json":
        return f"read_json_objects({listed}, format = 'newline_delimited', {common})"
    skip = int(table.parameters.get("skip.header.line.count", 0))
    common += f", header = false, auto_detect = false, strict_mode = false, null_padding = true, skip = {skip}"
    if kind == "text":
        # Each line is one value, which is split without quotes as Hive does.
        return f"read_csv({listed}, columns = {{'line': 'VARCHAR'}}, delim = '', quote = '', escape = '', {common})"
    delimiter = table.serde_parameters.get("separatorChar", ",")
    quote, escape = (table.serde_parameters.get(*option) for option in CSV_OPTIONS)
    columns = ", ".join(f"{quoted(column.name)}: 'VARCHAR'" for column in table.columns)
    return (
        f"read_csv({listed}, columns = {{{columns}}}, delim = {quoted(delimiter)}, quote = {quoted(quote or '')}, "
        f"escape = {quoted(escape or '')}, nullstr = '\x1f', {common})"
    )


Group = tuple[list[Path], dict[str, str]]


def _groups(connection: duckdb.DuckDBPyConnection, table: Table, found: list[Path]) -> list[Group]:
    """Files that are read alike, and the SQL of each column in them."""
    if not found:
        return []
    kind = format_of(table)
    if kind == "parquet":
        by_schema: dict[tuple, list[Path]] = {}
        for file, schema in _parquet_schemas(connection, found).items():
            by_schema.setdefault(schema, []).append(file)
        return [(group, _parquet_columns(table, schema, group[0])) for schema, group in by_schema.items()]
    columns = {"text": _text_columns, "csv": _csv_columns, "json": _json_columns}[kind](table)
    return [(found, columns)]


# ------------------------------------------------------------------------------------------------------------- parquet

_schemas: dict[tuple[str, int, int], tuple] = {}
_schemas_lock = threading.Lock()


def _parquet_schemas(connection: duckdb.DuckDBPyConnection, found: list[Path]) -> dict[Path, tuple]:
    """The (name, DuckDB type) pairs of the columns of Parquet files; a file that was seen is not opened again."""
    stamps = {file: (str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in found}
    with _schemas_lock:
        if len(_schemas) > 100_000:
            _schemas.clear()
        missing = [file for file in found if stamps[file] not in _schemas]
    for alike in _alike(connection, missing):
        file = alike[0]
        try:
            rows = connection.execute(
                f"DESCRIBE SELECT * FROM read_parquet([{quoted(str(file))}], hive_partitioning = false)"
            ).fetchall()
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            reason = str(error).split("\n")[0].replace(f"{lake()}/", "s3://")
            raise QueryFailed("HIVE_BAD_DATA", f"Not valid Parquet file: {uri_of(file)} ({reason})") from error
        schema = tuple((row[0], row[1]) for row in rows)
        with _schemas_lock:
            _schemas.update((stamps[other], schema) for other in alike)
    with _schemas_lock:
        return {file: _schemas[stamp] for file, stamp in stamps.items()}


def _alike(connection: duckdb.DuckDBPyConnection, found: list[Path]) -> Iterable[list[Path]]:
    """Parquet files by what their footers say of their columns: one of each kind stands for the others."""
    if len(found) < 2:
        return [[file] for file in found]
    listed = ", ".join(quoted(str(file)) for file in found)
    try:
        rows = connection.execute(f"SELECT * FROM parquet_schema([{listed}])").fetchall()
    except duckdb.InterruptException:
        raise
    except duckdb.Error:
        return [[file] for file in found]  # one of them is bad; which one shows when each is opened
    elements: dict[str, list[tuple]] = {}
    for file, *element in rows:
        elements.setdefault(file, []).append(tuple(element))
    kinds: dict[tuple, list[Path]] = {}
    for place in found:
        kinds.setdefault(tuple(elements[str(place)]), []).append(place)
    return kinds.values()


_WIDTH = {
    "TINYINT": 1,
    "UTINYINT": 2,
    "SMALLINT": 2,
    "USMALLINT": 4,
    "INTEGER": 4,
    "INT": 4,
    "UINTEGER": 8,
    "BIGINT": 8,
}


def _parquet_columns(table: Table, schema: tuple, example: Path) -> dict[str, str]:
    present = {name.lower(): (name, kind) for name, kind in schema}
    columns = {}
    for column in table.columns:
        if column.name not in present:
            continue
        name, kind = present[column.name]
        declared = duckdb_type(column.type)
        if not _readable(kind, declared):
            raise QueryFailed(
                "HIVE_BAD_DATA",
                f"Field {column.name}'s type {kind} in parquet file {uri_of(example)} is incompatible with type "
                f"{column.type} defined in table schema",
            )
        value = f"source.{identifier(name)}"
        if kind == "BLOB" and declared == "TEXT":
            value = f"decode({value})"
        columns[column.name] = f"CAST({value} AS {declared})"
    return columns


def _readable(kind: str, declared: str) -> bool:
    """Whether Athena reads values of a file's type as the declared type."""
    if kind == declared or (kind in ("JSON", "UUID", "VARCHAR", "BLOB") and declared in ("TEXT", "BLOB")):
        return True
    if declared in _WIDTH:
        # Parquet's smallest physical integer has 32 bits.
        return kind in _WIDTH and (_WIDTH[kind] <= _WIDTH[declared] or (_WIDTH[kind] <= 4 and _WIDTH[declared] <= 4))
    if declared.startswith("DECIMAL"):
        return kind.startswith("DECIMAL") or kind in _WIDTH
    if declared == "DOUBLE":
        return kind in ("FLOAT", "REAL")
    if declared == "REAL":
        return kind == "FLOAT"
    if declared == "TIMESTAMP":
        return kind.startswith("TIMESTAMP")
    if declared.endswith("[]"):
        return kind.endswith("[]") and _readable(kind[:-2], declared[:-2])
    return any(kind.startswith(nested) and declared.startswith(nested) for nested in ("STRUCT", "MAP"))


# ---------------------------------------------------------------------------------------------------------------- text

_WHOLE = r"[+-]?\d+"
_TEXT_FORMS = {
    "TINYINT": _WHOLE, "SMALLINT": _WHOLE, "INT": _WHOLE, "INTEGER": _WHOLE, "BIGINT": _WHOLE,
    "BOOLEAN": "(?i:true|false)",
    "DATE": r"\d{4}-\d{2}-\d{2}",
    "TIMESTAMP": r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2}(\.\d+)?)?",
}  # fmt: skip
"""What text must look like to be a value of a type; DuckDB would take more, e.g. ``'1.6'`` for the integer 2."""


def _text_columns(table: Table) -> dict[str, str]:
    given = table.serde_parameters
    delimiter = given.get("field.delim") or given.get("serialization.format") or "\x01"
    null, escape = given.get("serialization.null.format", "\\N"), given.get("escape.delim")
    if given.get("line.delim", "\n") != "\n":
        raise unsupported("LINES TERMINATED BY anything but '\\n'")
    line = "coalesce(source.line, '')"
    fields = f"string_split({line}, {quoted(delimiter)})"
    if escape:
        held = f"replace(replace({line}, {quoted(escape * 2)}, '\x1e'), {quoted(escape + delimiter)}, '\x1f')"
        split = f"string_split({held}, {quoted(delimiter)})"
        restored = f"replace(replace(f, '\x1f', {quoted(delimiter)}), '\x1e', {quoted(escape)})"
        fields = f"list_transform({split}, lambda f: {restored})"
    columns = {}
    for number, column in enumerate(table.columns, start=1):
        declared = duckdb_type(column.type)
        if declared.endswith("[]") or declared.startswith(("STRUCT", "MAP", "BLOB")):
            raise unsupported(
                f"The type {column.type} of column '{column.name}' in a text table", "Parquet and JSON tables"
            )
        value = f"nullif({fields}[{number}], {quoted(null)})"
        if declared != "TEXT":
            form = _TEXT_FORMS.get(declared)
            typed = f"TRY_CAST({value} AS {declared})"
            value = f"CASE WHEN regexp_full_match({value}, {quoted(form)}) THEN {typed} END" if form else typed
        columns[column.name] = value
    return columns


def _csv_columns(table: Table) -> dict[str, str]:
    columns = {}
    quote, escape = (table.serde_parameters.get(*option) for option in CSV_OPTIONS)
    for column in table.columns:
        declared, value = duckdb_type(column.type), f"source.{identifier(column.name)}"
        if quote and escape != quote:  # a doubled quote means one quote too
            value = f"replace({value}, {quoted(quote * 2)}, {quoted(quote)})"
        if declared.endswith("[]") or declared.startswith(("STRUCT", "MAP", "BLOB")):
            raise unsupported(f"The type {column.type} of column '{column.name}' in a table of OpenCSVSerde")
        if declared == "DATE":  # as Athena documents: days, or milliseconds, since 1970
            value = f"CAST(DATE '1970-01-01' + {_strict(value, 'INTEGER', column)} AS DATE)"
        elif declared == "TIMESTAMP":
            value = f"epoch_ms({_strict(value, 'BIGINT', column)})"
        elif declared != "TEXT":
            value = _strict(value, declared, column)
        columns[column.name] = value
    return columns


def _json_columns(table: Table) -> dict[str, str]:
    for name in table.serde_parameters:
        if name.startswith("mapping.") or name == "dots.in.keys":
            raise unsupported(f"The JSON SerDe's property '{name}'")
    lenient = table.serde_parameters.get("ignore.malformed.json", "").lower() == "true"
    columns = {}
    for column in table.columns:
        # Keys have no case, but nearly always they are in lower case.
        other = f"list_filter(json_keys(source.json), lambda k: lower(k) = {quoted(column.name)})[1]"
        exact = f"json_extract(source.json, '$.\"{column.name}\"')"
        value = f"coalesce({exact}, json_extract(source.json, '$.\"' || {other} || '\"'))"
        value = f"CAST(nullif(CAST({value} AS VARCHAR), 'null') AS JSON)"
        declared = duckdb_type(column.type)
        if declared == "TEXT":
            columns[column.name] = f"{value} ->> '$'"
        else:
            columns[column.name] = f"TRY_CAST({value} AS {declared})" if lenient else _strict(value, declared, column)
    return columns


def _strict(value: str, declared: str, column: Column) -> str:
    """A cast that says which column holds a bad value."""
    reason = (
        quoted("HIVE_BAD_DATA: Error parsing field value '")
        + f" || {value} || "
        + quoted(f"' for field {column.name}: it is not of the type {column.type}")
    )
    typed = f"TRY_CAST({value} AS {declared})"
    return f"CASE WHEN {value} IS NOT NULL AND {typed} IS NULL THEN error({reason}) ELSE {typed} END"
