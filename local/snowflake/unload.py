"""COPY INTO <location>: the rows of a query as Parquet or CSV files in a stage or in S3.

DuckDB writes the files in a temporary directory, streaming, in bounded memory; then they are moved to the location,
all or none. Names, types and options follow Snowflake's documentation of COPY INTO <location>.
"""

# ruff: noqa: S608 -- a database server builds SQL: identifiers and texts are quoted by sqlglot, values are bound.

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sqlglot import exp

from local.snowflake import errors, storage
from local.snowflake.formats import Format, copy_options, file_format, flag
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

FORM = "COPY INTO <location>"
PARTITION = "__PARTITION"
DEFAULT_FILE_SIZE = 16 * 1024 * 1024
ROW_GROUP = 122_880
_OPTIONS = {
    "PARTITION BY",
    "FILE_FORMAT",
    "HEADER",
    "MAX_FILE_SIZE",
    "OVERWRITE",
    "SINGLE",
    "INCLUDE_QUERY_ID",
    "DETAILED_OUTPUT",
}


@dataclass(frozen=True)
class Written:
    """A file that DuckDB wrote: where, which partition ("" for none), and its rows, if DuckDB counted them."""

    path: Path
    partition: str
    rows: int | None


def is_unload(statement: exp.Copy) -> bool:
    """Tell whether COPY writes to a location, not into a table."""
    target = statement.this.this if isinstance(statement.this, exp.Table) else statement.this
    if isinstance(target, exp.Literal | exp.Var):
        return True
    return isinstance(target, exp.Identifier) and target.name.startswith("@")


def unload(cursor: "Cursor", statement: exp.Copy) -> str:
    """Run the unload and return the query of its result.

    Raises:
        ProgrammingError: An option, a type or a location is not possible, or files would be overwritten.
    """
    options = copy_options(statement, _OPTIONS, FORM)
    kind = file_format(cursor, options.get("FILE_FORMAT"))
    single = flag(options, "SINGLE", False)
    partition = options.get("PARTITION BY")
    _check(options, kind, partition)
    location = storage.resolve(cursor, statement.this, options.get("STORAGE_INTEGRATION"))
    size = int(options.get("MAX_FILE_SIZE", DEFAULT_FILE_SIZE))
    header = flag(options, "HEADER", False)
    query = _query(cursor, statement, kind, header, partition)
    with tempfile.TemporaryDirectory(dir=cursor.connection.temporary) as folder:
        written, rows = _write(cursor, query, Path(folder) / "files", kind, header, single, size, bool(partition))
        query_id = cursor.query_id if partition or flag(options, "INCLUDE_QUERY_ID", False) else None
        names = _names(written, location.prefix, kind, single, query_id)
        if query_id is None and not flag(options, "OVERWRITE", False):
            for name in names:
                if location.exists(name):
                    raise errors.error(
                        errors.FILE_ERROR,
                        f"Files already existing at the unload destination: {location.url(name)}. Use overwrite option "
                        "to force unloading.",
                    )
        facts = [
            (name, file.path.stat().st_size, _unpacked_size(file.path), file.rows)
            for name, file in zip(names, written, strict=True)
        ]
        _move(cursor, location, written, names)
    if flag(options, "DETAILED_OUTPUT", False):
        columns = [Column("FILE_NAME"), Column("FILE_SIZE", "BIGINT"), Column("ROW_COUNT", "BIGINT")]
        return literal_rows(columns, [(name, packed, count) for name, packed, _, count in facts])
    columns = [Column(name, "BIGINT") for name in ("rows_unloaded", "input_bytes", "output_bytes")]
    return literal_rows(columns, [(rows, sum(fact[2] for fact in facts), sum(fact[1] for fact in facts))])


def _check(options: dict[str, Any], kind: Format, partition: exp.Expr | None) -> None:
    if partition is not None:
        for name, value in (("OVERWRITE", True), ("SINGLE", True), ("INCLUDE_QUERY_ID", False)):
            if name in options and flag(options, name, not value) is value:
                message = f"{FORM}: {name} = {str(value).upper()} is not supported together with PARTITION BY"
                raise errors.error(errors.INVALID_OPTION, message)
    if kind.type == "CSV" and flag(options, "DETAILED_OUTPUT", False):
        raise errors.unsupported("DETAILED_OUTPUT for CSV", "Unload Parquet, or leave it out.")
    if kind.header or kind.skip or kind.trim:
        raise errors.error(errors.INVALID_OPTION, f"{FORM}: PARSE_HEADER, SKIP_HEADER and TRIM_SPACE are for loading")


