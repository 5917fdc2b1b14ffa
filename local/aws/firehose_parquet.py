"""Record format conversion: JSON to Parquet, by the columns of a Glue table."""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from local.aws.rpc import ApiError, refused
from local.aws.settings import client

if TYPE_CHECKING:
    import pyarrow

_TOKEN = re.compile(r"\s*([a-z_][a-z0-9_]*|\d+|[<>(),:])", re.IGNORECASE)
_INTEGERS = {"tinyint": 8, "smallint": 16, "int": 32, "integer": 32, "bigint": 64}
_MILLISECONDS = 1e11  # a number that would be after the year 5138 in seconds is in milliseconds


class ConversionError(ValueError):
    """A record that doesn't fit the schema."""


class Column(NamedTuple):
    """How a Hive type is written.

    Attributes:
        type: In Arrow.
        convert: From what JSON has to what Arrow takes.
    """

    type: "pyarrow.DataType"
    convert: Callable[[Any], Any]


@dataclass(frozen=True)
class Conversion:
    """A checked DataFormatConversionConfiguration.

    Attributes:
        database: Of the table.
        table: Whose columns are the schema.
        mappings: Column name to the JSON key, where they differ.
        dots: Whether dots in keys become underscores.
        fold: Whether keys are lowercased.
        options: For the Parquet writer.
    """

    database: str
    table: str
    mappings: Mapping[str, str] = field(default_factory=dict)
    dots: bool = False
    fold: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def columns(self) -> dict[str, Column]:
        """The schema of now.

        Raises:
            ApiError: The table is missing, or has a type that is not converted here.
        """
        glue = client("glue")
        try:
            table = glue.get_table(DatabaseName=self.database, Name=self.table)["Table"]
        except glue.exceptions.EntityNotFoundException:
            raise ApiError(
                "InvalidArgumentException",
                f"SchemaConfiguration: the Glue table {self.database}.{self.table} does not exist: create it first",
            ) from None
        described = table.get("StorageDescriptor", {}).get("Columns", [])
        if not described:
            raise ApiError(
                "InvalidArgumentException", f"SchemaConfiguration: {self.database}.{self.table} has no columns"
            )
        return {column["Name"]: column_of(column["Type"], column["Name"]) for column in described}

    def row(self, data: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
        """One record as a row.

        Raises:
            ConversionError: It is not a JSON object, or a value doesn't fit its column.
        """
        try:
            parsed = json.loads(data, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise ConversionError(f"Encountered malformed JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise ConversionError("The record is not a JSON object")
        values = {self._key(key): value for key, value in parsed.items()}
        row = {}
        for name, column in columns.items():
            value = values.get(self._key(self.mappings.get(name, name)))
            try:
                row[name] = None if value is None else column.convert(value)
            except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
                raise ConversionError(f"column {name}: {value!r} is no {column.type}: {error}") from error
        return row

    def _key(self, key: str) -> str:
        key = key.replace(".", "_") if self.dots else key
        return key.lower() if self.fold else key

    def write(self, rows: list[dict[str, Any]], columns: Mapping[str, Column]) -> bytes:
        """Rows as a Parquet file."""
        import pyarrow
        import pyarrow.parquet

        schema = pyarrow.schema([(name, column.type) for name, column in columns.items()])
        out = io.BytesIO()
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows, schema), out, **{"coerce_timestamps": "us", **self.options}
        )
        return out.getvalue()


def conversion(configuration: Mapping[str, Any]) -> Conversion | None:
    """Check a DataFormatConversionConfiguration.

    Returns:
        None when it is not enabled.

    Raises:
        ApiError: It is incomplete, or asks for what is not done here.
    """
    if not configuration or not configuration.get("Enabled", True):
        return None
    where = configuration.get("SchemaConfiguration", {})
    for name in ("DatabaseName", "TableName"):
        if name not in where:
            raise ApiError("InvalidArgumentException", f"SchemaConfiguration needs {name}")
    if where.get("VersionId", "LATEST") != "LATEST":
        raise refused("VersionId of SchemaConfiguration other than LATEST")
    serde = configuration.get("InputFormatConfiguration", {}).get("Deserializer", {})
    openx, hive = serde.get("OpenXJsonSerDe"), serde.get("HiveJsonSerDe")
    if openx is None and hive is None:
        raise ApiError("InvalidArgumentException", "InputFormatConfiguration needs a Deserializer")
    if hive:
        raise refused("TimestampFormats of HiveJsonSerDe: take OpenXJsonSerDe")
    found = Conversion(
        where["DatabaseName"],
        where["TableName"],
        (openx or {}).get("ColumnToJsonKeyMappings", {}),
        (openx or {}).get("ConvertDotsInJsonKeysToUnderscores", False),
        (openx or {}).get("CaseInsensitive", True),
        _options(configuration.get("OutputFormatConfiguration", {}).get("Serializer", {})),
    )
    found.columns()
    return found


def _options(serializer: Mapping[str, Any]) -> dict[str, Any]:
    if "OrcSerDe" in serializer:
        raise refused("OrcSerDe: take ParquetSerDe")
    if "ParquetSerDe" not in serializer:
        raise ApiError("InvalidArgumentException", "OutputFormatConfiguration needs a Serializer with ParquetSerDe")
    wanted = dict(serializer["ParquetSerDe"])
    options: dict[str, Any] = {"compression": wanted.pop("Compression", "SNAPPY").replace("UNCOMPRESSED", "NONE")}
    if "PageSizeBytes" in wanted:
        options["data_page_size"] = wanted.pop("PageSizeBytes")
    if "EnableDictionaryCompression" in wanted:
        options["use_dictionary"] = wanted.pop("EnableDictionaryCompression")
    if "WriterVersion" in wanted:
        options["data_page_version"] = {"V1": "1.0", "V2": "2.0"}[wanted.pop("WriterVersion")]
    if wanted:
        raise refused(f"{', '.join(wanted)} of ParquetSerDe")
    return options


# -------------------------------------------------------------------------------------------------------------- values


def column_of(hive: str, name: str) -> Column:
    """How a column of a Hive type is written.

    Args:
        hive: E.g. ``array<struct<id:bigint,price:decimal(10,2)>>``.
        name: Of the column, for errors.

    Raises:
        ApiError: The type is not converted here.
    """
    tokens = _TOKEN.findall(hive.lower())
    try:
        column = _parse(tokens)
    except (IndexError, ValueError, KeyError):
        tokens = ["?"]
    if tokens:
        raise refused(f"converting the column {name} of the type {hive}")
    return column


def _parse(tokens: list[str]) -> Column:
    import pyarrow

    kind = tokens.pop(0)
    simple: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "string": (pyarrow.string(), _text),
        "boolean": (pyarrow.bool_(), _boolean),
        "float": (pyarrow.float32(), _double),
        "double": (pyarrow.float64(), _double),
        "date": (pyarrow.date32(), lambda value: date.fromisoformat(value.strip()[:10])),
        "timestamp": (pyarrow.timestamp("us"), _timestamp),
    }
    if kind in simple:
        return Column(*simple[kind])
    if kind in _INTEGERS:
        bits = _INTEGERS[kind]
        return Column(getattr(pyarrow, f"int{bits}")(), lambda value: _integer(value, bits))
    if kind in ("varchar", "char"):
        length = _numbers(tokens)[0]
        return Column(pyarrow.string(), lambda value: _text(value)[:length])
    if kind == "decimal":
        precision, scale = _numbers(tokens) if tokens[:1] == ["("] else [10, 0]
        return Column(pyarrow.decimal128(precision, scale), lambda value: _decimal(value, precision, scale))
    _expect(tokens, "<")
    column = {"array": _array, "map": _map, "struct": _struct}[kind](tokens)
    _expect(tokens, ">")
    return column


