"""Snowflake SQL that fakesnow and sqlglot translate wrongly, put right or refused before they see it."""

import re

from sqlglot import exp
from sqlglot.dialects.snowflake import Snowflake
from sqlglot.time import format_time

from local.snowflake import errors

# Letters of a date format that stand for themselves, once the known tokens are gone.
_LITERAL = re.compile(r"%.|[^A-Za-z]|T|Z")

# What FROM may call, all in TABLE(…); everything else would be DuckDB's own, which reads any file.
_TABLE_FUNCTIONS = {"FLATTEN", "EXPLODE", "GENERATOR", "QUERY_HISTORY", "RESULT_SCAN", "SPLIT_TO_TABLE"}


def check_sources(statement: exp.Expr) -> None:
    """Refuse what DuckDB reads and Snowflake doesn't: its own table functions, and files by their names.

    Raises:
        ProgrammingError: The statement reads from such a function or file.
    """
    for table in statement.find_all(exp.Table, exp.TableFromRows):
        source = table.this
        while isinstance(source, exp.Dot):
            source = source.expression
        if source is None:  # CREATE SCHEMA names one without a table
            continue
        if isinstance(source, exp.Func) and not isinstance(source, exp.DynamicIdentifier):
            name = source.name if isinstance(source, exp.Anonymous) else source.sql_name()
            if isinstance(table, exp.Table) or name.upper() not in _TABLE_FUNCTIONS:
                raise errors.error(
                    errors.UNKNOWN_FUNCTION, f"SQL compilation error: Unknown table function {name.upper()}"
                )
        located = source.name.startswith("@") or (isinstance(statement, exp.Copy) and source.name.startswith("s3://"))
        path = isinstance(source, exp.Identifier) and re.search(r"[./]", source.name)
        if not located and (path or isinstance(source, exp.Literal)):
            raise errors.error(
                errors.DOES_NOT_EXIST,
                f"SQL compilation error: Object '{source.name}' does not exist or not authorized. Files are read from "
                "a stage: COPY INTO table FROM @stage.",
            )


def to_char(node: exp.Expr) -> exp.Expr:
    """Format a date or timestamp as `to_char(value, 'YYYY-MM')` says.

    sqlglot ignores the format when it does not know the value's type, which it never does for a column.

    Raises:
        NotImplementedError: The format is a number format, unknown, or not a literal.
    """
    if isinstance(node, exp.TimeToStr) and _LITERAL.sub("", node.args["format"].name):
        # Of a known type; sqlglot has translated the tokens that it knows.
        raise NotImplementedError(f"to_char with the date format '{node.args['format'].name}'")
    if not isinstance(node, exp.ToChar) or not (given := node.args.get("format")):
        return node
    if not (isinstance(given, exp.Literal) and given.is_string):
        raise NotImplementedError(f"to_char with a computed format: {node.sql('snowflake')}")
    pattern = format_time(given.name.upper(), Snowflake.TIME_MAPPING, Snowflake.TIME_TRIE) or ""
    if re.search(r"[09$]|TM|FM", re.sub(r"HH24|HH12|FF\d", "", given.name.upper())):
        raise NotImplementedError(f"to_char with the number format '{given.name}'")
    if "%" not in pattern or _LITERAL.sub("", pattern):
        raise NotImplementedError(f"to_char with the date format '{given.name}'")
    timestamp = exp.cast(node.this.copy(), "TIMESTAMPNTZ")
    return exp.Anonymous(this="STRFTIME", expressions=[timestamp, exp.Literal.string(pattern)])


def system_function(statement: exp.Expr, name: str) -> list[str] | None:
    """Return the literal arguments of a statement that only calls a system function.

    Args:
        statement: A parsed statement.
        name: The function, such as `SYSTEM$WAIT`.

    Returns:
        The arguments as text, None when the statement is another one.
    """
    if isinstance(statement, exp.Command) and statement.this.upper() == "CALL":
        call = errors.command_text(statement).partition(" ")[2]
        statement = exp.maybe_parse(f"SELECT {call}", dialect="snowflake")
    if not isinstance(statement, exp.Select) or len(statement.expressions) != 1 or statement.args.get("from_"):
        return None
    call = statement.expressions[0].unalias()
    if not isinstance(call, exp.Anonymous) or call.name.upper() != name:
        return None
    return [argument.name for argument in call.expressions]
