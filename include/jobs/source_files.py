"""Reads delivered files, CSV, gzip CSV or Parquet, in batches of bounded memory; says what is wrong with one."""

import codecs
import csv
import gzip
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from include.transforms.bronze import missing
from include.transforms.screening import Table

BLOCK = 8 << 20
"""Bytes of CSV that are read at a time; a row must be shorter."""
ROWS = 1 << 17
"""Rows of Parquet that are read at a time."""


class FaultError(ValueError):
    """The file can't be loaded; the message says what is wrong with it."""


@dataclass(frozen=True)
class Source:
    """A delivered file, ready to be read.

    Attributes:
        batches: Its rows, in order; the columns that the table knows, of CSV as text with null for what is empty.
            Reading raises FaultError where the file is broken further down.
        notes: What is unusual about the file, and no fault.
    """

    batches: Iterator[pa.Table]
    notes: list[str]


def read(file: Path, table: Table) -> Source:
    """Opens a delivered file; its name says what it is.

    Args:
        file: On this machine, below a folder where more may be written.
        table: What its rows are of.

    Raises:
        FaultError: the file can't be loaded.
    """
    if not file.stat().st_size:
        raise FaultError("the file is empty")
    match file.suffixes[-2:]:
        case [*_, ".parquet"]:
            return _parquet(file, table)
        case [".csv", ".gz"]:
            return _csv(_unpacked(file), table)
        case [*_, ".csv"]:
            return _csv(file, table)
    raise FaultError("the file's name ends neither with .csv nor .csv.gz nor .parquet")


def _unpacked(file: Path) -> Path:
    target = file.with_suffix("")
    try:
        with gzip.open(file) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (OSError, EOFError, zlib.error) as error:
        raise FaultError(f"the gzip file is broken or cut off: {error}") from error
    if not target.stat().st_size:
        raise FaultError("the file is empty")
    return target


def _csv(file: Path, table: Table) -> Source:
    encoding = _encoding(file)
    header = _header(file, encoding)
    known = _known_columns(table, header)
    ragged: list[pyarrow.csv.InvalidRow] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    options = {
        "read_options": pyarrow.csv.ReadOptions(block_size=BLOCK, encoding=encoding, use_threads=False),
        "parse_options": pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(known, pa.string()),
            include_columns=known,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    }

    def batches() -> Iterator[pa.Table]:
        try:
            with pyarrow.csv.open_csv(file, **options) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            if ragged:
                row = ragged[0]
                place = f"row {row.number - 1}" if row.number else "a row"
                raise FaultError(
                    f"{place} has {row.actual_columns} fields, the header has {row.expected_columns}"
                ) from error
            raise FaultError(f"the CSV can't be read: {_first_line(error)}") from error

    notes = ["it is not UTF-8 and was read as Latin-1"] if encoding == "latin-1" else []
    return Source(batches(), notes + _drift(table, header))


def _encoding(file: Path) -> str:
    """UTF-8, or Latin-1, in which all bytes are text, where it is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as stream:
        try:
            while block := stream.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _header(file: Path, encoding: str) -> list[str]:
    with file.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as stream:
        try:
            # Lines without anything are no rows, before the header as after it.
            return next((row for row in csv.reader(stream) if row), [])
        except csv.Error as error:
            raise FaultError(f"the header can't be read: {error}") from error


def _parquet(file: Path, table: Table) -> Source:
    try:
        source = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise FaultError(f"it is no Parquet file, or broken: {_first_line(error)}") from error
    header = source.schema_arrow.names
    known = _known_columns(table, header)

    def batches() -> Iterator[pa.Table]:
        try:
            for batch in source.iter_batches(ROWS, columns=known):
                yield _plain(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            raise FaultError(f"the Parquet file is broken: {_first_line(error)}") from error

    return Source(batches(), _drift(table, header))


def _plain(rows: pa.Table) -> pa.Table:
    """The rows with all text in one type, however it is encoded."""
    for number, field in enumerate(rows.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or kind != field.type or kind == pa.null():
            text = kind if kind != pa.null() and not _is_text(kind) else pa.string()
            rows = rows.set_column(number, field.name, rows.column(number).cast(text))
    return rows


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _known_columns(table: Table, header: list[str]) -> list[str]:
    """The columns of the file that the table knows.

    Raises:
        FaultError: one that the table must have is missing, or is there twice.
    """
    if lacking := missing(table, header):
        seen = ", ".join(repr(name) for name in header) or "nothing"
        other = next((sign for sign in ";\t|" if len(header) == 1 and sign in header[0]), None)
        hint = f"; fields seem to be separated by {other!r}, not by commas" if other else ""
        raise FaultError(f"{', '.join(lacking)} missing from the header, which has {seen}{hint}")
    known = [field.source for field in table.fields if field.source in header]
    if twice := [name for name in known if header.count(name) > 1]:
        raise FaultError(f"{', '.join(twice)} more than once in the header")
    return known


def _drift(table: Table, header: list[str]) -> list[str]:
    sources = [field.source for field in table.fields]
    notes = []
    if new := [name for name in header if name not in sources]:
        notes.append(f"left out, as the contract has no such column: {', '.join(new)}")
    if absent := [name for name in sources if name not in header]:
        notes.append(f"null, as the file lacks the column: {', '.join(absent)}")
    return notes


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
