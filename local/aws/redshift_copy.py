"""COPY and UNLOAD of the local Redshift: between its tables and the files of the local S3."""

# ruff: noqa: S608 -- a query engine builds SQL: names and texts are quoted.

import contextlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from sqlglot.tokens import Token, TokenType

from local.aws import s3
from local.aws.athena_tables import identifier, lake, quoted, uri_of
from local.aws.redshift_errors import QueryFailed, unsupported
from local.aws.redshift_sql import tokens
from local.aws.redshift_tables import Column
from local.aws.settings import current

_ROLE = re.compile(r"default|arn:aws[\w-]*:iam::\d{12}:role/\S+")

# The types of values in a Parquet file that a column takes. Redshift widens nothing: an INT64 is no INTEGER.
_LOADABLE = {
    "SMALLINT": ("SMALLINT", "TINYINT", "UTINYINT"),
    "INTEGER": ("INTEGER", "SMALLINT", "TINYINT", "UTINYINT", "USMALLINT"),  # all are INT32 in the file
    "BIGINT": ("BIGINT", "UINTEGER"),
    "FLOAT": ("FLOAT",),
    "DOUBLE": ("DOUBLE",),
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE",),
    "TIMESTAMP": ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"),
    "TIME": ("TIME",),
    "VARCHAR": ("VARCHAR",),
}


@dataclass
class Copy:
    """A COPY.

    Attributes:
        schema: Of the table, where one is written.
        table: The target.
        columns: Those to load, all where none are written.
        source: ``s3://bucket/prefix``.
        options: The others, by upper-case name.
    """

    schema: str | None = None
    table: str = ""
    columns: list[str] = field(default_factory=list)
    source: str = ""
    options: dict[str, str] = field(default_factory=dict)


@dataclass
class Unload:
    """An UNLOAD: the text of its query, the prefix that it writes to, and its options."""

    query: str
    target: str
    options: dict[str, str]


class _Words:
    """The words of a statement, one after the other."""

    def __init__(self, sql: str) -> None:
        self._left = tokens(sql)

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def upper(self) -> str:
        """The next word; empty for a string and at the end."""
        is_word = self._left and self._left[0].token_type is not TokenType.STRING
        return self._left[0].text.upper() if is_word else ""

    def take(self, *wanted: str) -> Token:
        token = self._left.pop(0) if self._left else None
        if token is None or (wanted and token.text.upper() not in wanted):
            near = token.text if token else "end of input"
            raise QueryFailed(f'syntax error at or near "{near}"' + (f": expected {wanted[0]}" if wanted else ""))
        return token

    def skip(self, *words: str) -> bool:
        found = self.upper in words
        if found:
            self.take()
        return found

    def string(self) -> str:
        token = self.take()
        if token.token_type is not TokenType.STRING:
            raise QueryFailed(f'syntax error at or near "{token.text}": expected a string')
        return token.text

    def role(self) -> str:
        """The value of IAM_ROLE."""
        role = "default" if self.skip("DEFAULT") else self.string()
        if not _ROLE.fullmatch(role):
            raise QueryFailed(f"Invalid IAM role {role!r}: write default or 'arn:aws:iam::<account>:role/<name>'")
        return role


_COPY_STRINGS = {"DELIMITER": "CSV", "QUOTE": "CSV", "NULL": "CSV", "REGION": "CSV", "DATEFORMAT": "CSV",
                 "TIMEFORMAT": "CSV"}  # fmt: skip
_COPY_FLAGS = {"GZIP": "CSV", "EMPTYASNULL": "CSV", "BLANKSASNULL": "CSV"}


def parse_copy(sql: str) -> Copy:
    """Understand a COPY.

    Raises:
        QueryFailed: A syntax error, or an option that isn't done here.
    """
    words = _Words(sql)
    words.take("COPY")
    found = Copy(table=words.take().text.lower())
    if words.skip("."):
        found.schema, found.table = found.table, words.take().text.lower()
    if words.skip("("):
        while not words.skip(")"):
            found.columns.append(words.take().text.lower())
            words.skip(",")
    words.take("FROM")
    found.source = words.string()
    options = found.options
    while words:
        option = words.take().text.upper()
        if option == "IAM_ROLE":
            options["IAM_ROLE"] = words.role()
        elif option in ("FORMAT", "CSV", "PARQUET"):
            words.skip("AS")
            options["FORMAT"] = words.take().text.upper() if option == "FORMAT" else option
        elif option in _COPY_STRINGS:
            words.skip("AS")
            options[option] = words.string()
        elif option == "IGNOREHEADER":
            words.skip("AS")
            options[option] = words.take().text
        elif option in ("COMPUPDATE", "STATUPDATE"):
            words.skip("ON", "OFF", "TRUE", "FALSE", "PRESET")
        elif option in _COPY_FLAGS:
            options[option] = ""
        else:
            raise unsupported(f"COPY with {option}", "it takes IAM_ROLE, FORMAT AS PARQUET and the usual of CSV")
    if "IAM_ROLE" not in options:
        raise QueryFailed("COPY from S3 needs credentials: write IAM_ROLE default or IAM_ROLE 'arn:…'")
    kind = options.setdefault("FORMAT", "TEXT")
    if kind not in ("PARQUET", "CSV"):
        raise unsupported(f"COPY of {'delimited text' if kind == 'TEXT' else kind}", "it loads PARQUET and CSV")
    for option in options:
        if kind == "PARQUET" and (_COPY_STRINGS | _COPY_FLAGS | {"IGNOREHEADER": "CSV"}).get(option):
            raise QueryFailed(f"{option} argument is not supported for PARQUET based COPY")
    for option in ("DATEFORMAT", "TIMEFORMAT"):
        if options.get(option, "auto").lower() != "auto":
            raise unsupported(f"COPY with {option} '{options[option]}'", "it takes 'auto'")
    return found


