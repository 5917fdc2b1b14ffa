"""COPY INTO <table>: Parquet and CSV files of a stage or of S3 into a table, with load history and ON_ERROR."""

# ruff: noqa: S608 -- a database server builds SQL: identifiers and texts are quoted by sqlglot, values are bound.

import datetime
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from fakesnow.expr import normalise_ident
from sqlglot import exp

from local.snowflake import errors, storage
from local.snowflake.formats import Format, copy_options, file_format, flag
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

FORM = "COPY INTO <table>"
_OPTIONS = {"FILE_FORMAT", "FILES", "PATTERN", "ON_ERROR", "MATCH_BY_COLUMN_NAME", "FORCE", "PURGE"}
_SOURCE = "_LOAD_SOURCE"
_RESULT = [
    Column("file"),
    Column("status"),
    Column("rows_parsed", "BIGINT"),
    Column("rows_loaded", "BIGINT"),
    Column("error_limit", "BIGINT"),
    Column("errors_seen", "BIGINT"),
    Column("first_error"),
    Column("first_error_line", "BIGINT"),
    Column("first_error_character", "BIGINT"),
    Column("first_error_column_name"),
]


@dataclass(frozen=True)
class Target:
    """The table that is loaded: where it is and its columns (name, DuckDB type) in the statement's order."""

    database: str
    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def sql(self) -> str:
        """The table's quoted, complete name."""
        return ".".join(_quote(part) for part in (self.database, self.schema, self.name))


@dataclass(frozen=True)
class Problem:
    """The first thing wrong in a file."""

    message: str
    line: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Loaded:
    """What happened to one file."""

    file: str
    parsed: int
    loaded: int
    errors: int = 0
    first: Problem | None = None
    skipped: bool = False

    @property
    def status(self) -> str:
        """Snowflake's word for it."""
        if self.skipped:
            return "LOAD_SKIPPED"
        if not self.errors:
            return "LOADED"
        return "PARTIALLY_LOADED" if self.loaded else "LOAD_FAILED"


@dataclass(frozen=True)
class OnError:
    """What to do about rows that do not fit: the action, and from how many (or what share) a file is skipped."""

    action: str
    limit: float = 1
    share: bool = False

    def skips(self, wrong: int, parsed: int) -> bool:
        """Tell whether a file with `wrong` of `parsed` rows is left out entirely."""
        if self.action != "SKIP_FILE" or not wrong:
            return False
        return wrong >= (self.limit / 100 * parsed if self.share else self.limit)


def load(cursor: "Cursor", statement: exp.Copy) -> str:
    """Run the load and return the query of its result: one row per file.

    Raises:
        ProgrammingError: An option is not possible, or a row does not fit and ON_ERROR is ABORT_STATEMENT.
    """
    options = copy_options(statement, _OPTIONS, FORM)
    kind = file_format(cursor, options.get("FILE_FORMAT"))
    on_error = _on_error(options.get("ON_ERROR"))
    target = _target(cursor, statement)
    source = statement.args["files"][0]
    select = source.this if isinstance(source, exp.Subquery) else None
    written = select.args["from_"].this if select is not None else source
    match = str(options.get("MATCH_BY_COLUMN_NAME", "NONE")).upper()
    _check(kind, on_error, match, select, target)
    location = storage.resolve(cursor, written, options.get("STORAGE_INTEGRATION"))
    keys = _keys(location, options)
    done = set() if flag(options, "FORCE", False) else _history(cursor, target)
    loaded: list[Loaded] = []
    began = cursor.connection.begin()
    try:
        with tempfile.TemporaryDirectory(dir=cursor.connection.temporary) as folder:
            for key in keys:
                cursor.stop_if_cancelled()
                url = location.url(key)
                if url in done:
                    first = Problem("File was loaded before.")
                    loaded.append(Loaded(url, 0, 0, 1, first, skipped=True))
                    continue
                path = location.read(key, Path(folder) / Path(key).name)
                loaded.append(_load_file(cursor, url, path, kind, on_error, target, select, match))
                if path.is_relative_to(folder):
                    path.unlink()
        _record(cursor, target, loaded)
        if began and cursor.connection.autocommits:
            cursor.connection.end(keep=True)
    except BaseException:
        if began:
            cursor.connection.end(keep=False)
        raise
    if flag(options, "PURGE", False):
        for key in keys:
            if any(item.file == location.url(key) and item.status == "LOADED" for item in loaded):
                location.remove(key)
    if not loaded:
        return literal_rows([Column("status")], [("Copy executed with 0 files processed.",)])
    return literal_rows(_RESULT, [_row(item, on_error) for item in loaded])


