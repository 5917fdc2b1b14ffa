"""Reads a client's own sales file, CSV, Parquet or Excel, and holds every value of it against the contract.

A file is taken as a whole or not at all: the error names the file, the line, the column and the value of the first
problems, with the line of the contract to change, and says how many there are.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fastexcel
import polars as pl

from include.clients.contract import Column, Contract, nearest

LISTED = 10
"""How many problems an error lists."""

_DELIMITERS = (",", ";", "\t", "|")
_TEXTS = (".csv", ".tsv", ".txt")
_EXCELS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_YEARS = (1900, 2200)  # outside, a date was misread: "1/12/10" is the year 10 for %Y

_DECIMAL = {
    ".": r"^[+-]?(\d+\.?\d*|\.\d+|\d{1,3}(,\d{3})+\.\d*)([eE][+-]?\d+)?$",
    ",": r"^[+-]?(\d+,?\d*|,\d+|\d{1,3}(\.\d{3})+,\d*)$",
}
_LARGEST = 1e14  # of NUMBER(18, 4)
_LONGEST_FIELD = 1 << 30  # of a CSV; Python's own limit is 128 KiB

TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "decimal": pl.Decimal(18, 4),
    "timestamp": pl.Datetime("us"),
    "date": pl.Date(),
}
"""What the values of each type of the contract become."""


class FileError(ValueError):
    """A file that doesn't fit its contract; the message lists the first problems, one a line."""


@dataclass(frozen=True)
class SalesFile:
    """A file that fits its contract.

    Attributes:
        frame: The contract's columns, in its order and types; an optional column the file lacks is null.
        notes: What a person would want to know: columns ignored or missing, encoding, empty rows.
    """

    frame: pl.DataFrame
    notes: list[str]


@dataclass
class _Content:
    """A file as it was read, before its values are looked at."""

    frame: pl.DataFrame
    unit: str
    """What the file has its rows on: lines or rows."""
    lines: Callable[[Sequence[int]], dict[int, int]]
    """The line, counted from 1, of each row of the frame, counted from 0."""
    separators: tuple[str, ...] | None = None
    """What may be between units and decimals; None for the contract's choice."""
    notes: list[str] = field(default_factory=list)


def read(path: Path, contract: Contract) -> SalesFile:
    """Reads a sales file under a contract.

    Args:
        path: CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows-1252; perhaps gzipped), Parquet or Excel
            (the first sheet).
        contract: The client's; columns are matched by name, exactly or else without regard to case.

    Raises:
        FileError: the file isn't there, can't be read, or doesn't fit.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    content = _content(path, contract)
    if content.frame.is_empty():
        raise FileError(f"{path}: empty: it has {'a header and ' if content.frame.width else ''}no rows")
    names = _matched(path, content, contract)
    indexed = content.frame.select(names.values()).with_row_index("__row")
    filled = indexed.filter(~pl.all_horizontal(pl.col(list(names.values())).is_null()))
    if not len(filled):
        raise FileError(f"{path}: empty: all of its {len(indexed):,} rows are")
    if blank := len(indexed) - len(filled):
        content.notes.append(f"empty {content.unit}s are skipped: {blank:,}")
    separators = content.separators or (contract.source.decimal_separator,)
    columns, problems, total = [], [], 0
    for name, column in contract.source.columns.items():
        if name not in names:
            columns.append(_nulls(name, TYPES[column.type], len(filled)))
            continue
        converted, values = _converted(filled[names[name]], column, separators)
        wrong = converted.is_null() & values.is_not_null()
        if column.required and column.type in ("timestamp", "date"):
            wrong |= values.is_null()
        total += int(wrong.sum())
        problems += [
            _Problem(filled["__row"][position], name, column, values[position])
            for position in wrong.arg_true().head(LISTED)
        ]
        columns.append(converted.alias(name))
    if problems:
        raise FileError(_report(path, content, contract, problems, total))
    return SalesFile(pl.DataFrame(columns), content.notes)


def _content(path: Path, contract: Contract) -> _Content:
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix in _TEXTS:
        return _csv(path, contract)
    if suffix == ".parquet":
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FileError(f"{path}: not a Parquet file: {_first_line(error)}") from error
        return _Content(frame, "row", lambda rows: {row: row + 1 for row in rows})
    if suffix in _EXCELS:
        try:
            sheet = fastexcel.read_excel(path).load_sheet(0, dtypes="string")
        except fastexcel.FastExcelError as error:
            raise FileError(f"{path}: not an Excel file: {_first_line(error)}") from error
        frame = pl.DataFrame(sheet.to_arrow())
        # Excel's own numbers come with a point, whatever people type in that country.
        return _Content(frame, "row", lambda rows: {row: row + 2 for row in rows}, separators=(".", ","))
    known = ", ".join((*_TEXTS, ".parquet", *_EXCELS))
    raise FileError(f"{path}: unknown kind of file {suffix!r}: it can be {known}")


def _csv(path: Path, contract: Contract) -> _Content:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path}: not gzip, damaged or cut off: {_first_line(error)}") from error
    try:
        text, note = _decoded(data)
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: it begins as UTF-16 does, but isn't: {_first_line(error)}") from error
    if not text.strip():
        raise FileError(f"{path}: empty")
    csv.field_size_limit(_LONGEST_FIELD)
    delimiter = _delimiter(text, contract)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    contracted = {name.lower() for name in contract.source.columns}
    for name in header:
        if header.count(name) > 1 and name.lower() in contracted:
            raise FileError(f"{path}, line 1: column {name!r} is there {header.count(name)} times")
    try:
        frame = pl.read_csv(io.BytesIO(text.encode()), separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise FileError(_malformed(path, text, delimiter, error)) from error
    return _Content(frame, "line", lambda rows: _lines(text, delimiter, rows), notes=[note] if note else [])


def _decoded(data: bytes) -> tuple[str, str | None]:
    """The text, and a note when it took a guess to read it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16"), None
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "read as Windows-1252, because it isn't UTF-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "read as Latin-1, because it isn't UTF-8"


