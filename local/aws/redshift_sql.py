"""Redshift's SQL: split, bound, vetted, and translated to DuckDB's by sqlglot, with what sqlglot gets wrong put right.

A function that isn't listed here is refused: DuckDB knows hundreds that Redshift lacks, and what passes on the laptop
must pass in the warehouse.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokens import Token, TokenType

from local.aws.athena_tables import quoted
from local.aws.redshift_errors import QueryFailed, from_parser, unsupported
from local.aws.redshift_tables import Name, declared

Resolve = Callable[[str | None, str], Name]
"""Finds a relation by schema, where one is written, and name; raises QueryFailed."""

_FUNCTIONS = (
    "Abs", "And", "AnyValue", "ApproxDistinct", "Ascii", "Atan2", "Avg", "Case", "Cast", "Cbrt", "Ceil", "Chr",
    "Coalesce", "Concat", "ConvertTimezone", "Cos", "Count", "CumeDist", "CurrentDate", "CurrentDatabase",
    "CurrentSchema", "CurrentTimestamp", "CurrentUser", "DecodeCase", "Degrees", "DenseRank", "Exists", "Exp",
    "Extract", "FirstValue", "Floor", "Greatest", "GroupConcat", "Grouping", "If", "Initcap", "JSONExtractScalar",
    "Lag", "LastDay", "LastValue", "Lead", "Least", "Left", "Length", "Ln", "Log", "LogicalAnd", "LogicalOr", "Lower",
    "LowerHex", "MD5", "Max", "Median", "Min", "MonthsBetween", "NthValue", "Ntile", "Nullif", "Nvl2", "Or", "Pad",
    "PercentRank", "PercentileCont", "PercentileDisc", "Pi", "Pow", "Radians", "Rand", "Rank", "RegexpCount",
    "RegexpExtract", "RegexpILike", "RegexpInstr", "RegexpLike", "RegexpReplace", "Repeat", "Replace", "Reverse",
    "Right", "Round", "RowNumber", "SHA", "SHA2", "Sign", "Sin", "SplitPart", "Sqrt", "Stddev", "StddevPop",
    "StddevSamp", "StrPosition", "StrToDate", "StrToTime", "Substring", "Sum", "Tan", "TimeToStr", "TimestampTrunc",
    "Translate", "Trim", "Trunc", "TryCast", "TsOrDsAdd", "TsOrDsDiff", "TsOrDsToDate", "Upper", "Variance",
    "VariancePop", "Xor",
)  # fmt: skip
# What sqlglot doesn't know of Redshift's functions, by DuckDB's name.
_RENAMED = {"isnull": "coalesce", "replicate": "repeat", "date_part_year": "year", "func_sha1": "sha1",
            "textlen": "length", "octet_length": "strlen", "is_valid_json": "json_valid"}  # fmt: skip
# Redshift's names of the functions that sqlglot calls otherwise.
_SHOWN = {
    "CurrentTimestamp": "getdate", "DecodeCase": "case", "Extract": "date_part", "GroupConcat": "listagg",
    "Length": "len", "LogicalAnd": "bool_and", "LogicalOr": "bool_or", "Nvl2": "case", "Pow": "power", "Rand": "random",
    "RegexpExtract": "regexp_substr", "StrPosition": "strpos", "StrToDate": "to_date", "StrToTime": "to_timestamp",
    "TimeToStr": "to_char", "TimestampTrunc": "date_trunc", "TsOrDsAdd": "date_add", "TsOrDsDiff": "date_diff",
}  # fmt: skip
_SYSTEM = re.compile(r"(?:svv|svl|stl|stv|stcs|svcs|sys|pg)_\w+")
_KINDS = {
    **dict.fromkeys(("SELECT", "WITH", "(", "VALUES"), "QUERY"),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE"), "WRITE"),
    **dict.fromkeys(("BEGIN", "START"), "BEGIN"),
    **dict.fromkeys(("COMMIT", "END"), "COMMIT"),
    **dict.fromkeys(("ROLLBACK", "ABORT"), "ROLLBACK"),
    **dict.fromkeys(("VACUUM", "ANALYZE", "ANALYSE"), "MAINTAIN"),
    **dict.fromkeys(("GRANT", "REVOKE"), "GRANT"),
    **{word: word for word in ("MERGE", "TRUNCATE", "COPY", "UNLOAD", "ALTER", "DROP", "COMMENT", "LOCK")},
}
_BOUND = ("QUERY", "WRITE", "MERGE", "CREATE TABLE")


@dataclass(frozen=True)
class Command:
    """One statement.

    Attributes:
        kind: What is done, e.g. ``QUERY``, ``WRITE``, ``CREATE TABLE``, ``COPY``.
        sql: Its text with the parameters in place.
        used: Names of the parameters that it uses.
    """

    kind: str
    sql: str
    used: frozenset[str] = frozenset()


def tokens(sql: str) -> list[Token]:
    """The words of a text, without comments.

    Raises:
        QueryFailed: A string, name or comment has no end.
    """
    try:
        return sqlglot.tokenize(sql, read="redshift")
    except SqlglotError as error:
        raise from_parser(error) from error


def split(sql: str) -> list[str]:
    """The statements of a text, without those that are empty."""
    found, start = [], 0
    read = tokens(sql)
    for number, token in enumerate(read):
        last = number == len(read) - 1
        if token.token_type is TokenType.SEMICOLON or last:
            end = token.start if token.token_type is TokenType.SEMICOLON else len(sql)
            if tokens(sql[start:end]):
                found.append(sql[start:end].strip())
            start = token.end + 1
    return found


def command(sql: str, parameters: Mapping[str, str] | None = None) -> Command:
    """Tell what a statement does and put its parameters in.

    A ``:name`` becomes a string literal, which like Redshift's takes the type that its place wants.

    Raises:
        QueryFailed: The local stack has no such statement, or parameters can't be used in it.
    """
    read = tokens(sql)
    if not read:
        raise QueryFailed("syntax error: the statement is empty")
    kind = _kind(read)
    text, used, position = "", set(), 0
    for colon, name in itertools.pairwise(read):
        if colon.token_type is TokenType.COLON and name.start == colon.end + 1 and name.text in (parameters or {}):
            text += sql[position : colon.start] + quoted((parameters or {})[name.text])
            position = name.end + 1
            used.add(name.text)
    if used and kind not in _BOUND:
        raise QueryFailed(f"parameters can be used in queries, INSERT, UPDATE, DELETE and MERGE, not in {kind}")
    return Command(kind, text + sql[position:], frozenset(used))


def _kind(read: list[Token]) -> str:
    words = [token.text.upper() for token in read[:4]]
    if words[0] == "CREATE":
        rest = [word for word in words[1:] if word not in ("OR", "REPLACE", "TEMP", "TEMPORARY", "LOCAL")]
        if rest and rest[0] in ("TABLE", "VIEW", "SCHEMA"):
            return f"CREATE {rest[0]}"
    if words[0] not in _KINDS:
        raise unsupported(" ".join(words[:2]))
    return _KINDS[words[0]]


def parse(sql: str) -> exp.Expr:
    """The syntax tree of one statement, with names in lower case, as Redshift keeps them, quoted or not.

    Raises:
        QueryFailed: It can't be read.
    """
    try:
        tree = sqlglot.parse_one(sql, read="redshift", error_level=ErrorLevel.IMMEDIATE)
    except SqlglotError as error:
        raise from_parser(error) from error
    if isinstance(tree, exp.Command):
        raise unsupported(f"this form of {tree.name}: {' '.join(sql.split())[:80]}")
    for node in tree.find_all(exp.Identifier):
        node.set("this", node.name.lower())
        node.set("quoted", True)
    return tree


def render(tree: exp.Expr) -> str:
    """A translated tree as SQL of DuckDB.

    Raises:
        QueryFailed: DuckDB has nothing like some part of it.
    """
    try:
        return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise from_parser(error) from error


def translate(tree: exp.Expr, resolve: Resolve, user: str, database: str) -> exp.Expr:
    """Make a statement mean for DuckDB what it means for Redshift, in place.

    Args:
        tree: From :func:`parse`.
        resolve: Finds relations; the tree then names them with their schema.
        user: What ``current_user`` is.
        database: The only database that names may mention, and what ``current_database()`` is.

    Raises:
        QueryFailed: Some part of it can't be done here.
    """
    if any(select.args.get("into") for select in tree.find_all(exp.Select)):
        raise unsupported("SELECT INTO", "write CREATE TABLE … AS")
    _resolve(tree, frozenset(), resolve, database)
    for node in list(tree.walk()):
        if isinstance(node, exp.Func) and type(node).__name__ not in _FUNCTIONS:
            _rename(node)
        if isinstance(node, exp.Placeholder | exp.Parameter):
            raise QueryFailed(f'syntax error at or near ":{node.name}": no parameter has this name')
        if isinstance(node, exp.Lateral | exp.Unnest | exp.SimilarTo | exp.Bracket):
            raise unsupported(node.sql(dialect="redshift", identify=False))
        if isinstance(node, exp.Column):  # relations go by their bare name in the translation
            node.set("db", None)
    return tree.transform(lambda node: _corrected(node, user, database), copy=False)


def name_results(query: exp.Expr) -> None:
    """Name the columns of a query as Redshift does where the query doesn't: by the function, or ``?column?``."""
    if isinstance(query, exp.Subquery | exp.SetOperation):
        name_results(query.this)
    if not isinstance(query, exp.Select):
        return
    for number, selected in enumerate(query.expressions):
        if isinstance(selected, exp.Alias | exp.Column | exp.Star):
            continue
        inner = selected
        while isinstance(inner, exp.Cast | exp.Window | exp.WithinGroup | exp.Paren):
            inner = inner.this
        known = isinstance(inner, exp.Func) and not isinstance(inner, exp.Anonymous | exp.Binary | exp.Exists)
        name = inner.name if isinstance(inner, exp.Column) else "?column?"
        if known:
            name = _SHOWN.get(type(inner).__name__, inner.sql_name().lower())
        query.expressions[number].replace(exp.alias_(selected.copy(), name, quoted=True))