def _check(kind: Format, on_error: OnError, match: str, select: exp.Expr | None, target: Target) -> None:
    if match not in {"NONE", "CASE_SENSITIVE", "CASE_INSENSITIVE"}:
        message = f"Invalid value '{match}' for parameter MATCH_BY_COLUMN_NAME"
        raise errors.error(errors.INVALID_OPTION, message)
    if select is not None and match != "NONE":
        raise errors.error(errors.INVALID_OPTION, "MATCH_BY_COLUMN_NAME cannot be used with a transformation")
    if select is not None and on_error.action == "CONTINUE":
        raise errors.unsupported("ON_ERROR = CONTINUE with a transformation", "Load first, then transform.")
    if kind.type == "CSV" and match != "NONE" and not kind.header:
        raise errors.error(errors.INVALID_OPTION, "MATCH_BY_COLUMN_NAME for CSV needs PARSE_HEADER = TRUE")
    if kind.header and kind.skip:
        raise errors.error(errors.INVALID_OPTION, "PARSE_HEADER and SKIP_HEADER exclude each other")
    if kind.type == "PARQUET" and match == "NONE" and select is None:
        if len(target.columns) == 1 and target.columns[0][1] == "JSON":
            raise errors.unsupported("loading Parquet into a VARIANT column", "Use MATCH_BY_COLUMN_NAME.")
        raise errors.error(
            (2019, "0A000"),
            "PARQUET file format can produce one and only one column of type variant, object, or array. Load data "
            "into separate columns using the MATCH_BY_COLUMN_NAME copy option or copy with transformation.",
        )


def _on_error(value: Any) -> OnError:
    text = str(value or "ABORT_STATEMENT").upper()
    if text in {"ABORT_STATEMENT", "CONTINUE", "SKIP_FILE"}:
        return OnError(text)
    if found := re.fullmatch(r"SKIP_FILE_(\d+)(%?)", text):
        return OnError("SKIP_FILE", float(found[1]), bool(found[2]))
    raise errors.error(
        errors.INVALID_OPTION,
        f"Invalid value '{value}' for ON_ERROR: use ABORT_STATEMENT, CONTINUE, SKIP_FILE, SKIP_FILE_<n> or "
        "'SKIP_FILE_<n>%'",
    )


def _target(cursor: "Cursor", statement: exp.Copy) -> Target:
    table = statement.find(exp.Table)
    connection = cursor.connection
    parts = [table.args.get(part) if table else None for part in ("catalog", "db", "this")]
    names = [normalise_ident(part.sql(dialect="snowflake")) if part else None for part in parts]
    database, schema, name = names[0] or connection.database, names[1] or connection.schema, names[2]
    if not (database and schema and name):
        raise errors.error((90105, "22000"), f"{FORM}: name the table's database and schema; the session has none.")
    found = cursor.run(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE upper(database_name) = upper(?)"
        " AND upper(schema_name) = upper(?) AND upper(table_name) = upper(?) ORDER BY column_index",
        [database, schema, name],
    ).fetchall()
    if not found:
        message = f"Table '{database}.{schema}.{name}' does not exist or not authorized."
        raise errors.error((2003, "42S02"), message)
    if isinstance(statement.this, exp.Schema):
        types = {column.upper(): type_ for column, type_ in found}
        chosen = [normalise_ident(item.sql(dialect="snowflake")) for item in statement.this.expressions]
        if missing := [column for column in chosen if column.upper() not in types]:
            raise errors.error((904, "42000"), f"invalid identifier '{missing[0]}' in {database}.{schema}.{name}")
        found = [(column, types[column.upper()]) for column in chosen]
    return Target(database, schema, name, tuple(found))