def _query(cursor: "Cursor", statement: exp.Copy, kind: Format, header: bool, partition: exp.Expr | None) -> str:
    """Return DuckDB's query of the rows in the types that Snowflake writes, the partition's name last."""
    source = statement.args["files"][0]
    select = source.this if isinstance(source, exp.Subquery) else exp.select("*").from_(source.copy())
    if not isinstance(select, exp.Query):
        raise errors.error(errors.SYNTAX, f"{FORM} FROM takes a table or a query in parentheses")
    rows = exp.select("*").from_(select.copy().subquery("UNLOADED"))
    if partition is not None:
        rows = rows.select(exp.alias_(exp.cast(partition.copy(), "VARCHAR"), PARTITION, quoted=True))
    sql = cursor.duckdb_sql(rows)
    columns = []
    for position, (name, type_) in enumerate(cursor.columns(sql)):
        quoted = exp.to_identifier(name, quoted=True).sql("duckdb")
        if partition is not None and name == PARTITION:
            columns.append(quoted)
            continue
        # Without HEADER, Parquet's columns have made-up names; they have to have some.
        alias = quoted if header or kind.type == "CSV" else f'"_COL_{position}"'
        value = _parquet_value(quoted, name, type_) if kind.type == "PARQUET" else _csv_value(quoted, type_)
        columns.append(f"{value} AS {alias}")
    return f"SELECT {', '.join(columns)} FROM ({sql})"


def _parquet_value(column: str, name: str, type_: str) -> str:
    """Cast a column to the type that Snowflake writes into Parquet, as without physical type optimisation.

    Every NUMBER(p,s) is a decimal, integers are NUMBER(38,0), FLOAT is double, TIMESTAMP_NTZ is in microseconds.
    """
    base = type_.split("(")[0]
    if base in {"VARCHAR", "DECIMAL", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "BLOB"}:
        return column
    if base in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}:
        return f"CAST({column} AS DECIMAL(38, 0))"
    casts = {"FLOAT": "DOUBLE", "TIMESTAMP_NS": "TIMESTAMP", "JSON": "VARCHAR", '"NULL"': "VARCHAR"}
    if base in casts:
        return f"CAST({column} AS {casts[base]})"
    if type_ == "TIMESTAMP WITH TIME ZONE":
        raise errors.error(
            errors.UNSUPPORTED,
            f"Error encountered when unloading to PARQUET: TIMESTAMP_TZ and LTZ types are not supported. Cast the "
            f"column {name} to TIMESTAMP_NTZ.",
        )
    raise errors.unsupported(f"unloading column {name} of DuckDB type {type_} to PARQUET", "Cast it to VARCHAR.")


