"""Small files to few: the same rows in the same order, folder by folder, and compared with what was read."""

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import arguments, lake
from include.tables import versions

ROWS = 131_072
"""Rows of a row group, and of what is held in memory at once."""
COMPRESSION = "zstd"


class SchemaError(ValueError):
    """The files of a folder have different columns, so they can't become one; the message names the file."""


def compact(s3: Any, source: str, target: str) -> dict[str, Any]:
    """Writes the Parquet files below a prefix as one file for each folder, below another prefix.

    Args:
        s3: a boto3 S3 client.
        source: s3:// prefix, with a slash at the end.
        target: s3:// prefix that nothing lies below.

    Returns:
        source, target, rows_in, rows_out, files_in, files_out and equal: whether what was written, read again, has the
        rows that were read, in their order.

    Raises:
        SchemaError: the files of a folder have different columns.
        FileExistsError: something lies below the target.
        FileNotFoundError: nothing lies below the source.
    """
    if versions.files(s3, target):
        raise FileExistsError(f"{target} is not empty: give every try a target of its own")
    bucket, prefix = versions.split(source)
    keys = [file.key for file in versions.files(s3, source) if file.key.endswith(".parquet")]
    if not keys:
        raise FileNotFoundError(f"no Parquet file below {source}")
    rows_in = rows_out = files_out = 0
    equal = True
    for folder, found in groupby(keys, key=lambda key: key.removeprefix(prefix).rpartition("/")[0]):
        place = f"{target}{folder}/part-0.parquet" if folder else f"{target}part-0.parquet"
        with TemporaryDirectory() as scratch:
            files = [_download(s3, bucket, key, Path(scratch) / f"{number}") for number, key in enumerate(found)]
            whole = Path(scratch) / "whole"
            _write(files, whole)
            lake.upload(s3, whole, place)
            written = _download(s3, *versions.split(place), Path(scratch) / "written")
            rows_in += sum(pq.read_metadata(file).num_rows for file in files)
            rows_out += pq.read_metadata(written).num_rows
            equal = equal and same_rows(files, [written])
        files_out += 1
        print(f"{folder or '.'}: {len(files)} files", flush=True)
    counts = {"rows_in": rows_in, "rows_out": rows_out, "files_in": len(keys), "files_out": files_out}
    return {"source": source, "target": target, **counts, "equal": equal}


def same_rows(left: Sequence[Path], right: Sequence[Path]) -> bool:
    """Whether files have the same rows in the same order, however they are cut into files and row groups."""
    pairs = zip_longest(_even(left), _even(right))
    return all(one is not None and other is not None and one.equals(other) for one, other in pairs)


def _write(files: Sequence[Path], whole: Path) -> None:
    schema = pq.read_schema(files[0])
    for file in files[1:]:
        if not pq.read_schema(file).equals(schema):
            raise SchemaError(f"the {len(files)} files of a folder have different columns: {file.name} differs")
    with pq.ParquetWriter(whole, schema, compression=COMPRESSION) as out:
        for rows in _even(files):
            out.write_table(rows, row_group_size=ROWS)


def _even(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of files, as tables of `ROWS` rows but for the last."""
    held: list[pa.Table] = []
    count = 0
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=ROWS):
                held.append(pa.Table.from_batches([batch]))
                count += batch.num_rows
                while count >= ROWS:
                    rows = pa.concat_tables(held).combine_chunks()
                    yield rows.slice(0, ROWS)
                    held, count = [rows.slice(ROWS)], count - ROWS
    if count:
        yield pa.concat_tables(held).combine_chunks()


def _download(s3: Any, bucket: str, key: str, target: Path) -> Path:
    s3.download_file(bucket, key, str(target))
    return target


def main() -> None:
    """Runs the job."""
    given = arguments.read("source", "target", "report")
    s3 = lake.client()
    lake.write_json(s3, given.report, compact(s3, given.source, given.target))


if __name__ == "__main__":
    main()