def _keys(location: storage.Location, options: dict[str, Any]) -> list[str]:
    if (files := options.get("FILES")) is not None:
        prefix = location.prefix if not location.prefix or location.prefix.endswith("/") else location.prefix + "/"
        keys = [prefix + name for name in files]
        for key in keys:
            if not location.exists(key):
                raise errors.error((100112, "22000"), f"Remote file '{location.url(key)}' was not found.")
        return keys
    pattern = options.get("PATTERN")
    keys = [file.key for file in location.files()]
    return sorted(key for key in keys if pattern is None or re.fullmatch(pattern, key))


def _load_file(
    cursor: "Cursor",
    url: str,
    path: Path,
    kind: Format,
    on_error: OnError,
    target: Target,
    select: exp.Expr | None,
    match: str,
) -> Loaded:
    try:
        if on_error.action == "ABORT_STATEMENT" or select is not None:
            loaded = _insert(cursor, path, kind, target, select, match)
            return Loaded(url, loaded, loaded)
        return _insert_good(cursor, url, path, kind, on_error, target, match)
    except (duckdb.InterruptException, duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        # Nothing that is wrong with the file.
        raise
    except duckdb.Error as failure:
        problem = _problem(failure)
        if on_error.action == "ABORT_STATEMENT":
            where = f" line {problem.line}," if problem.line else ""
            column = f' column "{problem.column}",' if problem.column else ""
            raise errors.error(
                errors.BAD_VALUE,
                f"{problem.message}\n  File '{url}',{where}{column} table {target.name}\n  If you would like to "
                "continue loading when an error is encountered, use other values such as 'SKIP_FILE' or 'CONTINUE' for "
                "the ON_ERROR option.",
            ) from failure
        return Loaded(url, 0, 0, 1, problem)


def _insert(cursor: "Cursor", path: Path, kind: Format, target: Target, select: exp.Expr | None, match: str) -> int:
    """Insert a whole file; the first row that does not fit raises DuckDB's error."""
    if select is not None:
        _source(cursor, path, kind, _width(cursor, path, kind))
        query = _transformation(cursor, select, kind)
    else:
        values = _values(cursor, path, kind, target, match)
        query = "SELECT " + ", ".join(f"CAST({value} AS {type_})" for value, (_, type_) in values) + f" FROM {_SOURCE}"
    columns = ", ".join(_quote(name) for name, _ in target.columns)
    return int(cursor.run(f"INSERT INTO {target.sql} ({columns}) {query}").fetchall()[0][0])


def _insert_good(
    cursor: "Cursor", url: str, path: Path, kind: Format, on_error: OnError, target: Target, match: str
) -> Loaded:
    """Insert the rows that fit, unless ON_ERROR leaves out a file with so many that do not."""
    values = _values(cursor, path, kind, target, match, tolerant=True)
    # A value that is there but becomes NULL in its column's type does not fit.
    wrong = [f"({value} IS NOT NULL AND TRY_CAST({value} AS {type_}) IS NULL)" for value, (_, type_) in values]
    is_wrong = " OR ".join(wrong) or "FALSE"
    rows, unfit = cursor.fetch(f"SELECT count(*), count(*) FILTER (WHERE {is_wrong}) FROM {_SOURCE}") or (0, 0)
    broken, first = _rejected(cursor, kind)
    parsed, errors_seen = rows + broken, unfit + broken
    if unfit and first is None:
        first = _first_unfit(cursor, values, wrong, kind)
    if on_error.skips(errors_seen, parsed):
        return Loaded(url, parsed, 0, errors_seen, first)
    columns = ", ".join(_quote(name) for name, _ in target.columns)
    # TRY_CAST, for DuckDB may cast before it filters.
    casts = ", ".join(f"TRY_CAST({value} AS {type_})" for value, (_, type_) in values)
    inserted = cursor.run(
        f"INSERT INTO {target.sql} ({columns}) SELECT {casts} FROM {_SOURCE} WHERE NOT ({is_wrong})"
    ).fetchall()
    return Loaded(url, parsed, int(inserted[0][0]), errors_seen, first)


def _first_unfit(cursor: "Cursor", values: list[Any], wrong: list[str], kind: Format) -> Problem:
    numbered = f"(SELECT *, row_number() OVER () AS _LINE FROM {_SOURCE})"
    found: list[tuple[int, str, str]] = []
    for (value, (name, type_)), condition in zip(values, wrong, strict=True):
        row = cursor.fetch(f"SELECT _LINE, {value}::VARCHAR FROM {numbered} WHERE {condition} ORDER BY _LINE LIMIT 1")
        if row is not None:
            found.append((int(row[0]), name, f"'{row[1]}' is not recognized as {type_}"))
    line, name, message = min(found)
    header = kind.skip + (1 if kind.header else 0)
    return Problem(message, line + header if kind.type == "CSV" else None, name)


def _source(cursor: "Cursor", path: Path, kind: Format, width: int, *, tolerant: bool = False) -> None:
    """Make the file readable as the view `_LOAD_SOURCE`; a CSV's columns are texts c0, c1, ….

    Args:
        cursor: The cursor that runs the statement.
        path: The local file.
        kind: Its format.
        width: How many columns a CSV line has to have.
        tolerant: Whether lines with other counts are set aside, not an error.
    """
    file = _text(str(path))
    if kind.type == "PARQUET":
        cursor.run(f"CREATE OR REPLACE TEMP VIEW {_SOURCE} AS SELECT * FROM read_parquet({file})")
        return
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(width))
    nulls = list(kind.nulls) + ([""] if kind.empty_is_null and "" not in kind.nulls else [])
    compression = kind.compression.lower()
    options = [
        "auto_detect = false",
        "header = false",
        f"columns = {{{columns}}}",
        f"skip = {kind.skip + (1 if kind.header else 0)}",
        f"delim = {_text(kind.delimiter)}",
        f"quote = {_text(kind.quote)}",
        f"escape = {_text(kind.quote)}",
        f"nullstr = [{', '.join(_text(null) for null in nulls)}]",
        "allow_quoted_nulls = false",
        f"compression = {_text(compression)}",
    ]
    if tolerant:
        cursor.run("DROP TABLE IF EXISTS temp.main._LOAD_REJECTS")
        cursor.run("DROP TABLE IF EXISTS temp.main._LOAD_SCANS")
        options += ["store_rejects = true", "rejects_table = '_LOAD_REJECTS'", "rejects_scan = '_LOAD_SCANS'"]
    read = f"read_csv({file}, {', '.join(options)})"
    if not tolerant:
        cursor.run(f"CREATE OR REPLACE TEMP VIEW {_SOURCE} AS SELECT * FROM {read}")
        return
    # A table, for each reading of a view would record the rejected lines again.
    cursor.run(f"DROP VIEW IF EXISTS temp.main.{_SOURCE}")
    cursor.run(f"CREATE OR REPLACE TEMP TABLE {_SOURCE}_ROWS AS SELECT * FROM {read}")
    cursor.run(f"CREATE OR REPLACE TEMP VIEW {_SOURCE} AS SELECT * FROM temp.main.{_SOURCE}_ROWS")