def _expect(tokens: list[str], wanted: str) -> None:
    if tokens.pop(0) != wanted:
        raise ValueError(wanted)


def _numbers(tokens: list[str]) -> list[int]:
    _expect(tokens, "(")
    end = tokens.index(")")
    inside, tokens[: end + 1] = tokens[:end], []
    return [int(number) for number in inside if number != ","]


def _array(tokens: list[str]) -> Column:
    import pyarrow

    element = _parse(tokens)
    return Column(pyarrow.list_(element.type), lambda value: [_nullable(element, part) for part in _is(list, value)])


def _map(tokens: list[str]) -> Column:
    import pyarrow

    key = _parse(tokens)
    _expect(tokens, ",")
    item = _parse(tokens)
    return Column(
        pyarrow.map_(key.type, item.type),
        lambda value: [(key.convert(name), _nullable(item, part)) for name, part in _is(dict, value).items()],
    )


def _struct(tokens: list[str]) -> Column:
    import pyarrow

    fields: dict[str, Column] = {}
    while not fields or tokens[0] == ",":
        if fields:
            tokens.pop(0)
        name = tokens.pop(0)
        _expect(tokens, ":")
        fields[name] = _parse(tokens)

    def convert(value: Any) -> dict[str, Any]:
        parts = {name.lower(): part for name, part in _is(dict, value).items()}
        return {name: _nullable(column, parts.get(name)) for name, column in fields.items()}

    return Column(pyarrow.struct([(name, column.type) for name, column in fields.items()]), convert)


def _is(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"not a JSON {'array' if kind is list else 'object'}")
    return value


def _nullable(column: Column, value: Any) -> Any:
    return None if value is None else column.convert(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text.encode()  # JSON can escape what is no character
    return text


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return bool(_is_boolean(value))


def _is_boolean(value: Any) -> Any:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise TypeError("not a number")
    try:
        return Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise ValueError("not a number") from None


def _integer(value: Any, bits: int) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise ValueError("not a whole number")
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError("out of range")
    return int(number)


def _double(value: Any) -> float:
    return float(_number(value))


def _decimal(value: Any, precision: int, scale: int) -> Decimal:
    number = _number(value).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    if number.adjusted() + 1 > precision - scale and number != 0:
        raise ValueError("too many digits")
    return number


def _timestamp(value: Any) -> datetime:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value.strip())
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    seconds = float(_number(value))
    seconds = seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def rows(
    found: Conversion, data: Iterable[bytes], columns: Mapping[str, Column]
) -> Iterable[dict[str, Any] | ConversionError]:
    """Each record's row, or why it has none."""
    for record in data:
        try:
            yield found.row(record, columns)
        except ConversionError as error:
            yield error