# ---------------------------------------------------------------------------------------------------------------- names


def _resolve(node: exp.Expr, visible: frozenset[str], resolve: Resolve, database: str) -> None:
    """Give every relation its schema, but for the names of WITH, which each query sees of those before it."""
    with_ = node.args.get("with_")
    recursive = with_ is not None and with_.args.get("recursive")
    for cte in with_.expressions if with_ is not None else ():
        _resolve(cte.this, visible | ({cte.alias} if recursive else set()), resolve, database)
        visible |= {cte.alias}
    for child in node.iter_expressions():
        if child is with_:
            continue
        if isinstance(child, exp.Table) and (child.db or child.name not in visible):
            _qualify(child, resolve, database)
        _resolve(child, visible, resolve, database)


def _qualify(table: exp.Table, resolve: Resolve, database: str) -> None:
    if not isinstance(table.this, exp.Identifier):
        raise unsupported(f"a table function: {table.sql(dialect='redshift')}")
    if table.catalog and table.catalog != database:
        raise unsupported(f"a query across databases ({table.catalog})")
    if _SYSTEM.fullmatch(table.name) or table.db in ("pg_catalog", "information_schema"):
        raise unsupported(
            f"the system table {f'{table.db}.' if table.db else ''}{table.name}", "use ListTables or DescribeTable"
        )
    name = resolve(table.db or None, table.name)
    if not table.alias and isinstance(table.parent, exp.From | exp.Join):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(name.table, quoted=True)))
    place(table, name)


