"""Raw to bronze: what Firehose delivered, parsed by the streams' own rules, one partition for each hour of arrival.

The parsers are those of the speed layer, so the two can't disagree about what is sound. They run on the driver, file by
file, whatever the engine: a gzip file can't be split, and no engine has expressions that parse as they do. An hour's
version is built as a whole from all of its files; the same files give the same bytes.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import engine, lake
from include.jobs.engine import Engine
from include.streams import apache, orders_to_history, rules
from include.streams.apache import LineError
from include.streams.encoding import canonical, hash64
from include.streams.orders import history_key, parse_order
from include.streams.rules import RecordError
from include.tables import versions

ROWS = 65_536
"""Rows of a row group, and of what is held in memory at once."""

_ORIGIN = [
    ("source_file", pa.string()),
    ("row_number", pa.int64()),
    ("dt", pa.date32()),
    ("hour", pa.string()),
]
_TIME = pa.timestamp("us")
_HOUR = 3_600_000_000
REJECTS = pa.schema([("record", pa.string()), ("field", pa.string()), ("reason", pa.string()), *_ORIGIN])
"""Columns of what could not be parsed."""


@dataclass(frozen=True)
class Stream:
    """A stream, on its way to bronze.

    Attributes:
        name: In the keys of its raw files.
        table: Of bronze.
        columns: What a record becomes, without where it comes from.
        parse: From a line of a file, without its end, and the start of its hour of arrival, in microseconds since the
            epoch, to the values of these; raises RecordError or LineError.
        identity: The column by which equal records are one event; None where equal records may be several events.
    """

    name: str
    table: str
    columns: pa.Schema
    parse: Callable[[bytes, int], dict[str, Any]]
    identity: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """All columns of the table."""
        return pa.schema([*self.columns, *_ORIGIN])


def _click(line: bytes, arrival: int) -> dict[str, Any]:
    *values, time, identity = click = rules.parse_click(line)
    return {**dict(zip(click._fields, values, strict=False)), "event_time": time, "event_id": f"{identity:016x}"}


def _order(line: bytes, arrival: int) -> dict[str, Any]:
    order = parse_order(line, arrival)
    customer, order_line = history_key(order)
    # What the history has of the line, in one text: the same attributes are the same line.
    content = canonical(orders_to_history.attributes(order)).decode()
    placed_at = "" if order.placed is None else rules.iso(order.placed)
    return {
        **{name: getattr(order, name) for name in ("invoice", "line", "stock_code", "description", "quantity")},
        **{name: getattr(order, name) for name in ("unit_price", "invoice_date", "country")},
        "customer": customer,
        "order_line": order_line,
        "event_time": order.time,
        "placed_at": placed_at,
        "line_identity": f"{order.identity:016x}",
        "content": content,
        "event_id": f"{hash64(canonical([customer, order_line, content])):016x}",
    }


def _request(line: bytes, arrival: int) -> dict[str, Any]:
    entry = apache.parse(line)
    found = asdict(entry)
    del found["time"]
    moment = rules.micros(entry.time.strftime("%Y-%m-%dT%H:%M:%S"))
    # As in the documents of the search index, by which they find each other.
    line_id = blake2b(line.rstrip(b"\r\n"), digest_size=16).hexdigest()
    return {**found, "remote_user": found.pop("user"), "event_time": moment, "line_id": line_id}


CLICKS = Stream(
    "clickstream",
    "clicks",
    pa.schema(
        [
            ("event_id", pa.string()),
            ("event_time", _TIME),
            ("custid", pa.int64()),
            ("trafficfrom", pa.string()),
            ("url", pa.string()),
            ("device", pa.string()),
            ("touchproduct", pa.int64()),
        ]
    ),
    _click,
    identity="event_id",
)
ORDERS = Stream(
    "orders",
    "stream_orders",
    pa.schema(
        [
            ("event_id", pa.string()),
            ("customer", pa.string()),
            ("order_line", pa.string()),
            ("event_time", _TIME),
            ("placed_at", pa.string()),
            ("invoice", pa.string()),
            ("line", pa.int64()),
            ("line_identity", pa.string()),
            ("stock_code", pa.string()),
            ("description", pa.string()),
            ("quantity", pa.int64()),
            ("unit_price", pa.decimal128(21, 9)),
            ("invoice_date", pa.string()),
            ("country", pa.string()),
            ("content", pa.string()),
        ]
    ),
    _order,
    identity="event_id",
)
WEB_LOGS = Stream(
    "weblogs",
    "log_lines",
    pa.schema(
        [
            ("line_id", pa.string()),
            ("event_time", _TIME),
            ("client", pa.string()),
            ("ident", pa.string()),
            ("remote_user", pa.string()),
            ("request", pa.string()),
            ("method", pa.string()),
            ("path", pa.string()),
            ("query", pa.string()),
            ("protocol", pa.string()),
            ("status", pa.int64()),
            ("bytes", pa.int64()),
            ("referrer", pa.string()),
            ("agent", pa.string()),
        ]
    ),
    _request,
)


@dataclass
class _Counts:
    """What became of an hour's records."""

    read: int = 0
    duplicates: int = 0
    event_hours: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Hour:
    """The raw files of a stream's hour of arrival, on their way to a version of bronze.

    Args:
        stream: The stream.
        at: The hour, as 2026-03-01T10.
        files: Key, etag and size of each of its files.
        bucket: The lake.
        version: Of what is written.
        s3: A client.
    """

    def __init__(
        self, stream: Stream, at: str, files: list[Mapping[str, Any]], bucket: str, version: str, s3: Any
    ) -> None:
        self.stream, self.at, self.bucket, self.version, self.s3 = stream, at, bucket, version, s3
        self.files = sorted(files, key=lambda file: file["key"])
        self._counts = _Counts()
        self._seen: set[str] = set()

    def load(self) -> dict[str, Any]:
        """Writes bronze, even where there is no row, and quarantine, where there is one.

        Returns:
            The hour as the job's report has it.

        Raises:
            ChangedFileError: a file is not the one that the job was given.
        """
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with (
                pq.ParquetWriter(folder / "bronze", self.stream.schema, compression="zstd") as bronze,
                pq.ParquetWriter(folder / "rejects", REJECTS, compression="zstd") as rejects,
            ):
                for number, file in enumerate(self.files):
                    copy = folder / f"{number}.gz"
                    lake.download(self.s3, self.bucket, file["key"], file["etag"], copy)
                    self._convert(file["key"], copy, bronze, rejects)
                    copy.unlink()
            counts = self._counts
            rejected = counts.reasons.total()
            location = f"{versions.location(self.bucket, 'bronze', self.stream.table, self.version)}at={self.at}/"
            lake.upload(self.s3, folder / "bronze", f"{location}00000.parquet")
            quarantine = None
            if rejected:
                table = f"{self.stream.table}/layer=bronze"
                quarantine = f"{versions.location(self.bucket, 'quarantine', table, self.version)}at={self.at}/"
                lake.upload(self.s3, folder / "rejects", f"{quarantine}00000.parquet")
        print(f"{self.at}: {len(self.files)} files, {counts.read} records, {rejected} rejected", flush=True)
        return {
            "at": self.at,
            "location": location,
            "quarantine": quarantine,
            "rows_in": counts.read,
            "rows": counts.event_hours.total(),
            "duplicates": counts.duplicates,
            "rejected": rejected,
            "reasons": dict(sorted(counts.reasons.items())),
            "event_hours": dict(sorted(counts.event_hours.items())),
            "files": len(self.files),
        }

    def _convert(self, key: str, file: Path, bronze: pq.ParquetWriter, rejects: pq.ParquetWriter) -> None:
        sound: list[dict[str, Any]] = []
        broken: list[dict[str, Any]] = []
        dt, _, hour = self.at.partition("T")
        arrival = rules.micros(f"{self.at}:00:00")
        origin = {"source_file": key, "dt": date.fromisoformat(dt), "hour": hour}
        for number, line in enumerate(_lines(file), start=1):
            self._counts.read += 1
            try:
                if isinstance(line, RecordError):
                    raise line
                row = self.stream.parse(line, arrival)
            except (RecordError, LineError) as error:
                column, reason = _what(error)
                self._counts.reasons[column] += 1
                text = "" if isinstance(line, RecordError) else line.decode(errors="backslashreplace")
                broken.append({"record": text, "field": column, "reason": reason, "row_number": number, **origin})
                continue
            if self._is_new(row):
                self._counts.event_hours[hour_of(row["event_time"])] += 1
                sound.append({**row, "row_number": number, **origin})
            if len(sound) >= ROWS:
                _flush(sound, self.stream.schema, bronze)
        _flush(sound, self.stream.schema, bronze)
        _flush(broken, REJECTS, rejects)

    def _is_new(self, row: Mapping[str, Any]) -> bool:
        if self.stream.identity is None:
            return True
        identity = row[self.stream.identity]
        if identity in self._seen:
            self._counts.duplicates += 1
            return False
        self._seen.add(identity)
        return True