def _delimiter(text: str, contract: Contract) -> str:
    """The delimiter that finds the most of the contract's columns in the header, or else the most columns."""
    contracted = {name.lower() for name in contract.source.columns}
    header = text[: text.find("\n")] if "\n" in text else text

    def found(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=delimiter), [])
        return sum(name.strip().lower() in contracted for name in names), len(names)

    return max(_DELIMITERS, key=found)


def _lines(text: str, delimiter: str, rows: Sequence[int]) -> dict[int, int]:
    """The line each row starts in: a quoted field may go over several lines."""
    wanted, found = set(rows), {}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    next(reader)
    row, line = 0, reader.line_num + 1
    for _ in reader:
        if row in wanted:
            found[row] = line
        if len(found) == len(wanted):
            break
        row, line = row + 1, reader.line_num + 1
    return found


def _malformed(path: Path, text: str, delimiter: str, error: Exception) -> str:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    width = len(next(reader))
    start = reader.line_num + 1
    for fields in reader:
        if len(fields) > width:
            return f"{path}, line {start}: {len(fields)} fields, the header has {width}"
        start = reader.line_num + 1
    quoted = re.search("`(.+?)`", str(error))
    position = text.find(quoted[1]) if quoted else -1
    place = f", line {text.count(chr(10), 0, position) + 1}" if position >= 0 else ""
    return f"{path}{place}: not well-formed CSV: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _matched(path: Path, content: _Content, contract: Contract) -> dict[str, str]:
    """The file's name of each of the contract's columns that it has."""
    present = content.frame.columns
    names, missing = {}, []
    for name, column in contract.source.columns.items():
        alike = [candidate for candidate in present if candidate.strip().lower() == name.lower()]
        if name in present or len(alike) == 1:
            names[name] = name if name in present else alike[0]
        elif alike:
            raise FileError(f"{path}: column {name!r} could be any of {', '.join(alike)}: rename them")
        elif column.required:
            missing.append(name)
        else:
            content.notes.append(f"column {name} is missing: it is null, as {_where(contract, name)} allows")
    others = [name for name in present if name not in names.values()]
    if missing:
        lines = [f"{path}: no column {name!r}{nearest(name, others)} ({_where(contract, name)})" for name in missing]
        raise FileError("\n".join([*lines, f"the file has the columns {', '.join(present)}"]))
    if others:
        content.notes.append(f"columns that the contract doesn't have are ignored: {', '.join(others)}")
    return names


def _where(contract: Contract, name: str) -> str:
    return contract.where("source", "columns", name)


