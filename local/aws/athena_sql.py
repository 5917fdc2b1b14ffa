"""Read a statement: what it is, which catalog tables it needs, and what it is called in DuckDB's SQL."""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from local.aws import athena_functions
from local.aws.athena_errors import QueryFailed, from_parser, place, unsupported

CATALOG = "awsdatacatalog"
STATEMENTS = (
    "SELECT, WITH, VALUES, INSERT INTO, UNLOAD, EXPLAIN, CREATE TABLE AS, CREATE EXTERNAL TABLE, CREATE VIEW, "
    "CREATE DATABASE, DROP TABLE, DROP VIEW, DROP DATABASE, ALTER TABLE, MSCK REPAIR TABLE, SHOW, DESCRIBE"
)
UNNAMED = "\x1funnamed"  # the name of a result column that has none; nobody can write it

_BLANK = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_CREATE_AS = re.compile(r"CREATE\s+TABLE\b.*?\bAS\b[\s(]*(?:SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUERY_WORDS = {"SELECT", "WITH", "VALUES", "TABLE"}


@dataclass(frozen=True)
class Name:
    """A table or view, its database included, in lower case."""

    database: str
    table: str

    def __str__(self) -> str:
        return f"{self.database}.{self.table}"


@dataclass(frozen=True)
class Shape:
    """What a translation must know about a table.

    Attributes:
        partition_keys: Their names.
        types: The Hive type of each column, partition keys included.
    """

    partition_keys: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Query:
    """A query in both languages.

    Attributes:
        tree: As the user wrote it; errors point into it.
        duckdb: The translation, in which a catalog table is the view called ``database.table``.
        tables: The catalog tables and views it reads.
        filters: Conditions that alone decide about partitions, by table, in DuckDB's SQL; see :func:`_filters`.
    """

    tree: exp.Expr
    duckdb: exp.Expr
    tables: set[Name] = field(default_factory=set)
    filters: dict[Name, list[exp.Expr]] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The translation as text."""
        return render(self.duckdb)


def render(tree: exp.Expr) -> str:
    """A translated tree as DuckDB's SQL.

    Raises:
        QueryFailed: It has a form that DuckDB lacks.
    """
    try:
        return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise from_parser(error) from error


def strip(sql: str) -> str:
    """A statement without what surrounds it: blanks, comments, one final semicolon."""
    body = sql[_BLANK.match(sql).end() :].rstrip()  # type: ignore[union-attr]
    return body.removesuffix(";").rstrip()


def kind(sql: str) -> str:
    """Classify a stripped statement.

    Returns:
        ``QUERY``, ``INSERT``, ``CTAS``, ``VIEW``, ``UNLOAD``, ``EXPLAIN`` or ``DDL`` (Hive's language).

    Raises:
        QueryFailed: Nothing the local stack executes.
    """
    words = re.findall(r"\w+|\(", sql.upper()[:200]) or [""]
    if words[0] in _QUERY_WORDS or words[0] == "(":
        return "QUERY"
    if words[0] in ("INSERT", "UNLOAD", "EXPLAIN"):
        return words[0]
    if words[0] == "CREATE":
        if words[1:2] == ["VIEW"] or words[1:4] == ["OR", "REPLACE", "VIEW"]:
            return "VIEW"
        if words[1:2] == ["TABLE"] and _CREATE_AS.match(sql):
            return "CTAS"
        return "DDL"
    if words[0] in ("DROP", "ALTER", "MSCK", "SHOW", "DESCRIBE", "DESC"):
        return "DDL"
    if words[0] in (
        "DELETE",
        "UPDATE",
        "MERGE",
        "OPTIMIZE",
        "VACUUM",
        "PREPARE",
        "EXECUTE",
        "DEALLOCATE",
        "USE",
        "SET",
    ):
        raise unsupported(f"The statement {words[0]}", STATEMENTS)
    raise QueryFailed("SYNTAX_ERROR", f"line 1:1: mismatched input '{sql.split(maxsplit=1)[0] if sql else '<EOF>'}'. "
                      f"Expecting one of: {STATEMENTS}")  # fmt: skip


def tokens(sql: str, dialect: str = "trino") -> list[Token]:
    """The tokens of a statement.

    Raises:
        QueryFailed: A string or comment has no end, or a character has no meaning.
    """
    try:
        return sqlglot.tokenize(sql, read=dialect)
    except SqlglotError as error:
        raise from_parser(error) from error


def bind(sql: str, parameters: list[str] | None) -> str:
    """Put execution parameters in the place of the question marks.

    Args:
        sql: A statement.
        parameters: SQL literals, in order.

    Raises:
        QueryFailed: Their number is wrong, or one isn't a literal.
    """
    marks = [token for token in tokens(sql) if token.token_type is TokenType.PLACEHOLDER] if "?" in sql else []
    values = parameters or []
    if len(marks) != len(values):
        raise QueryFailed(
            "INVALID_PARAMETER_USAGE",
            f"line 1:1: Incorrect number of parameters: expected {len(marks)} but found {len(values)}",
        )
    for mark, value in reversed(list(zip(marks, values, strict=True))):
        _check_literal(value)
        sql = sql[: mark.start] + value + sql[mark.end + 1 :]
    return sql


_LITERALS = (
    *(exp.Literal, exp.Null, exp.Boolean, exp.Neg, exp.Cast, exp.Array, exp.Interval),
    *(exp.DataType, exp.DataTypeParam, exp.Var, exp.Paren),
)


def _check_literal(value: str) -> None:
    try:
        tree = sqlglot.parse_one(value, read="trino")
    except SqlglotError as error:
        raise QueryFailed("INVALID_PARAMETER_USAGE", f"The execution parameter {value!r} is not a literal") from error
    if not all(isinstance(node, _LITERALS) for node in tree.walk()):
        raise QueryFailed(
            "INVALID_PARAMETER_USAGE", f"The execution parameter {value!r} is not a literal; write strings as 'text'"
        )


def parse(sql: str) -> exp.Expr:
    """Read one statement of Trino's language.

    Raises:
        QueryFailed: A syntax error, several statements, or a function that the local stack doesn't have.
    """
    if "`" in _QUOTED.sub("", sql):
        raise QueryFailed("SYNTAX_ERROR", "line 1:1: backquoted identifiers are not supported; use double quotes")
    try:
        trees = [tree for tree in sqlglot.parse(sql, read="athena") if tree is not None]
    except SqlglotError as error:
        raise from_parser(error) from error
    if len(trees) != 1:
        raise QueryFailed("SYNTAX_ERROR", f"Only one sql statement is allowed. Got: {sql[:200]}")
    tree = trees[0]
    if tree.find(exp.Command):
        raise QueryFailed("SYNTAX_ERROR", f"line 1:1: cannot read '{sql[:60]}'")
    _check_functions(sql, tree)
    return tree


def _check_functions(sql: str, tree: exp.Expr) -> None:
    """Refuse functions that the local stack would not execute as Trino does, by the names the user wrote."""
    named = {identifier.name.lower() for identifier in tree.find_all(exp.Identifier)}
    named |= {alias.name.lower() for alias in tree.find_all(exp.TableAlias)}
    stream = tokens(sql)
    for token, following in itertools.pairwise(stream):
        name = token.text.lower()
        if token.token_type is not TokenType.VAR or following.token_type is not TokenType.L_PAREN:
            continue
        if name not in athena_functions.SUPPORTED and name not in named and name not in _NOT_FUNCTIONS:
            raise QueryFailed(
                "FUNCTION_NOT_REGISTERED",
                f"line {token.line}:{max(token.col - len(name) + 1, 1)}: Function '{name}' not registered "
                "(the local stack executes the functions named in local/aws/athena_functions.py)",
            )


_NOT_FUNCTIONS = {
    "ordinality",
    "bernoulli",
    "system",
    "sets",
    "cube",
    "rollup",
    "within",
    "group",
    "filter",
    "grouping",
    "over",
}


# --------------------------------------------------------------------------------------------------------- translation


def translate(tree: exp.Expr, database: str, shape: Callable[[Name], Shape]) -> Query:
    """Translate a query.

    Args:
        tree: From :func:`parse`; it is not changed.
        database: Of tables that are written without one.
        shape: Of a table; it raises :class:`QueryFailed` where there is no such table.

    Returns:
        The query.

    Raises:
        QueryFailed: It reads something that is not a table of the Glue Catalog, or has a form that can't be translated.
    """
    query = Query(tree, tree.copy())
    shapes: dict[Name, Shape] = {}
    for table in list(query.duckdb.find_all(exp.Table)):
        if isinstance(table.this, exp.Func):
            called = table.this.name if isinstance(table.this, exp.Anonymous) else table.this.sql_name().lower()
            raise QueryFailed("FUNCTION_NOT_REGISTERED", f"{place(table)}Table function '{called}' not registered")
        if not table.name:
            raise unsupported(f"{place(table)}The relation {table.sql('trino')}")
        if not table.db and _is_cte(table):
            continue
        name = table_name(table, database)
        shapes[name] = _known(shape, name, table)
        query.tables.add(name)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("this", exp.to_identifier(str(name), quoted=True))
        table.set("db", None)
        table.set("catalog", None)
        table.meta["name"] = name
    for column in query.duckdb.find_all(exp.Column):
        if column.args.get("db"):
            column.set("db", None)
            column.set("catalog", None)
    for select in query.duckdb.find_all(exp.Select):
        _check_types(select, shapes)
    _unnest(
        query.duckdb, {c for shape in shapes.values() for c, kind in shape.types.items() if kind.startswith("map<")}
    )
    if mentions_path(query.duckdb):
        _hide_path(query.duckdb)
    query.duckdb = _name_results(query.duckdb)
    query.duckdb = athena_functions.translate(query.duckdb)
    for select in query.duckdb.find_all(exp.Select):
        _filters(select, shapes, query.filters)
    places = [table.meta["name"] for table in query.duckdb.find_all(exp.Table) if "name" in table.meta]
    for name in [name for name in query.filters if places.count(name) > 1]:
        del query.filters[name]  # one view serves all its places, which may want different partitions
    return query


def _known(shape: Callable[[Name], Shape], name: Name, table: exp.Table) -> Shape:
    try:
        return shape(name)
    except QueryFailed as failure:
        raise QueryFailed(failure.code, place(table) + failure.message) from failure


def table_name(table: exp.Table, database: str) -> Name:
    """The name of a table in a statement.

    Raises:
        QueryFailed: Another catalog than ``AwsDataCatalog``.
    """
    catalog = table.catalog.lower()
    if catalog not in ("", CATALOG, "hive"):
        raise QueryFailed("CATALOG_NOT_FOUND", f"{place(table)}Catalog '{table.catalog}' does not exist")
    return Name((table.db or database).lower(), table.name.lower())


def _is_cte(table: exp.Table) -> bool:
    """Whether a name means a common table expression, which is visible to what follows it."""
    node: exp.Expr = table
    inside: exp.CTE | None = None
    while node.parent is not None:
        node = node.parent
        if isinstance(node, exp.CTE):
            inside = node
        clause = node.args.get("with_")
        if clause is None:
            continue
        visible = list(clause.expressions)
        if inside is not None and inside in visible:
            visible = visible[: _index(visible, inside) + bool(clause.args.get("recursive"))]
        if any(cte.alias.lower() == table.name.lower() for cte in visible):
            return True
    return False


def _index(nodes: list[exp.Expr], wanted: exp.Expr) -> int:
    return next(place for place, node in enumerate(nodes) if node is wanted)


def _unnest(tree: exp.Expr, maps: set[str]) -> None:
    """Write Trino's UNNEST of several arrays, of a map, and of rows, as a lateral query of DuckDB's ``unnest``."""
    for node in list(tree.find_all(exp.Unnest)):
        alias = node.args.get("alias")
        names = [column.name for column in alias.columns] if alias else []
        ordinality = node.args.get("offset")
        if isinstance(ordinality, exp.Identifier):  # sqlglot takes the last name out of the list
            names.append(ordinality.name)
        arrays = node.expressions
        plain = len(names) - bool(ordinality)
        lengths = [_call("len", array) for array in arrays]
        projections = [_call("unnest", array) for array in arrays]
        if any(_is_map(array, maps) for array in arrays):
            if len(arrays) > 1:
                raise unsupported(f"{place(node)}UNNEST of several maps")
            projections = [_call("unnest", _call(part, arrays[0])) for part in ("map_keys", "map_values")]
            lengths = [_call("cardinality", arrays[0])]
        elif plain > 1 and len(arrays) == 1:  # an array of rows
            depth = exp.PropertyEQ(this=exp.var("max_depth"), expression=exp.Literal.number(2))
            projections = [_call("unnest", arrays[0], depth)]
        elif plain not in (0, len(arrays)):
            raise unsupported(f"{place(node)}UNNEST of several arrays of rows")
        if ordinality:
            count = _call("greatest", *(_call("coalesce", length, exp.Literal.number(0)) for length in lengths))
            last = exp.Add(this=exp.cast(count, "BIGINT"), expression=exp.Literal.number(1))
            projections.append(_call("unnest", _call("range", exp.Literal.number(1), last)))
        outer = exp.TableAlias(
            this=exp.to_identifier(alias.name or "unnested", quoted=True) if alias else exp.to_identifier("unnested"),
            columns=[exp.to_identifier(name, quoted=True) for name in names],
        )
        node.replace(exp.Lateral(this=exp.Subquery(this=exp.Select(expressions=projections)), alias=outer))


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _is_map(node: exp.Expr, maps: set[str]) -> bool:
    if isinstance(node, exp.Column):
        return node.name.lower() in maps
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in ("map_agg", "histogram", "map_from_entries")
    return isinstance(node, exp.Map | exp.VarMap | exp.ToMap | exp.MapFromEntries | exp.StrToMap)


def mentions_path(tree: exp.Expr) -> bool:
    """Whether a query asks for the hidden column ``"$path"``."""
    return any(column.name == "$path" for column in tree.find_all(exp.Column))


def _hide_path(tree: exp.Expr) -> None:
    """Keep ``*`` from showing the hidden column in a query that makes it exist."""
    for star in list(tree.find_all(exp.Star)):
        everything = star.parent if isinstance(star.parent, exp.Column) else star
        if isinstance(everything.parent, exp.Select):
            everything.replace(exp.var(f"{everything.sql('duckdb')} NOT LIKE '$path'"))


def _name_results(tree: exp.Expr) -> exp.Expr:
    """Mark the result columns that have no name; which number they get is known when stars are expanded."""
    if isinstance(tree, exp.Values):
        width = len(tree.expressions[0].expressions) if isinstance(tree.expressions[0], exp.Tuple) else 1
        names = [exp.to_identifier(f"{UNNAMED}{position}", quoted=True) for position in range(width)]
        rows = tree.copy()
        rows.set("alias", exp.TableAlias(this=exp.to_identifier("rows", quoted=True), columns=names))
        return exp.Select(expressions=[exp.Star()]).from_(rows)
    top = tree
    while isinstance(top, exp.SetOperation | exp.Subquery):
        top = top.this
    if isinstance(top, exp.Select):
        for position, node in enumerate(list(top.expressions)):
            if isinstance(node, exp.Dot):
                node.replace(exp.alias_(node.copy(), node.expression.name, quoted=True))
            elif not isinstance(node, exp.Column | exp.Alias | exp.Star | exp.Var | exp.Aliases):
                node.replace(exp.alias_(node.copy(), f"{UNNAMED}{position}", quoted=True))
    return tree


def column_names(names: list[str]) -> list[str]:
    """The names of result columns, ``_col<position>`` for those without one."""
    return [f"_col{i}" if name.startswith(UNNAMED) else name for i, name in enumerate(names)]


_FAMILIES = {
    **dict.fromkeys(
        ("tinyint", "smallint", "int", "integer", "bigint", "float", "real", "double", "decimal"), "number"
    ),
    **dict.fromkeys(("string", "varchar", "char"), "varchar"),
    "date": "date",
    "timestamp": "timestamp",
    "boolean": "boolean",
}
_OPERATORS = {exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}


_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_TEXTS = (exp.Substring, exp.Lower, exp.Upper, exp.Trim)
_NUMBERS = (exp.Length, exp.Count)


def _check_types(select: exp.Select, shapes: dict[Name, Shape]) -> None:
    """Refuse operators between types that Trino refuses and DuckDB would make sense of.

    Columns are looked up only where all sources of a SELECT are catalog tables: there, no alias can hide one.
    """
    origin, joins = select.args.get("from_"), select.args.get("joins") or []
    sources = [source.this for source in ([origin, *joins] if origin else [])]
    types: dict[str, Mapping[str, str]] = {}
    if all("name" in source.meta for source in sources):
        types = {source.alias.lower(): shapes[source.meta["name"]].types for source in sources}
    clauses = [*select.expressions, select.args.get("where"), select.args.get("group"), select.args.get("having")]
    for clause in [*clauses, *(join.args.get("on") for join in joins)]:
        for node in clause.find_all(*_OPERATORS, *_ARITHMETIC, exp.Between, exp.In) if clause is not None else ():
            if node.find_ancestor(exp.Select) is not select or node.find_ancestor(exp.Lambda):
                continue
            if isinstance(node, exp.Between):
                left, others, sign = node.this, [node.args["low"], node.args["high"]], "BETWEEN"
            elif isinstance(node, exp.In):
                left, others, sign = node.this, node.expressions, "IN"
            else:
                left, others, sign = node.this, [node.expression], (_OPERATORS | _ARITHMETIC)[type(node)]
            for other in others:
                kinds = [_comparable(side, types) for side in (left, other)]
                right = kinds[0] == kinds[1] or set(kinds) == {"date", "timestamp"}
                if type(node) in _ARITHMETIC:
                    right = "varchar" not in kinds
                if None not in kinds and not right:
                    shown = [_shown(side, kind) for side, kind in zip((left, other), kinds, strict=True)]
                    raise QueryFailed(
                        "TYPE_MISMATCH", f"{place(left)}Cannot apply operator: {shown[0]} {sign} {shown[1]}"
                    )


def _comparable(node: exp.Expr, types: dict[str, Mapping[str, str]]) -> str | None:
    """The family of an expression's type; ``None`` where it isn't sure."""
    while isinstance(node, exp.Paren | exp.Neg):
        node = node.this
    if isinstance(node, exp.Literal):
        return "varchar" if node.is_string else "number"
    if isinstance(node, exp.Cast):
        return _FAMILIES.get(node.to.sql("trino").lower().partition("(")[0])
    if isinstance(node, _TEXTS + _NUMBERS):
        return "varchar" if isinstance(node, _TEXTS) else "number"
    if not isinstance(node, exp.Column):
        return None
    tables = [types[node.table.lower()]] if node.table.lower() in types else [] if node.table else list(types.values())
    found = [table[node.name.lower()] for table in tables if node.name.lower() in table]
    return _FAMILIES.get(found[0].partition("(")[0]) if len(found) == 1 else None


def _shown(node: exp.Expr, family: str | None) -> str:
    if isinstance(node, exp.Literal):
        return f"varchar({len(node.this)})" if node.is_string else "number"
    return str(family)


def _filters(select: exp.Select, shapes: dict[Name, Shape], found: dict[Name, list[exp.Expr]]) -> None:
    """Collect the conditions of one SELECT that decide about partitions of one of its tables.

    A condition counts when it is one of the terms joined by AND in WHERE and uses only constants and partition keys of
    a table that the joins can't extend with NULLs.
    """
    where, origin, joins = select.args.get("where"), select.args.get("from_"), select.args.get("joins") or []
    if where is None or origin is None or any(join.side in ("RIGHT", "FULL") for join in joins):
        return
    alone = not joins
    for source in [origin.this, *(join.this for join in joins if join.side != "LEFT")]:
        name = source.meta.get("name")
        if name is None or not shapes[name].partition_keys:
            continue
        for term in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
            columns = list(term.find_all(exp.Column))
            if (
                columns
                and not term.find(exp.Select, exp.AggFunc, exp.Window)
                and all(column.name.lower() in shapes[name].partition_keys for column in columns)
                and all(
                    column.table.lower() == source.alias.lower() or (alone and not column.table) for column in columns
                )
            ):
                condition = term.copy()
                for column in condition.find_all(exp.Column):
                    column.set("table", None)
                found.setdefault(name, []).append(condition)
