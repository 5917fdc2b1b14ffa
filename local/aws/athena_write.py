"""What queries write into the lake: the files of CREATE TABLE AS, INSERT INTO and UNLOAD.

Files are written beside the lake and moved into it when all of them are complete.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb

from local.aws import s3
from local.aws.athena_errors import QueryFailed, unsupported
from local.aws.athena_tables import NO_VALUE, identifier, quoted

MOST_PARTITIONS = 100
"""The most partitions that one Athena query writes."""

_PARQUET_CODECS = {
    "GZIP": "gzip",
    "SNAPPY": "snappy",
    "ZSTD": "zstd",
    "NONE": "uncompressed",
    "UNCOMPRESSED": "uncompressed",
}
_SUFFIXES = {"parquet": ".parquet", "text": ".csv", "json": ".json"}


@dataclass(frozen=True)
class Layout:
    """How rows become files.

    Attributes:
        format: ``parquet``, ``text`` or ``json``.
        keys: The columns that become folders; the last ones of the query.
        compression: Athena's name, e.g. ``SNAPPY``; ``None`` is the default of the format.
        delimiter: Between the fields of text.
        null: What text has for NULL.
    """

    format: str
    keys: tuple[str, ...] = ()
    compression: str | None = None
    delimiter: str = "\x01"
    null: str = "\\N"


@dataclass(frozen=True)
class Written:
    """Rows of one query as files that are not yet in the lake.

    Attributes:
        rows: How many.
        partitions: The staged files by the values of the keys; one entry without values where there are no keys.
    """

    rows: int
    partitions: dict[tuple[str | None, ...], list[Path]]


def stage(connection: duckdb.DuckDBPyConnection, sql: str, layout: Layout, folder: Path, stem: str) -> Written:
    """Run a query and write its rows beside the lake.

    Args:
        connection: Where the query runs.
        sql: The query, in DuckDB's SQL.
        layout: How.
        folder: Where; it is created.
        stem: The files' names start with it.

    Raises:
        QueryFailed: More than 100 partitions, or an unknown compression.
    """
    folder.mkdir(parents=True)
    options = [*_options(layout)]
    suffix = _SUFFIXES[layout.format] + (".gz" if "COMPRESSION gzip" in options and layout.format != "parquet" else "")
    target = folder / f"{stem}{suffix}"
    if layout.keys:
        target = folder
        options += [
            f"PARTITION_BY ({', '.join(identifier(key) for key in layout.keys)})",
            f"FILENAME_PATTERN {quoted(stem + '_{i}')}",
            f"FILE_EXTENSION {quoted(suffix.removeprefix('.'))}",
            "OVERWRITE_OR_IGNORE true",
        ]
    row = connection.execute(f"COPY ({sql}) TO {quoted(str(target))} ({', '.join(options)})").fetchone()
    partitions: dict[tuple[str | None, ...], list[Path]] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        values = [unquote(part.partition("=")[2]) for part in file.relative_to(folder).parts[:-1]]
        key = tuple(None if value == NO_VALUE else value for value in values)
        partitions.setdefault(key, []).append(file)
    if len(partitions) > MOST_PARTITIONS:
        raise QueryFailed(
            "HIVE_TOO_MANY_OPEN_PARTITIONS", f"Exceeded limit of {MOST_PARTITIONS} open writers for partitions/buckets"
        )
    return Written(row[0] if row else 0, partitions)


def _options(layout: Layout) -> list[str]:
    codec = (layout.compression or "GZIP").upper()
    if layout.format == "parquet":
        if codec not in _PARQUET_CODECS:
            raise unsupported(f"The compression {codec} of Parquet", ", ".join(_PARQUET_CODECS))
        return ["FORMAT parquet", f"COMPRESSION {_PARQUET_CODECS[codec]}"]
    if codec not in ("GZIP", "NONE", "UNCOMPRESSED"):
        raise unsupported(f"The compression {codec} of {layout.format}", "GZIP, NONE")
    compression = f"COMPRESSION {'gzip' if codec == 'GZIP' and layout.compression is not None else 'uncompressed'}"
    if layout.format == "json":
        return ["FORMAT json", compression]
    return [
        "FORMAT csv",
        "HEADER false",
        f"DELIMITER {quoted(layout.delimiter)}",
        "QUOTE ''",
        "ESCAPE ''",
        f"NULLSTR {quoted(layout.null)}",
        compression,
    ]


def move(found: list[Path], location: str) -> list[str]:
    """Move staged files to a location of the lake.

    Returns:
        Their S3 URIs.
    """
    folder = s3.path_of(location)
    folder.mkdir(parents=True, exist_ok=True)
    for file in found:
        shutil.move(file, folder / file.name)
    s3.adopt(*s3.split(location.rstrip("/") + "/"))
    return [f"{location.rstrip('/')}/{file.name}" for file in found]


def folder_name(keys: tuple[str, ...], values: tuple[str | None, ...]) -> str:
    """``key=value/…/`` as Hive writes it."""
    parts = (f"{key}={_escape(NO_VALUE if value is None else value)}" for key, value in zip(keys, values, strict=True))
    return "".join(f"{part}/" for part in parts)


_ESCAPED = set("\"#%'*/:=?\\{[]^") | {chr(code) for code in (*range(1, 32), 127)}


def _escape(value: str) -> str:
    return "".join(f"%{ord(character):02X}" if character in _ESCAPED else character for character in value)
