"""Landing to bronze: delivered files become typed Parquet, one row for each row of a file that can be read.

A delivery is all files of one table and day. Its version is built as a whole from the files that the job is given:
sound ones are loaded, others quarantined with the reason, known ones skipped. Runs on the driver with PyArrow, whatever
the engine: a gzip file can't be split anyway.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import arguments, lake, source_files
from include.jobs.source_files import FaultError
from include.transforms import bronze
from include.transforms.bronze import PROVENANCE
from include.transforms.screening import Table
from include.transforms.silver import TABLES

DELIVERIES = pa.schema(
    [
        ("source_file", pa.string()),
        ("bytes", pa.int64()),
        ("etag", pa.string()),
        ("landed_at", pa.timestamp("us")),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("rows", pa.int64()),
        ("rejected", pa.int64()),
    ]
)
"""Columns of the table `deliveries`, beside its partition keys."""

_PROVENANCE_TYPES = {"source_file": pa.string(), "row_number": pa.int64(), "load_time": pa.timestamp("us")}


@dataclass(frozen=True)
class Landed:
    """A file that was delivered: what the job is given.

    Attributes:
        table: What its rows are of; "unknown" where its name tells none.
        key: Its key in the lake.
        load_date: Day of the delivery.
        landed_at: When it landed, ISO 8601.
        bytes: Its size.
        etag: S3's tag of its content.
        skip: Why it is to be left out, if it is.
    """

    table: str
    key: str
    load_date: str
    landed_at: str
    bytes: int
    etag: str
    skip: str | None = None

    @property
    def load_time(self) -> datetime:
        """When it landed, UTC, without a zone."""
        moment = datetime.fromisoformat(self.landed_at)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        source_file: Its key.
        status: "loaded", "skipped" or "quarantined".
        reason: Why it was not loaded; of a loaded file, what is unusual about it.
        rows: Rows in the file; 0 where it was not loaded.
        rejected: Rows of it that can't be read, and are in quarantine.
    """

    source_file: str
    status: str
    reason: str | None = None
    rows: int = 0
    rejected: int = 0


@cache
def schema(table: str) -> pa.Schema:
    """The columns of a table in bronze."""
    return _empty(table).accepted.to_native().schema


@cache
def quarantine_schema(table: str) -> pa.Schema:
    """The columns of a table's rejected rows."""
    return _empty(table).rejected.to_native().schema


def _empty(table: str) -> bronze.Bronze:
    fields = {field.source: pa.string() for field in TABLES[table].fields}
    return bronze.typed(TABLES[table], nw.from_native(pa.schema({**fields, **_PROVENANCE_TYPES}).empty_table()))


class Delivery:
    """The files of one table and day, on their way to a version of bronze.

    Args:
        bucket: The lake.
        version: Of what is written.
        files: In the order of their keys.
        s3: A client.
    """

    def __init__(self, bucket: str, version: str, files: list[Landed], s3: Any) -> None:
        self.bucket, self.version, self.files, self.s3 = bucket, version, files, s3
        self.table, self.load_date = files[0].table, files[0].load_date

    def load(self, scratch: Path) -> dict[str, Any]:
        """Writes bronze, quarantine and the list of files.

        Args:
            scratch: Where to keep files meanwhile.

        Returns:
            The delivery as the job's report has it.

        Raises:
            ChangedFileError: a file is not the one that the job was given.
        """
        outcomes = []
        with TemporaryDirectory(dir=scratch) as folder:
            for number, file in enumerate(self.files):
                outcomes.append(self._one(file, number, Path(folder)))
            rejected = sum(outcome.rejected for outcome in outcomes)
            rows = sum(outcome.rows for outcome in outcomes) - rejected
            listed = self._list(outcomes, Path(folder))
        return {
            "table": self.table,
            "load_date": self.load_date,
            "location": self._place("bronze") if rows else None,
            "quarantine": self._place("quarantine") if rejected else None,
            "deliveries": listed,
            "rows": rows,
            "rejected": rejected,
            "files": [asdict(outcome) for outcome in outcomes],
        }

    def _place(self, kind: str) -> str:
        places = {
            "bronze": f"bronze/{self.table}/load_date={self.load_date}",
            "quarantine": f"quarantine/{self.table}/layer=bronze/delivery={self.load_date}",
            "deliveries": f"deliveries/load_date={self.load_date}/table_name={self.table}",
        }
        return f"s3://{self.bucket}/{places[kind]}/v={self.version}/"

    def _one(self, file: Landed, number: int, folder: Path) -> Outcome:
        if file.skip:
            return Outcome(file.key, "skipped", file.skip)
        if file.table not in TABLES:
            return Outcome(file.key, "quarantined", "the file's name is that of no table")
        with TemporaryDirectory(dir=folder) as own:
            copy = Path(own, "source", Path(file.key).name)
            copy.parent.mkdir()
            lake.download(self.s3, self.bucket, file.key, file.etag, copy)
            try:
                source = source_files.read(copy, TABLES[file.table])
                rows, rejected = _write(file, source.batches, Path(own))
            except FaultError as error:
                return Outcome(file.key, "quarantined", str(error))
            for kind in ("bronze", "quarantine"):
                if (made := Path(own, f"{kind}.parquet")).exists():
                    lake.upload(self.s3, made, f"{self._place(kind)}{number:05}.parquet")
        return Outcome(file.key, "loaded", "; ".join(source.notes) or None, rows + rejected, rejected)

    def _list(self, outcomes: list[Outcome], folder: Path) -> str:
        rows = [
            {
                "source_file": file.key,
                "bytes": file.bytes,
                "etag": file.etag,
                "landed_at": file.load_time,
                "status": outcome.status,
                "reason": outcome.reason,
                "rows": outcome.rows - outcome.rejected,
                "rejected": outcome.rejected,
            }
            for file, outcome in zip(self.files, outcomes, strict=True)
        ]
        made = folder / "deliveries.parquet"
        pq.write_table(pa.Table.from_pylist(rows, DELIVERIES), made, compression="zstd")
        lake.upload(self.s3, made, f"{self._place('deliveries')}00000.parquet")
        return self._place("deliveries")