def place(table: exp.Table, name: Name) -> None:
    """Let a node of a tree name a relation in full."""
    table.set("this", exp.to_identifier(name.table, quoted=True))
    table.set("db", exp.to_identifier("main" if name.temporary else name.schema, quoted=True))
    table.set("catalog", exp.to_identifier("temp", quoted=True) if name.temporary else None)


# ------------------------------------------------------------------------------------------------------------ functions


def _rename(node: exp.Func) -> None:
    if not isinstance(node, exp.Anonymous) or node.name.lower() not in _RENAMED:
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        raise unsupported(f"the function {name.lower()}")
    node.set("this", _RENAMED[node.name.lower()])


def _corrected(node: exp.Expr, user: str, database: str) -> exp.Expr:
    """Put right what sqlglot takes over although DuckDB means something else by it."""
    match node:
        case exp.Avg():  # of integers, Redshift's is an integer
            return _average(node) if not isinstance(node.parent, exp.Window | exp.Filter) else node
        case exp.Window(this=exp.Avg()):
            total, count = _sum_and_count(node.this)
            windows = [node.copy(), node.copy()]
            for window, function in zip(windows, (total, count), strict=True):
                window.set("this", function)
            return exp.paren(exp.Div(this=windows[0], expression=exp.func("NULLIF", windows[1], exp.Literal.number(0))))
        case exp.Concat():  # of NULL is NULL
            return exp.paren(_joined(node.expressions))
        case exp.GroupConcat():
            return _listagg(node)
        case exp.RegexpReplace():  # all of them
            node.set("modifiers", exp.Literal.string("g"))
        case exp.CurrentTimestamp():  # of GETDATE(), SYSDATE: UTC without a zone
            return exp.cast(exp.func("now"), "timestamp")
        case exp.CurrentUser():
            return exp.Literal.string(user)
        case exp.CurrentDatabase():
            return exp.Literal.string(database)
        case exp.CurrentSchema():
            return exp.Literal.string("public")
        case exp.Like() | exp.ILike() if not isinstance(node.parent, exp.Escape):
            if not node.expression.is_string or "\\" in node.expression.name:
                return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))
        case exp.TimeToStr() | exp.StrToTime() | exp.StrToDate():
            _check_format(node)
        case exp.Cast() if not isinstance(node.parent, exp.ColumnDef):
            return _cast(node)
    return node


