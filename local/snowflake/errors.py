"""Snowflake's errors: what a client is told at once when a statement cannot be done."""

import re

import duckdb
from snowflake.connector.errors import DatabaseError, ProgrammingError
from sqlglot import exp
from sqlglot.errors import SqlglotError

SYNTAX = (1003, "42000")
INVALID_OPTION = (1008, "22023")
UNSUPPORTED = (2, "0A000")
DOES_NOT_EXIST = (2003, "02000")
UNKNOWN_FUNCTION = (2140, "42601")
ALREADY_EXISTS = (2002, "42710")
CANCELED = (604, "57014")
INTERNAL = (603, "XX000")
FILE_ERROR = (100082, "22000")
BAD_VALUE = (100038, "22018")
DUPLICATE_ROW = (100090, "42P18")

# fakesnow's number and wording for what it does not do.
NOT_IMPLEMENTED = 9999
_FAKESNOW = re.compile(r"^009999 \(99999\): | not implemented\. Please raise an issue.*$", re.DOTALL)


def error(kind: tuple[int, str], message: str) -> ProgrammingError:
    """Return the error of `kind`, (error number, SQLSTATE), with `message` as the user reads it."""
    number, state = kind
    return ProgrammingError(msg=message, errno=number, sqlstate=state)


def unsupported(form: str, instead: str = "") -> ProgrammingError:
    """Return the error for a form that the local Snowflake does not do."""
    advice = f" {instead}" if instead else ""
    return error(UNSUPPORTED, f"Unsupported feature '{form}': the local Snowflake does not do it.{advice}")


def as_snowflake_error(cause: Exception, statement: exp.Expr | None) -> DatabaseError:
    """Turn any failure of a statement into the error that its client gets.

    Args:
        cause: What fakesnow, DuckDB, sqlglot or our own code raised.
        statement: The parsed statement, None when it did not parse.

    Returns:
        An error with Snowflake's number and state, the statement's form and the reason.
    """
    if isinstance(cause, DatabaseError):
        return unsupported(_FAKESNOW.sub("", str(cause.msg))) if cause.errno == NOT_IMPLEMENTED else cause
    if isinstance(cause, duckdb.InterruptException):
        return error(CANCELED, "SQL execution canceled")
    reason = str(cause).split("\n\nLINE")[0].strip() or type(cause).__name__
    if isinstance(cause, duckdb.ConversionException | duckdb.OutOfRangeException | duckdb.InvalidInputException):
        return error(BAD_VALUE, reason)
    if isinstance(cause, SqlglotError):
        return error(SYNTAX, f"SQL compilation error: {reason}")
    if isinstance(cause, NotImplementedError):
        return unsupported(f"{form(statement)} {reason}")
    return error(INTERNAL, f"The local Snowflake failed on {form(statement)}: {type(cause).__name__}: {reason}")


def form(statement: exp.Expr | None) -> str:
    """Return the leading keywords of `statement`, such as CREATE STAGE."""
    if statement is None:
        return "the statement"
    if isinstance(statement, exp.Command):
        # sqlglot did not parse it: its second word says what it is about.
        rest = (
            statement.expression.name if isinstance(statement.expression, exp.Expr) else statement.expression
        ).split()
        return " ".join([str(statement.this), *rest[:1]]).upper()
    kind = statement.args.get("kind")
    return " ".join(part for part in (statement.key.upper(), kind if isinstance(kind, str) else "") if part)


def command_text(statement: exp.Command) -> str:
    """Return the text of a statement that sqlglot did not parse."""
    rest = statement.expression
    return f"{statement.this} {rest.name if isinstance(rest, exp.Expr) else str(rest or '')}".strip()
