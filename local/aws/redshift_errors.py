"""Why a Redshift statement fails, as nearly as possible in Redshift's words."""

import re

import duckdb
from sqlglot.errors import ParseError, SqlglotError, TokenError


class QueryFailed(Exception):  # noqa: N818 (the state that it leads to)
    """A statement ends without a result; the text is its ``Error``."""

    def __init__(self, message: str) -> None:
        super().__init__(f"ERROR: {message}")


class Cancelled(Exception):  # noqa: N818 (as above)
    """Somebody cancelled the statement."""


def unsupported(what: str, instead: str = "") -> QueryFailed:
    """The failure of a form that Redshift has and the local stack lacks."""
    hint = f"; {instead}" if instead else ""
    return QueryFailed(f"{what} is not supported by the local stack's Redshift{hint}")


def from_parser(error: SqlglotError) -> QueryFailed:
    """Translate what sqlglot says about a statement that it can't read or translate."""
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        near = first.get("highlight") or "end of input"
        return QueryFailed(f'syntax error at or near "{near}" (line {first.get("line")}, column {first.get("col")})')
    if isinstance(error, TokenError):
        return QueryFailed(f"syntax error: {error}")
    return unsupported(str(error))


_WORDS: tuple[tuple[str, str], ...] = (
    (
        r'CHECK\(+strlen\("?(?P<a>[^)"]+)"?\) <= (?P<b>\d+)',
        "value too long for type character varying({b}), column {a}",
    ),
    (r'CHECK\(+length\("?(?P<a>[^)"]+)"?\) <= (?P<b>\d+)', "value too long for type character({b}), column {a}"),
    (r"NOT NULL constraint failed: [^.]*\.(?P<a>.+)", "Cannot insert a NULL value into column {a}"),
    (r'Referenced column "(?P<a>[^"]+)" (?:was )?not found', 'column "{a}" does not exist'),
    (r'Table "(?P<b>[^"]+)" does not have a column named "(?P<a>[^"]+)"', 'column "{a}" does not exist in {b}'),
    (r'(?:Table|View) with name "?(?P<a>[^" ]+)"? already exists', 'Relation "{a}" already exists'),
    (r'Schema with name "(?P<a>[^"]+)" already exists', 'Schema "{a}" already exists'),
    (r'Schema with name "?(?P<a>[^" ]+)"? does not exist', 'schema "{a}" does not exist'),
    (r'Table with name "?(?P<a>[^" ]+)"? does not exist', 'relation "{a}" does not exist'),
    (r"(?:Scalar|Aggregate|Table) Function with name (?P<a>\S+)", "function {a} does not exist"),
    (
        r"""Could not convert string ['"](?P<a>.*)['"] to (?:U?INT|BIGINT)\d*""",
        'invalid input syntax for integer: "{a}"',
    ),
    (
        r"""Could not convert string ['"](?P<a>.*)['"] to (?:DOUBLE|FLOAT|DEC)""",
        'invalid input syntax for type numeric: "{a}"',
    ),
    (r'Cannot drop entry "(?P<a>[^"]+)"', "cannot drop {a} because other objects depend on it: use DROP … CASCADE"),
    (r"Division by zero", "divide by zero"),
)


def from_duckdb(error: duckdb.Error, lake: str) -> QueryFailed:
    """Translate an error of the engine.

    Args:
        error: What DuckDB raised.
        lake: The folder of all buckets with a final slash, which the user knows as ``s3://``.
    """
    # Behind the first line is the translated statement, which the user never wrote.
    first = str(error).split("\n")[0].replace(lake, "s3://")
    for pattern, words in _WORDS:
        if match := re.search(pattern, first):
            return QueryFailed(words.format(**match.groupdict()))
    return QueryFailed(first.partition("Error: ")[2] or first)