def _converted(values: pl.Series, column: Column, separators: tuple[str, ...]) -> tuple[pl.Series, pl.Series]:
    """The values in the column's type, null where they don't fit; and the values with blanks as nulls."""
    dtype = TYPES[column.type]
    if column.type == "string":
        texts = _strings(values)
        return _nulls(values.name, dtype, len(values)) if texts is None else texts, values
    if values.dtype == pl.String:
        values = values.str.strip_chars()
        values = values.set(values == "", None)
    match column.type:
        case "integer":
            converted = _integers(values, separators)
        case "decimal":
            converted = _decimals(values, separators)
        case _:
            converted = _moments(values, column.formats)
    if converted is None:
        return _nulls(values.name, dtype, len(values)), values
    return converted.cast(dtype), values


def _nulls(name: str, dtype: pl.DataType, number: int) -> pl.Series:
    return pl.Series(name, [None], dtype).new_from_index(0, number)


def _strings(values: pl.Series) -> pl.Series | None:
    """Texts; whole numbers lose the ".0" that a missing value gave the whole column."""
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        return None
    if values.dtype.is_float() and _whole(values).all():
        values = values.cast(pl.Int64)
    return values.cast(pl.String)


def _whole(values: pl.Series) -> pl.Series:
    return values.is_null() | (values.is_finite() & (values == values.round()) & (values.abs() < 2**63))


def _integers(values: pl.Series, separators: tuple[str, ...]) -> pl.Series | None:
    if values.dtype == pl.String:
        decimals = rf"[{''.join(separators)}]0*$"
        whole = values.str.replace(decimals, "")
        return whole.set(~whole.str.contains(r"^[+-]?\d+$"), None).cast(pl.Int64, strict=False)
    if values.dtype.is_float():
        return values.set(~_whole(values), None).cast(pl.Int64)
    if values.dtype.is_decimal():
        return values.set(values != values.floor(), None).cast(pl.Int64, strict=False)
    return values.cast(pl.Int64, strict=False) if values.dtype.is_integer() else None


def _decimals(values: pl.Series, separators: tuple[str, ...]) -> pl.Series | None:
    if values.dtype == pl.String:
        converted = _nulls(values.name, pl.Float64(), len(values))
        for separator in separators:
            fitting = values.set(~values.str.contains(_DECIMAL[separator]), None)
            plain = fitting.str.replace_all("," if separator == "." else ".", "", literal=True)
            converted = converted.fill_null(plain.str.replace(",", ".", literal=True).cast(pl.Float64))
        values = converted
    if values.dtype.is_float():
        return values.set(~(values.is_finite() & (values.abs() < _LARGEST)), None)
    return values if values.dtype.is_numeric() else None


def _moments(values: pl.Series, formats: Sequence[str]) -> pl.Series | None:
    if values.dtype == pl.String:
        converted = _nulls(values.name, pl.Datetime("us"), len(values))
        for text in (*(text.replace(".%f", "%.f") for text in formats), *_ISO):
            if converted.null_count() == values.null_count():
                break
            converted = converted.fill_null(values.str.strptime(pl.Datetime("us"), text, strict=False))
        return converted.set(~converted.dt.year().is_between(*_YEARS), None)
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.replace_time_zone(None)
    return values if values.dtype == pl.Date else None


@dataclass(frozen=True)
class _Problem:
    row: int
    name: str
    column: Column
    value: object


def _report(path: Path, content: _Content, contract: Contract, problems: list[_Problem], total: int) -> str:
    first = sorted(problems, key=lambda problem: problem.row)[:LISTED]
    lines = content.lines([problem.row for problem in first])
    listed = [
        f"{path}, {content.unit} {lines[problem.row]}, column {problem.name!r}: {_complaint(problem, contract)}"
        for problem in first
    ]
    found = "1 value doesn't" if total == 1 else f"{total:,} values don't"
    shown = f"; the first {LISTED} are" if total > LISTED else ""
    return "\n".join([f"{path}: {found} fit the contract of {contract.client}{shown}:", *listed])


def _complaint(problem: _Problem, contract: Contract) -> str:
    column, where = problem.column, _where(contract, problem.name)
    if problem.value is None:
        return f"no {column.type} ({where})"
    value = problem.value.to_list() if isinstance(problem.value, pl.Series) else problem.value
    other = "." if contract.source.decimal_separator == "," else ","
    if column.type == "decimal" and re.search(_DECIMAL[other], str(value)):
        separator = contract.where("source", "decimal_separator")
        return f"{value!r} has another decimal separator than {contract.source.decimal_separator!r} ({separator})"
    formats = (
        f" in the format {' or '.join((*column.formats, 'ISO 8601'))}" if column.type in ("timestamp", "date") else ""
    )
    article = "an" if column.type == "integer" else "a"
    return f"{str(value)!r} is not {article} {column.type}{formats} ({where})"