def parse_unload(sql: str) -> Unload:
    """Understand an UNLOAD.

    Raises:
        QueryFailed: A syntax error, or an option that isn't done here.
    """
    words = _Words(sql[len("UNLOAD") :])  # sqlglot reads what follows this word as one string
    words.take("(")
    query = words.string()
    words.take(")")
    words.take("TO")
    target, options = words.string(), {"FORMAT": "TEXT", "PARALLEL": "ON"}
    while words:
        option = words.take().text.upper()
        if option == "IAM_ROLE":
            options[option] = words.role()
        elif option in ("FORMAT", "CSV", "PARQUET"):
            words.skip("AS")
            options["FORMAT"] = words.take().text.upper() if option == "FORMAT" else option
        elif option == "PARALLEL":
            options[option] = words.take("ON", "OFF", "TRUE", "FALSE").text.upper()
        elif option in ("HEADER", "ALLOWOVERWRITE", "CLEANPATH", "GZIP"):
            options[option] = ""
        else:
            raise unsupported(f"UNLOAD with {option}")
    if "IAM_ROLE" not in options:
        raise QueryFailed("UNLOAD to S3 needs credentials: write IAM_ROLE default or IAM_ROLE 'arn:…'")
    if options["FORMAT"] not in ("PARQUET", "CSV"):
        raise unsupported(f"UNLOAD as {options['FORMAT']}", "it writes PARQUET and CSV")
    if options["FORMAT"] == "PARQUET" and options.keys() & {"HEADER", "GZIP"}:
        raise QueryFailed("HEADER and GZIP are not supported for PARQUET based UNLOAD")
    return Unload(query, target, options)


# ---------------------------------------------------------------------------------------------------------------- files


def sources(uri: str) -> list[Path]:
    """The files whose keys start with a prefix (``…/v=1`` is also the beginning of ``…/v=10/``), without empty ones.

    Raises:
        QueryFailed: There are none.
    """
    try:
        bucket, prefix = s3.split(uri)
        folder = s3.path(bucket, prefix.rpartition("/")[0])
    except (ValueError, s3.S3ClientError) as error:
        raise QueryFailed(f"Invalid S3 path {uri!r}: {error}") from error
    if bucket not in s3.backend().buckets:
        raise QueryFailed(
            f"S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket: {bucket}"
        )
    root = s3.path(bucket)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    matching = [path for path in found if path.relative_to(root).as_posix().startswith(prefix) and path.stat().st_size]
    if not matching:
        raise QueryFailed(f"The specified S3 prefix '{prefix}' does not exist: no file below {uri}")
    return matching


def load(
    cursor: duckdb.DuckDBPyConnection, copy: Copy, target: str, columns: list[Column], check: Callable[[], None]
) -> int:
    """Insert the rows of a COPY's files, within the current transaction.

    Args:
        cursor: The connection.
        copy: What to load.
        target: SQL of the table's name.
        columns: Those to load, in the order of the files' columns.
        check: Raises when somebody cancelled the statement.

    Returns:
        The number of rows.

    Raises:
        QueryFailed: A file's columns are not the table's, or a value can't be one of its column.
    """
    files = sources(copy.source)
    batches = _parquet(cursor, files, columns) if copy.options["FORMAT"] == "PARQUET" else [_csv(copy, files, columns)]
    names = ", ".join(identifier(column.name) for column in columns)
    rows = 0
    for relation in batches:
        check()
        inserted = cursor.execute(f"INSERT INTO {target} ({names}) {relation}").fetchone()
        rows += inserted[0] if inserted else 0
    return rows


def _list(files: list[Path]) -> str:
    return f"[{', '.join(quoted(str(file)) for file in files)}]"


