"""The options of COPY and of FILE_FORMAT, checked: an option that is not done is refused by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakesnow.transforms.file_format import lookup_file_format
from fakesnow.transforms.options import parse_options
from sqlglot import exp

from local.snowflake import errors

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

_CSV = {
    "TYPE",
    "COMPRESSION",
    "FIELD_DELIMITER",
    "FIELD_OPTIONALLY_ENCLOSED_BY",
    "NULL_IF",
    "EMPTY_FIELD_AS_NULL",
    "SKIP_HEADER",
    "PARSE_HEADER",
    "TRIM_SPACE",
    "ESCAPE_UNENCLOSED_FIELD",
    "FILE_EXTENSION",
}
_PARQUET = {"TYPE", "COMPRESSION", "SNAPPY_COMPRESSION", "USE_LOGICAL_TYPE", "FILE_EXTENSION"}


@dataclass(frozen=True)
class Format:
    """A file format with Snowflake's defaults filled in.

    Attributes:
        type: CSV or PARQUET.
        compression: AUTO, GZIP, ZSTD, SNAPPY or NONE.
        delimiter: Between two fields of a CSV line.
        quote: The character around fields, empty for none.
        nulls: The texts that stand for NULL.
        skip: Header lines that are skipped when loading.
        header: Whether the first line names the columns when loading.
        trim: Whether spaces around fields are dropped when loading.
        extension: Of unloaded files, instead of the format's own.
    """

    type: str = "CSV"
    compression: str = "AUTO"
    delimiter: str = ","
    quote: str = ""
    nulls: tuple[str, ...] = ("\\N",)
    empty_is_null: bool = True
    skip: int = 0
    header: bool = False
    trim: bool = False
    extension: str | None = None


def copy_options(statement: exp.Copy, known: set[str], form: str) -> dict[str, Any]:
    """Return the copy options of a statement by upper-case name, FILE_FORMAT as its parsed properties.

    Args:
        statement: The COPY statement.
        known: The options that `form` has.
        form: What to call the statement in an error.

    Raises:
        ProgrammingError: An option is not in `known`, or appears twice.
    """
    options: dict[str, Any] = {}
    for item in statement.args.get("params") or []:
        name = str(item.this.name).upper()
        if name not in known:
            raise errors.unsupported(f"{form} … {name}")
        if name in options:
            raise errors.error(errors.SYNTAX, f"{form}: option {name} appears twice")
        if name == "FILE_FORMAT":
            options[name] = parse_options(item.expressions)
        elif name == "PARTITION BY":
            options[name] = item.expression.unnest()
        else:
            options[name] = _value(item.expression)
    credentials = statement.args.get("credentials")
    for name in ("credentials", "encryption", "region"):
        if credentials is not None and credentials.args.get(name):
            raise errors.unsupported(f"{form} … {name.upper()}", "Use STORAGE_INTEGRATION.")
    if credentials is not None and credentials.args.get("storage") is not None:
        options["STORAGE_INTEGRATION"] = credentials.args["storage"].sql(dialect="snowflake")
    return options


def flag(options: dict[str, Any], name: str, default: bool) -> bool:
    """Return a boolean copy option; naming it without a value switches it on."""
    value = options.get(name, default)
    if value is None or value in ("", True) or str(value).upper() == "TRUE":
        return True
    if value is False or str(value).upper() == "FALSE":
        return False
    raise errors.error(errors.INVALID_OPTION, f"Invalid value '{value}' for option {name}: use TRUE or FALSE")


def file_format(cursor: "Cursor", given: dict[str, Any] | None) -> Format:
    """Return the format that FILE_FORMAT = (…) describes, CSV when it is left out.

    Raises:
        ProgrammingError: The type or an option is not done locally.
    """
    options = dict(given or {})
    if name := options.pop("FORMAT_NAME", None):
        connection = cursor.connection
        named = lookup_file_format(cursor.duckdb_connection, str(name), connection.database, connection.schema)
        options = {**named, **options}
    kind = str(options.get("TYPE", "CSV")).upper()
    if kind not in {"CSV", "PARQUET"}:
        raise errors.unsupported(f"FILE_FORMAT TYPE = {kind}", "Use CSV or PARQUET.")
    known = _CSV if kind == "CSV" else _PARQUET
    if unknown := sorted(options.keys() - known):
        raise errors.unsupported(f"FILE_FORMAT (TYPE = {kind}) … {', '.join(unknown)}")
    compression = str(options.get("COMPRESSION", "AUTO")).upper()
    compressions = {"AUTO", "GZIP", "ZSTD", "NONE"} if kind == "CSV" else {"AUTO", "SNAPPY", "NONE"}
    if str(options.get("SNAPPY_COMPRESSION", True)).upper() == "FALSE":
        compression = "NONE"
    if compression not in compressions:
        raise errors.unsupported(f"COMPRESSION = {compression} for {kind}", f"Use {', '.join(sorted(compressions))}.")
    if str(options.get("ESCAPE_UNENCLOSED_FIELD", "NONE")).upper() != "NONE":
        raise errors.unsupported("ESCAPE_UNENCLOSED_FIELD", "It is NONE here.")
    if str(options.get("USE_LOGICAL_TYPE", True)).upper() == "FALSE":
        raise errors.unsupported("USE_LOGICAL_TYPE = FALSE")
    nulls = options.get("NULL_IF", ["\\N"])
    quote = str(options.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE"))
    return Format(
        type=kind,
        compression=compression,
        delimiter=str(options.get("FIELD_DELIMITER", ",")),
        quote="" if quote.upper() == "NONE" else quote,
        nulls=tuple(str(item) for item in (nulls if isinstance(nulls, list) else [nulls])),
        empty_is_null=flag(options, "EMPTY_FIELD_AS_NULL", True),
        skip=int(options.get("SKIP_HEADER", 0)),
        header=flag(options, "PARSE_HEADER", False),
        trim=flag(options, "TRIM_SPACE", False),
        extension=options.get("FILE_EXTENSION"),
    )


def _value(node: exp.Expr | None) -> Any:
    match node:
        case None:
            return None
        case exp.Literal() if node.is_string:
            return node.name
        case exp.Literal():
            return int(node.name)
        case exp.Boolean():
            return node.this
        case exp.Paren():
            return [_value(node.this)]
        case exp.Tuple():
            return [_value(item) for item in node.expressions]
    return node.name