def _rejected(cursor: "Cursor", kind: Format) -> tuple[int, Problem | None]:
    if kind.type != "CSV":
        return 0, None
    count = cursor.fetch("SELECT count(DISTINCT line) FROM temp.main._LOAD_REJECTS")
    row = cursor.fetch("SELECT error_message, line, column_name FROM temp.main._LOAD_REJECTS ORDER BY line LIMIT 1")
    return (int(count[0]) if count else 0), (Problem(row[0].split("\n")[0], int(row[1]), row[2]) if row else None)


def _values(
    cursor: "Cursor", path: Path, kind: Format, target: Target, match: str, *, tolerant: bool = False
) -> list[tuple[str, tuple[str, str]]]:
    """Return for each column of the table the expression over `_LOAD_SOURCE` that fills it."""
    if match == "NONE":
        _source(cursor, path, kind, len(target.columns), tolerant=tolerant)
        values = [f"c{number}" for number in range(len(target.columns))]
    else:
        names = _names(cursor, path, kind)
        _source(cursor, path, kind, len(names), tolerant=tolerant)
        fold = (lambda name: name) if match == "CASE_SENSITIVE" else str.upper
        places = {fold(name): number for number, name in enumerate(names)}
        values = []
        for name, _ in target.columns:
            number = places.get(fold(name))
            if number is None:
                values.append("NULL")
            else:
                values.append(f"c{number}" if kind.type == "CSV" else _quote(names[number]))
    if kind.trim:
        values = [value if value == "NULL" else f"trim({value})" for value in values]
    return list(zip(values, target.columns, strict=True))