def _csv_value(column: str, type_: str) -> str:
    if type_ == "TIMESTAMP" or type_.startswith("TIMESTAMP_"):
        return f"strftime({column}, '%Y-%m-%d %H:%M:%S.%g')"
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({column} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g') || ' Z'"
    return column


def _write(
    cursor: "Cursor", query: str, folder: Path, kind: Format, header: bool, single: bool, size: int, partitioned: bool
) -> tuple[list[Written], int]:
    options = _csv_options(cursor, query, kind, header) if kind.type == "CSV" else _parquet_options(kind)
    if partitioned:
        options.append(f'PARTITION_BY ("{PARTITION}")')
    if not single:
        options.append(f"FILE_SIZE_BYTES {size}")
    target = str(folder).replace("'", "''")
    counted = kind.type == "PARQUET"
    options.append("RETURN_STATS true" if counted else "RETURN_FILES true")
    if single:
        folder.parent.mkdir(exist_ok=True)
    result = cursor.run(f"COPY ({query}) TO '{target}' (FORMAT {kind.type}, {', '.join(options)})").fetchall()
    if counted:
        found = [(Path(row[0]), int(row[1])) for row in result]
        total = sum(rows for _, rows in found)
    else:
        total, paths = int(result[0][0]), result[0][1]
        found = [(Path(path), None) for path in paths]  # type: ignore[misc]
    if total == 0:
        return [], 0
    files = sorted(found, key=lambda item: str(item[0]))
    if single and files[0][0].stat().st_size > size:
        raise errors.error(
            errors.INVALID_OPTION, f"{FORM}: the single file is larger than MAX_FILE_SIZE = {size} bytes; raise it"
        )
    return [Written(path, _partition(path, folder) if partitioned else "", rows) for path, rows in files], total


def _parquet_options(kind: Format) -> list[str]:
    return [
        f"COMPRESSION {'uncompressed' if kind.compression == 'NONE' else 'snappy'}",
        f"ROW_GROUP_SIZE {ROW_GROUP}",
    ]


def _csv_options(cursor: "Cursor", query: str, kind: Format, header: bool) -> list[str]:
    compression = {"AUTO": "gzip"}.get(kind.compression, kind.compression.lower())
    text = [name for name, type_ in cursor.columns(query) if type_ == "VARCHAR" and name != PARTITION]
    null = kind.nulls[0] if kind.nulls else ""
    options = [
        f"HEADER {str(header).lower()}",
        f"DELIMITER {_text(kind.delimiter)}",
        f"NULLSTR {_text(null)}",
        f"COMPRESSION {compression}",
        f"QUOTE {_text(kind.quote)}",
        f"ESCAPE {_text(kind.quote)}",
    ]
    if kind.quote and text:
        # Snowflake encloses every text, whether it needs it or not.
        names = ", ".join(exp.to_identifier(name, quoted=True).sql("duckdb") for name in text)
        options.append(f"FORCE_QUOTE ({names})")
    return options


def _partition(path: Path, folder: Path) -> str:
    """Return the value of PARTITION BY that DuckDB encoded in the name of the file's folder."""
    value = unquote(path.relative_to(folder).parts[0].partition("=")[2])
    return "__NULL__" if value == "__HIVE_DEFAULT_PARTITION__" else value


def _names(written: list[Written], prefix: str, kind: Format, single: bool, query_id: str | None) -> list[str]:
    """Return the files' keys: `<partition>/data_<query id>_0_<n>_0.snappy.parquet`, or `<prefix>_0_<n>_0.…`."""
    if single:
        return [prefix + "data" if not prefix or prefix.endswith("/") else prefix for _ in written]
    extension = _extension(kind)
    if any(file.partition for file in written):
        folder = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        stems = [f"{folder}{file.partition.strip('/')}/data" for file in written]
    else:
        stems = [prefix + "data" if not prefix or prefix.endswith("/") else prefix for _ in written]
    middle = f"{query_id}_" if query_id else ""
    return [
        f"{stem}{'' if stem.endswith('_') else '_'}{middle}0_{number}_0{extension}" for number, stem in enumerate(stems)
    ]


def _extension(kind: Format) -> str:
    if kind.type == "PARQUET":
        own = ".parquet" if kind.compression == "NONE" else ".snappy.parquet"
        return f".{kind.extension.lstrip('.')}" if kind.extension else own
    packed = {"AUTO": ".gz", "GZIP": ".gz", "ZSTD": ".zst", "NONE": ""}[kind.compression]
    return f".{(kind.extension or 'csv').lstrip('.')}{packed}"


def _move(cursor: "Cursor", location: storage.Location, written: list[Written], names: list[str]) -> None:
    """Put every file at its place; when that fails or is cancelled, none of them stays."""
    done: list[str] = []
    try:
        for file, name in zip(written, names, strict=True):
            cursor.stop_if_cancelled()
            done.append(name)
            location.write(file.path, name)
        cursor.stop_if_cancelled()
    except BaseException:
        for name in done:
            if location.exists(name):
                location.remove(name)
        raise


def _unpacked_size(path: Path) -> int:
    """Return the size before gzip, from the file's last four bytes (RFC 1952); other files count as they are."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size
        file.seek(-4, 2)
        return struct.unpack("<I", file.read(4))[0]


def _text(value: str) -> str:
    return exp.Literal.string(value).sql("duckdb")
