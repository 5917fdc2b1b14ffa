"""Results as Athena writes them: text of values, types of columns, the CSV file and its pages."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 1000
"""Rows between two remembered places of a result file."""

_SIMPLE = {
    "BOOLEAN": ("boolean", 0), "TINYINT": ("tinyint", 3), "SMALLINT": ("smallint", 5), "INTEGER": ("integer", 10),
    "INT": ("integer", 10), "REAL": ("float", 17), "BIGINT": ("bigint", 19),
    "HUGEINT": ("bigint", 19), "UTINYINT": ("smallint", 5), "USMALLINT": ("integer", 10),
    "UINTEGER": ("bigint", 19), "UBIGINT": ("bigint", 19), "FLOAT": ("float", 17), "DOUBLE": ("double", 17),
    "DATE": ("date", 0), "TIME": ("time", 3), "BLOB": ("varbinary", 1073741824), "JSON": ("json", 0),
    "TIMESTAMP": ("timestamp", 3), "TIMESTAMP_S": ("timestamp", 3), "TIMESTAMP_MS": ("timestamp", 3),
    "TIMESTAMP_NS": ("timestamp", 3), "TIMESTAMP WITH TIME ZONE": ("timestamp with time zone", 3),
    "INTERVAL": ("interval day to second", 0), '"NULL"': ("unknown", 0),
}  # fmt: skip


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result.

    Attributes:
        name: As the user reads it.
        type: Its DuckDB type.
    """

    name: str
    type: str

    @property
    def athena_type(self) -> str:
        """Athena's name of the type, without parameters."""
        return self._described()[0]

    def _described(self) -> tuple[str, int, int]:
        if self.type in _SIMPLE:
            return (*_SIMPLE[self.type], 0)
        if match := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", self.type):
            return "decimal", int(match[1]), int(match[2])
        if self.type.endswith("]"):
            return "array", 0, 0
        for prefix, name in (("STRUCT", "row"), ("TUPLE", "row"), ("MAP", "map")):
            if self.type.startswith(prefix):
                return name, 0, 0
        return "varchar", 2147483647, 0

    def info(self) -> dict[str, Any]:
        """The ``ColumnInfo`` of the API."""
        name, precision, scale = self._described()
        return {
            "CatalogName": "hive",
            "SchemaName": "",
            "TableName": "",
            "Name": self.name,
            "Label": self.name,
            "Type": name,
            "Precision": precision,
            "Scale": scale,
            "Nullable": "UNKNOWN",
            "CaseSensitive": name == "varchar",
        }


# ---------------------------------------------------------------------------------------------------------------- text


def text(value: Any) -> str | None:
    """A value as Athena writes it; ``None`` for NULL."""
    if value is None or isinstance(value, str):
        return value
    writer = _WRITERS.get(type(value))
    return writer(value) if writer else str(value)


def double(value: float) -> str:
    """A DOUBLE as Java writes it: scientific outside [1e-3, 1e7)."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return _scientific(value, repr(value)) if value and not 1e-3 <= abs(value) < 1e7 else repr(value)


def real(value: float) -> str:
    """A REAL as Java writes it."""
    if not np.isfinite(value):
        return double(value)
    shortest = np.format_float_positional(np.float32(value), unique=True, trim="0")
    return _scientific(value, shortest) if value and not 1e-3 <= abs(value) < 1e7 else shortest


def _scientific(value: float, shortest: str) -> str:
    sign, digits, exponent = Decimal(shortest).normalize().as_tuple()
    written = "".join(map(str, digits))
    power = len(written) - 1 + int(exponent)
    return f"{'-' if sign else ''}{written[0]}.{written[1:] or '0'}E{power}"


def _moment(value: datetime) -> str:
    written = value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d}"
    return f"{written} UTC" if value.tzinfo else written


def _nested(value: Any) -> str:
    written = text(value)
    return "null" if written is None else written


def _mapping(value: dict[Any, Any]) -> str:
    return "{" + ", ".join(f"{_nested(key)}={_nested(item)}" for key, item in value.items()) + "}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: double,
    Decimal: lambda value: format(value, "f"),
    datetime: _moment,
    date: date.isoformat,
    time: lambda value: value.isoformat("milliseconds"),
    bytes: lambda value: value.hex(" "),
    list: lambda value: "[" + ", ".join(_nested(item) for item in value) + "]",
    tuple: lambda value: "{" + ", ".join(f"field{i}={_nested(item)}" for i, item in enumerate(value)) + "}",
    dict: _mapping,
}


# ---------------------------------------------------------------------------------------------------------------- file


@dataclass
class ResultFile:
    """A result in a CSV file, of which any page can be read without reading what comes before.

    Attributes:
        columns: Of the result.
        header: Whether the first row holds the names of the columns.
        rows: Number of rows, without the header.
        size: Bytes of the file.
        kept: The rows themselves, where there is no such file.
    """

    columns: list[ResultColumn]
    header: bool = True
    rows: int = 0
    size: int = 0
    kept: list[list[str | None]] | None = None
    _places: list[int] = field(default_factory=list)

    def write(self, file: Path, rows: Iterable[tuple]) -> None:
        """Write everything; ``rows`` are values of DuckDB."""
        writers = [real if column.type == "FLOAT" else text for column in self.columns]
        number = 0
        with file.open("wb") as stream:
            for row in self._all(rows):
                if number % BLOCK == 0:
                    self._places.append(stream.tell())
                names = self.header and number == 0
                fields = (
                    _field(value if names or value is None else write(value))
                    for value, write in zip(row, writers, strict=True)
                )
                stream.write((",".join(fields) + "\n").encode())
                number += 1
            self.size = stream.tell()
        self.rows = number - self.header

    def _all(self, rows: Iterable[tuple]) -> Iterator[tuple]:
        if self.header:
            yield tuple(column.name for column in self.columns)
        yield from rows

    @property
    def total(self) -> int:
        """Rows of the file, the header included."""
        return self.rows + self.header

    def page(self, file: Path, start: int, count: int) -> list[list[str | None]]:
        """Read rows.

        Args:
            file: Where the file is now.
            start: Number of the first row; 0 is the header, if there is one.
            count: The most rows wanted.

        Raises:
            FileNotFoundError: Somebody deleted the result.
        """
        if self.kept is not None or start >= self.total:
            return (self.kept or [])[start : start + count]
        block, last = start // BLOCK, min(start + count, self.total) - 1
        begin = self._places[block]
        end = self._places[last // BLOCK + 1] if last // BLOCK + 1 < len(self._places) else self.size
        with file.open("rb") as stream:
            stream.seek(begin)
            rows = list(_rows(stream.read(end - begin).decode(), len(self.columns)))
        offset = start - block * BLOCK
        return rows[offset : offset + count]


def _field(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


_FIELD = re.compile(r'(?:"((?:[^"]|"")*)")?([,\n])')


def _rows(written: str, width: int) -> Iterator[list[str | None]]:
    row: list[str | None] = []
    for match in _FIELD.finditer(written):
        row.append(match[1].replace('""', '"') if match[1] is not None else None)
        if len(row) == width:
            yield row
            row = []