def _names(cursor: "Cursor", path: Path, kind: Format) -> list[str]:
    """Return the column names of a Parquet file or of a CSV's header line."""
    if kind.type == "PARQUET":
        return [row[0] for row in cursor.run(f"DESCRIBE SELECT * FROM read_parquet({_text(str(path))})").fetchall()]
    width = _width(cursor, path, kind)
    without_header = Format(**{**kind.__dict__, "header": False})
    _source(cursor, path, without_header, width)
    row = cursor.fetch(f"SELECT * FROM {_SOURCE} LIMIT 1")
    return [str(name) for name in row or ()]


def _width(cursor: "Cursor", path: Path, kind: Format) -> int:
    """Return how many fields the first line of a CSV has; 0 for Parquet."""
    if kind.type == "PARQUET":
        return 0
    sample = cursor.run(
        f"DESCRIBE SELECT * FROM read_csv({_text(str(path))}, all_varchar = true, header = false, sample_size = 1,"
        f" delim = {_text(kind.delimiter)}, quote = {_text(kind.quote)}, escape = {_text(kind.quote)},"
        f" skip = {kind.skip})"
    )
    return len(sample.fetchall())


def _transformation(cursor: "Cursor", select: exp.Expr, kind: Format) -> str:
    """Translate `SELECT $1, …` (CSV) or `SELECT $1:name, …` (Parquet) into a query over `_LOAD_SOURCE`."""

    def column(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.JSONExtract) and isinstance(node.this, exp.Parameter) and kind.type == "PARQUET":
            keys = [part for part in node.expression.expressions if isinstance(part, exp.JSONPathKey)]
            if node.this.name != "1" or len(keys) != 1:
                raise NotImplementedError(f"{FORM} with {node.sql('snowflake')}: only $1:column")
            return exp.column(exp.to_identifier(keys[0].this, quoted=True))
        if isinstance(node, exp.Parameter):
            if kind.type == "PARQUET":
                raise NotImplementedError(f"{FORM} with {node.sql('snowflake')} for Parquet: only $1:column")
            return exp.column(f"c{int(node.name) - 1}")
        return node

    read = select.copy().transform(column)
    read.args["from_"].set("this", exp.to_table(_SOURCE))
    # Names only: fakesnow's check wants a database for the view, which is temporary and has none.
    return cursor.translate(read)


def _history(cursor: "Cursor", target: Target) -> set[str]:
    rows = cursor.run(
        f"SELECT file_name FROM {_quote(target.database)}._fs_information_schema._fs_load_history"
        " WHERE schema_name = ? AND table_name = ? AND status IN ('LOADED', 'PARTIALLY_LOADED')",
        [target.schema, target.name],
    ).fetchall()
    return {row[0] for row in rows}


def _record(cursor: "Cursor", target: Target, loaded: list[Loaded]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for item in loaded:
        if item.skipped:
            continue
        first = item.first or Problem("")
        message = first.message or None
        cursor.run(
            f"INSERT INTO {_quote(target.database)}._fs_information_schema._fs_load_history"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(target.schema, item.file, target.name, now, item.status, item.loaded, item.parsed),
                *(message, first.line, None, first.column, item.errors, None),
            ],
        )


def _row(item: Loaded, on_error: OnError) -> tuple[Any, ...]:
    limit = item.parsed if on_error.action == "CONTINUE" else int(on_error.limit)
    first = item.first or Problem("")
    counts = (item.file, item.status, item.parsed, item.loaded, limit, item.errors)
    return (*counts, first.message or None, first.line, None, first.column)


def _problem(failure: duckdb.Error) -> Problem:
    """Read line and column out of DuckDB's message."""
    text = str(failure)
    line = re.search(r"Line: (\d+)", text)
    column = re.search(r"column \"?(\w+)\"?", text)
    return Problem(text.split("\n")[0], int(line[1]) if line else None, column[1] if column else None)


def _quote(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _text(value: str) -> str:
    return exp.Literal.string(value).sql("duckdb")