def _parquet(cursor: duckdb.DuckDBPyConnection, files: list[Path], columns: list[Column]) -> Iterator[str]:
    """A query per shape of file; Redshift maps columns by position, so the names in files may differ."""
    shapes: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for file in files:
        try:
            described = cursor.execute(
                f"DESCRIBE SELECT * FROM read_parquet({_list([file])}, hive_partitioning = false)"
            ).fetchall()
        except duckdb.InvalidInputException as error:
            raise QueryFailed(f"Spectrum Scan Error: {uri_of(file)} is not a Parquet file: {error}") from error
        shapes.setdefault(tuple((name, kind) for name, kind, *_ in described), []).append(file)
    for shape, alike in shapes.items():
        _check_shape(shape, columns, uri_of(alike[0]))
    for shape, alike in shapes.items():
        names = ", ".join(f"c{number}" for number in range(len(shape)))
        values = ", ".join(f"CAST(c{number} AS {column.type})" for number, column in enumerate(columns))
        yield f"SELECT {values} FROM read_parquet({_list(alike)}, hive_partitioning = false) AS file({names})"


def _check_shape(shape: tuple[tuple[str, str], ...], columns: list[Column], uri: str) -> None:
    if len(shape) != len(columns):
        raise QueryFailed(
            "Spectrum Scan Error: Unmatched number of columns between table and file. "
            f"Table columns: {len(columns)}, Data columns: {len(shape)}, File name: {uri}"
        )
    for (name, kind), column in zip(shape, columns, strict=True):
        if not _loadable(kind, column.type):
            raise QueryFailed(
                f"Spectrum Scan Error: File '{uri}' has an incompatible Parquet schema for column '{column.name}'. "
                f"Column type: {column.shown}, Parquet schema: {kind} {name}"
            )


def _loadable(kind: str, wanted: str) -> bool:
    sizes = [re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", each) for each in (kind, wanted)]
    if sizes[0] and sizes[1]:
        return int(sizes[0][1]) <= int(sizes[1][1]) and sizes[0][2] == sizes[1][2]
    return kind in _LOADABLE.get(wanted, ())


def _csv(copy: Copy, files: list[Path], columns: list[Column]) -> str:
    options = copy.options
    texts = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(columns)))
    values = []
    for number, column in enumerate(columns):
        value = f"c{number}"
        if "BLANKSASNULL" in options:
            value = f"CASE WHEN trim({value}) <> '' OR {value} = '' THEN {value} END"
        if column.type != "VARCHAR" or "EMPTYASNULL" in options:
            value = f"nullif({value}, '')"
        values.append(f"CAST({value} AS {column.type})")
    zipped = "gzip" if "GZIP" in options else "none"
    read = [
        f"{_list(files)}, columns = {{{texts}}}, auto_detect = false, header = false, hive_partitioning = false",
        f"delim = {quoted(options.get('DELIMITER', ','))}, quote = {quoted(options.get('QUOTE', chr(34)))}",
        f"escape = {quoted(options.get('QUOTE', chr(34)))}, skip = {int(options.get('IGNOREHEADER', 0))}",
        f"nullstr = {quoted(options.get('NULL', chr(92) + 'N'))}, compression = '{zipped}'",
    ]
    return f"SELECT {', '.join(values)} FROM read_csv({', '.join(read)})"


def unload(cursor: duckdb.DuckDBPyConnection, wanted: Unload, query: str, check: Callable[[], None]) -> int:
    """Write a query's rows as one object.

    Args:
        cursor: The connection.
        wanted: Where to and how.
        query: The translated query, every column of a type that files know.
        check: Raises when somebody cancelled the statement.

    Returns:
        The number of rows.

    Raises:
        QueryFailed: There already is something, or no such bucket.
    """
    options = wanted.options
    if "CLEANPATH" in options:
        raise unsupported("UNLOAD with CLEANPATH")
    with contextlib.suppress(QueryFailed):
        if sources(wanted.target) and "ALLOWOVERWRITE" not in options:
            raise FileExistsError
    bucket, _ = s3.split(wanted.target)
    if bucket not in s3.backend().buckets:
        sources(wanted.target)
    extension = {"PARQUET": ".parquet", "CSV": ".csv"}[options["FORMAT"]]
    part = "000" if options["PARALLEL"] in ("OFF", "FALSE") else "0000_part_00"
    staged = staging() / f"{uuid.uuid4()}{extension}"
    how = "FORMAT parquet, COMPRESSION snappy"
    if options["FORMAT"] == "CSV":
        zipped = "GZIP" in options
        extension += ".gz" if zipped else ""
        how = f"FORMAT csv, HEADER {'HEADER' in options}, COMPRESSION {'gzip' if zipped else 'none'}"
    try:
        written = cursor.execute(f"COPY ({query}) TO {quoted(str(staged))} ({how})").fetchone()
        check()
        key = s3.split(f"{wanted.target}{part}{extension}")[1]
        contents = s3.Contents(staged)
        try:
            s3.backend().put_object(bucket, key, contents)
        finally:
            contents.close()
    finally:
        staged.unlink(missing_ok=True)
    return written[0] if written else 0


def staging() -> Path:
    """Where unloaded files are before they are whole."""
    folder = current().state / "redshift" / ".staging"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def allowed() -> list[str]:
    """The folders that statements may reach: the lake and the staging folder."""
    return [str(lake()), str(staging())]


def clear() -> None:
    """Remove what a crash left behind."""
    shutil.rmtree(staging(), ignore_errors=True)
