"""What a version's Parquet files hold, read from S3 without bringing them here: footers, and the columns asked for."""

import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.tables import versions


class UnreadableError(ValueError):
    """A published file can't be read; the message names it."""


class Totals(NamedTuple):
    """Rows of a version, and the sum of each column that was asked for."""

    rows: int
    sums: dict[str, Decimal]


class _Object(io.RawIOBase):
    """An object of S3 as a file that is read where it is needed."""

    def __init__(self, s3: Any, bucket: str, key: str, size: int) -> None:
        self._s3, self._bucket, self._key, self._size, self._at = s3, bucket, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        wanted = f"bytes={self._at}-{end - 1}"
        data = self._s3.get_object(Bucket=self._bucket, Key=self._key, Range=wanted)["Body"].read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _opened(s3: Any, location: str) -> Iterator[pq.ParquetFile]:
    bucket, _ = versions.split(location)
    for file in versions.files(s3, location):
        if file.key.endswith(".parquet"):
            # Most files are small: one request brings the whole of them.
            raw = _Object(s3, bucket, file.key, file.size)
            try:
                opened = pq.ParquetFile(io.BufferedReader(raw, min(file.size, 2**20) or 1))
            except pa.ArrowInvalid as error:
                raise UnreadableError(f"s3://{bucket}/{file.key} is no whole Parquet file: {error}") from error
            with opened:
                yield opened


def names(s3: Any, location: str) -> list[str]:
    """Names of the columns of the first file, in its order; none where there is no file."""
    for file in _opened(s3, location):
        return list(file.schema_arrow.names)
    return []


def totals(s3: Any, location: str, sums: Sequence[str] = ()) -> Totals:
    """Counts rows and adds up columns.

    Args:
        s3: a boto3 S3 client.
        location: s3:// prefix of a version.
        sums: names of decimal columns.
    """
    rows, found = 0, {name: Decimal(0) for name in sums}
    for file in _opened(s3, location):
        rows += file.metadata.num_rows
        for batch in file.iter_batches(columns=list(sums)) if sums else ():
            for name in sums:
                column = pc.cast(batch.column(name), pa.decimal128(38, batch.schema.field(name).type.scale))
                found[name] += pc.sum(column).as_py() or 0
    return Totals(rows, found)
