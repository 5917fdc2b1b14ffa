"""Parquet files in the landing zone: what their footers say, and what is wrong with them, before any row is read."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from include.jobs import lake
from include.jobs.lake import ChangedFileError
from include.jobs.source_files import FaultError

_TAIL = 1 << 16
_GONE = ("NoSuchKey", "PreconditionFailed", "404")


def rows(s3: Any, bucket: str, file: Mapping[str, Any], columns: pa.Schema, optional: tuple[str, ...] = ()) -> int:
    """The number of rows of a file, if it can be loaded.

    Args:
        s3: A client.
        bucket: The lake.
        file: key, etag and bytes.
        columns: What it must have; others are left alone.
        optional: Those of them that it may lack.

    Raises:
        FaultError: it can't; the message says why.
        ChangedFileError: it is gone, or another one.
    """
    footer = _footer(s3, bucket, file)
    schema = footer.schema.to_arrow_schema()
    for wanted in columns:
        found = [field for field in schema if field.name == wanted.name]
        if not found and wanted.name not in optional:
            raise FaultError(f"it has no column {wanted.name}, only {', '.join(schema.names) or 'none at all'}")
        if len(found) > 1:
            raise FaultError(f"it has the column {wanted.name} more than once")
        if found and not _fits(found[0].type, wanted.type):
            raise FaultError(f"{wanted.name} is {found[0].type}, it must be {wanted.type}")
    return footer.num_rows


def require_readable(s3: Any, bucket: str, file: Mapping[str, Any], columns: pa.Schema) -> None:
    """Reads a file to its end, on this machine, which takes long: for when an engine could not.

    Args:
        s3: A client.
        bucket: The lake.
        file: key, etag and bytes.
        columns: What is read of it, as far as it is there.

    Raises:
        FaultError: it can't be read; the message says why.
        ChangedFileError: it is gone, or another one.
    """
    with TemporaryDirectory() as scratch:
        copy = Path(scratch, "file")
        lake.download(s3, bucket, file["key"], file["etag"], copy)
        try:
            with pq.ParquetFile(copy) as parquet:
                there = [name for name in columns.names if name in parquet.schema_arrow.names]
                for _ in parquet.iter_batches(columns=there):
                    pass
        except (pa.ArrowException, OSError) as error:
            raise FaultError(f"the Parquet file is broken: {str(error).partition(chr(10))[0]}") from error


def require_unchanged(s3: Any, bucket: str, file: Mapping[str, Any]) -> None:
    """Raises ChangedFileError where a file is no longer the one of its etag, so that what was read may be another."""
    try:
        s3.head_object(Bucket=bucket, Key=file["key"], IfMatch=f'"{file["etag"]}"')
    except ClientError as error:
        raise _explained(error, file) from error


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    return found == wanted or (pa.types.is_string(wanted) and pa.types.is_large_string(found))


def _footer(s3: Any, bucket: str, file: Mapping[str, Any]) -> pq.FileMetaData:
    tail = _last(s3, bucket, file, _TAIL)
    if len(tail) < 12 or tail[-4:] != b"PAR1":
        raise FaultError("it is no Parquet file, or cut off")
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if size > len(tail):
        tail = _last(s3, bucket, file, size)
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowInvalid, OSError) as error:
        raise FaultError(f"the Parquet file is broken: {str(error).partition(chr(10))[0]}") from error


def _last(s3: Any, bucket: str, file: Mapping[str, Any], size: int) -> bytes:
    if not file["bytes"]:
        raise FaultError("the file is empty")
    key, etag = file["key"], f'"{file["etag"]}"'
    try:
        return s3.get_object(Bucket=bucket, Key=key, IfMatch=etag, Range=f"bytes=-{size}")["Body"].read()
    except ClientError as error:
        raise _explained(error, file) from error


def _explained(error: ClientError, file: Mapping[str, Any]) -> Exception:
    if error.response["Error"]["Code"] not in (*_GONE, "412"):
        return error
    return ChangedFileError(f"{file['key']} was replaced or removed after the run was planned: plan it again")