def _average(node: exp.Avg) -> exp.Expr:
    total, count = _sum_and_count(node)
    return exp.paren(exp.Div(this=total, expression=exp.func("NULLIF", count, exp.Literal.number(0))))


def _sum_and_count(node: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    return exp.Sum(this=node.this.copy()), exp.Count(this=node.this.copy())


def _joined(parts: Iterable[exp.Expr]) -> exp.Expr:
    first, *rest = [part.copy() for part in parts]
    for part in rest:
        first = exp.DPipe(this=first, expression=part)
    return first


def _listagg(node: exp.GroupConcat) -> exp.Expr:
    if isinstance(node.this, exp.Distinct) and len(node.this.expressions) == 2:
        value, separator = node.this.expressions
        node.set("this", exp.Distinct(expressions=[value]))
        node.set("separator", separator)
    elif node.args.get("separator") is None:
        node.set("separator", exp.Literal.string(""))
    return node


def _check_format(node: exp.Expr) -> None:
    written = node.args.get("format")
    if written is None or not written.is_string:
        raise unsupported("a date format that is not a literal")
    if left := re.search(r"[A-Za-z]+", re.sub(r"%-?[A-Za-z]", "", written.name)):
        raise unsupported(f"{left[0]} in a date format", "use YYYY, MM, DD, HH24, MI, SS")


def _cast(node: exp.Cast) -> exp.Expr:
    kind = node.to
    if isinstance(node.parent, exp.AlterColumn) or kind.is_type("interval"):
        return node
    wanted = declared(kind)
    if wanted.type == "VARCHAR":  # an explicit cast cuts; without a length it takes all
        cast = exp.cast(node.this.copy(), "text")
        sized = bool(kind.expressions) and kind.expressions[0].name.upper() != "MAX"
        return exp.Left(this=cast, expression=exp.Literal.number(wanted.length or 0)) if sized else cast
    node.set("to", exp.DataType.build(wanted.type, dialect="duckdb"))
    return node