def hour_of(micros: int) -> str:
    """The hour, as 2026-03-01T10, of microseconds since the epoch."""
    return rules.iso(micros - micros % _HOUR)[:13]


def _lines(file: Path) -> Iterator[bytes | RecordError]:
    """The lines of a gzip file; where it is broken, the fault, and no further line."""
    try:
        with gzip.open(file) as lines:
            for line in lines:
                yield line.removesuffix(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        yield RecordError("file", f"is broken from here on: {error}")


def _what(error: RecordError | LineError) -> tuple[str, str]:
    """Field and reason."""
    if isinstance(error, RecordError):
        return error.field, error.reason
    column, _, reason = str(error).partition(": ")
    return column, reason


def _flush(rows: list[dict[str, Any]], schema: pa.Schema, writer: pq.ParquetWriter) -> None:
    if rows:
        writer.write_table(pa.Table.from_pylist(rows, schema))
        rows.clear()


def build(s3: Any, stream: Stream, hours: Mapping[str, list[Mapping[str, Any]]], bucket: str, version: str) -> Any:
    """Writes bronze of some hours of arrival.

    Args:
        s3: A client.
        stream: The stream.
        hours: Hour of arrival, as 2026-03-01T10 → key, etag and size of each of its raw files.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.
    """
    loaded = [Hour(stream, at, files, bucket, version, s3).load() for at, files in sorted(hours.items())]
    return {"stream": stream.name, "table": stream.table, "hours": loaded}


def run(stream: Stream, refine: Callable[[Engine, Any, Any, str, str], dict[str, Any]], given: Any) -> None:
    """Runs the job of a stream: with `--files` it loads raw files, with `--inputs` it refines bronze.

    Args:
        stream: The stream.
        refine: From engine, S3 client, inputs, bucket and version to the report; writes the tables.
        given: The job's arguments.
    """
    s3 = lake.client()
    if given.files:
        report = build(s3, stream, lake.read_json(s3, given.files), given.lake, given.version)
    else:
        with engine.chosen(given.engine) as on:
            report = refine(on, s3, lake.read_json(s3, given.inputs), given.lake, given.version)
    lake.write_json(s3, given.report, report)