def _write(file: Landed, batches: Iterator[pa.Table], folder: Path) -> tuple[int, int]:
    """Writes a file's rows to bronze.parquet and quarantine.parquet, where there are any.

    Returns:
        How many went to each.

    Raises:
        FaultError: the file is broken, or a column has a type that can't be read.
    """
    table = TABLES[file.table]
    schemas = {"bronze": schema(file.table), "quarantine": quarantine_schema(file.table)}
    counts = dict.fromkeys(schemas, 0)
    writers: dict[str, pq.ParquetWriter] = {}
    with ExitStack() as stack:
        for raw in _numbered(file, batches):
            for kind, rows in zip(schemas, _typed(table, raw), strict=True):
                if rows.num_rows:
                    if kind not in writers:
                        writer = pq.ParquetWriter(folder / f"{kind}.parquet", schemas[kind], compression="zstd")
                        writers[kind] = stack.enter_context(writer)
                    writers[kind].write_table(rows.cast(schemas[kind]))
                    counts[kind] += rows.num_rows
    return counts["bronze"], counts["quarantine"]


def _typed(table: Table, raw: pa.Table) -> tuple[pa.Table, pa.Table]:
    try:
        made = bronze.typed(table, nw.from_native(raw))
    except TypeError as error:
        raise FaultError(str(error)) from error
    return made.accepted.to_native(), made.rejected.to_native()


def _numbered(file: Landed, batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The batches with the columns of `PROVENANCE`."""
    before = 0
    for batch in batches:
        count = batch.num_rows
        values = (
            pa.repeat(pa.scalar(file.key), count),
            pa.array(range(before + 1, before + count + 1), pa.int64()),
            pa.repeat(pa.scalar(file.load_time, pa.timestamp("us")), count),
        )
        for name, column in zip(PROVENANCE, values, strict=True):
            batch = batch.append_column(name, column)
        before += count
        yield batch


def deliveries(files: list[Mapping[str, Any]]) -> list[list[Landed]]:
    """The files by table and day, in the order of their keys."""
    found: dict[tuple[str, str], list[Landed]] = defaultdict(list)
    for file in sorted((Landed(**file) for file in files), key=lambda file: file.key):
        found[(file.load_date, file.table)].append(file)
    return [found[one] for one in sorted(found)]


def main() -> None:
    """Runs the job."""
    given = arguments.read("files", "version", "lake", "report")
    s3 = lake.client()
    planned = deliveries(lake.read_json(s3, given.files))
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(min(len(planned), os.cpu_count() or 1) or 1) as pool:
        loads = [Delivery(given.lake, given.version, files, s3).load for files in planned]
        partitions = list(pool.map(lambda load: load(Path(scratch)), loads))
    for file in (file for partition in partitions for file in partition["files"]):
        print(f"{file['source_file']}: {file['status']}, {file['rows']} rows, {file['rejected']} rejected", flush=True)
    lake.write_json(s3, given.report, {"partitions": partitions})


if __name__ == "__main__":
    main()
