"""Why a query fails, in Athena's words."""

import re

import duckdb
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError, UnsupportedError

USER, SYSTEM = 2, 1


class QueryFailed(Exception):  # noqa: N818 (the name of the state that it leads to)
    """A query ends without a result.

    Attributes:
        code: Trino's name of the error, e.g. ``TABLE_NOT_FOUND``.
        message: The rest of the reason.
        state: ``FAILED``, or ``CANCELLED`` when a limit of the workgroup ended the query.
    """

    def __init__(self, code: str, message: str, state: str = "FAILED") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.state = state


class Cancelled(Exception):  # noqa: N818 (as above)
    """Somebody stopped the query."""


def unsupported(what: str, supported: str = "") -> QueryFailed:
    """The failure of a form that real Athena has and the local stack lacks."""
    hint = f"; supported: {supported}" if supported else ""
    return QueryFailed("NOT_SUPPORTED", f"{what} is not supported by the local stack's Athena{hint}")


def place(node: exp.Expr | None) -> str:
    """``line 1:8: `` of a node of a syntax tree, or nothing where its place is unknown."""
    parts = [part.meta for part in node.walk() if "line" in part.meta] if node is not None else []
    if not parts:
        return ""
    first = min(parts, key=lambda meta: meta["start"])
    return f"line {first['line']}:{max(first['col'] - (first['end'] - first['start']), 1)}: "


def from_parser(error: Exception) -> QueryFailed:
    """Translate what sqlglot says about a statement it can't read or translate."""
    if isinstance(error, UnsupportedError):
        return unsupported(str(error))
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        near = first.get("highlight") or "<EOF>"
        return QueryFailed(
            "SYNTAX_ERROR", f"line {first.get('line')}:{first.get('col')}: mismatched input near '{near}'"
        )
    if isinstance(error, TokenError):
        return QueryFailed("SYNTAX_ERROR", f"line 1:1: {error}")
    return QueryFailed("SYNTAX_ERROR", f"line 1:1: {error}")


_COLUMN = re.compile(r'(?:column|Table) "([^"]+)" (?:not found|does not have a column named "([^"]+)")', re.IGNORECASE)
_CODES: tuple[tuple[type[duckdb.Error], str], ...] = (
    (duckdb.ConversionException, "INVALID_CAST_ARGUMENT"),
    (duckdb.OutOfRangeException, "NUMERIC_VALUE_OUT_OF_RANGE"),
    (duckdb.OutOfMemoryException, "EXCEEDED_LOCAL_MEMORY_LIMIT"),
    (duckdb.PermissionException, "PERMISSION_DENIED"),
    (duckdb.ParserException, "SYNTAX_ERROR"),
    (duckdb.NotImplementedException, "NOT_SUPPORTED"),
    (duckdb.BinderException, "TYPE_MISMATCH"),
    (duckdb.CatalogException, "FUNCTION_NOT_REGISTERED"),
    (duckdb.InvalidInputException, "INVALID_FUNCTION_ARGUMENT"),
)


def from_duckdb(error: duckdb.Error, tree: exp.Expr | None = None, lake: str = "") -> QueryFailed:
    """Translate an error of the engine.

    Args:
        error: What DuckDB raised.
        tree: The statement as the user wrote it, to find the place of a name in it.
        lake: The folder of all buckets, which the user knows as ``s3://``.
    """
    # The rest is the translated statement, which the user never wrote.
    text = str(error).split("\n\nLINE ")[0].partition("Error: ")[2] or str(error)
    first = (text.replace(lake, "s3://") if lake else text).split("\n")[0].strip()
    if first.startswith("HIVE_BAD_DATA: "):
        return QueryFailed("HIVE_BAD_DATA", first.removeprefix("HIVE_BAD_DATA: "))
    if "Malformed JSON" in first or "CSV" in first:
        return QueryFailed("HIVE_BAD_DATA", first)
    if match := _COLUMN.search(first):
        name = match[2] or match[1]
        node = None
        if tree is not None:
            node = next((c for c in tree.find_all(exp.Column) if c.name.lower() == name.lower()), None)
        return QueryFailed(
            "COLUMN_NOT_FOUND",
            f"{place(node)}Column '{name}' cannot be resolved or requester is not authorized to access requested "
            "resources",
        )
    if "must appear in the GROUP BY clause" in first:
        return QueryFailed("EXPRESSION_NOT_AGGREGATE", first)
    if "Ambiguous reference" in first:
        return QueryFailed("AMBIGUOUS_NAME", first)
    if "Division by zero" in first:
        return QueryFailed("DIVISION_BY_ZERO", "Division by zero")
    if "More than one row returned by a subquery" in first:
        return QueryFailed("SUBQUERY_MULTIPLE_ROWS", "Scalar sub-query has returned multiple rows")
    if "Scalar Function with name" in first:
        name = first.split("with name ")[1].split(" ")[0]
        return QueryFailed("FUNCTION_NOT_REGISTERED", f"Function '{name}' not registered")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "GENERIC_INTERNAL_ERROR")
    return QueryFailed(code, first.partition(" You might need")[0])
