"""Tables of the local Redshift: their columns and types, and where DuckDB keeps what it doesn't know.

DuckDB has no ``VARCHAR(n)``, so a length is a CHECK constraint, which is also where it is read back from: ``strlen``
counts the bytes of a VARCHAR, ``length`` the characters of a CHAR, which in Redshift have one byte each.
"""

# ruff: noqa: S608 -- names and texts are quoted.

import re
from dataclasses import dataclass, replace

import duckdb
from sqlglot import exp

from local.aws.athena_tables import identifier, quoted
from local.aws.redshift_errors import QueryFailed, unsupported

PUBLIC = "public"
RECORDS = "local_stack"
"""The schema of what is recorded but has no effect here: grants, owners, VACUUM, ANALYZE."""

LONGEST = 65535
_FIXED = ("CHAR", "NCHAR", "BPCHAR")
_PLAIN = (
    "SMALLINT", "INT", "BIGINT", "REAL", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME",
)  # fmt: skip
_SHOWN = {
    "TINYINT": "int2", "SMALLINT": "int2", "UTINYINT": "int2", "INTEGER": "int4", "USMALLINT": "int4", "BIGINT": "int8",
    "UINTEGER": "int8", "HUGEINT": "int8", "FLOAT": "float4", "DOUBLE": "float8", "BOOLEAN": "bool", "DATE": "date",
    "TIMESTAMP": "timestamp", "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz", "TIME": "time", "VARCHAR": "varchar", '"NULL"': "varchar",
    "INTERVAL": "interval",
}  # fmt: skip
_STORED = {
    "TINYINT": "SMALLINT", "UTINYINT": "SMALLINT", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT", "HUGEINT": "BIGINT",
    "TIMESTAMP_S": "TIMESTAMP", "TIMESTAMP_MS": "TIMESTAMP", "TIMESTAMP_NS": "TIMESTAMP", '"NULL"': "VARCHAR",
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A table or view; temporary ones are in no schema of the user's."""

    schema: str
    table: str
    temporary: bool = False

    @property
    def sql(self) -> str:
        """As DuckDB knows it."""
        return f"{'temp.main' if self.temporary else identifier(self.schema)}.{identifier(self.table)}"

    def __str__(self) -> str:
        return self.table if self.temporary else f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: In lower case.
        type: DuckDB's.
        length: The most bytes (VARCHAR) or characters (CHAR).
        fixed: Whether it is CHAR rather than VARCHAR.
        required: NOT NULL.
        default: SQL of DuckDB.
    """

    name: str
    type: str
    length: int | None = None
    fixed: bool = False
    required: bool = False
    default: str | None = None

    @property
    def sql(self) -> str:
        """Its definition for DuckDB."""
        name = identifier(self.name)
        default = f" DEFAULT {self.default}" if self.default is not None else ""
        check = f" CHECK ({'length' if self.fixed else 'strlen'}({name}) <= {self.length})" if self.length else ""
        return f"{name} {self.type}{' NOT NULL' if self.required else ''}{default}{check}"

    @property
    def shown(self) -> str:
        """Redshift's name of its type with the length, for people."""
        if self.type == "VARCHAR":
            return f"{'CHAR' if self.fixed else 'VARCHAR'}({self.length or LONGEST})"
        return self.type


def stored(kind: str) -> str:
    """The type in which a table keeps values of a query's type.

    Raises:
        QueryFailed: Redshift has none like it.
    """
    if kind in _STORED or kind in _SHOWN or kind.startswith("DECIMAL"):
        return _STORED.get(kind, kind)
    raise unsupported(f"a column of the type {kind}")


def metadata(column: Column) -> dict[str, object]:
    """The ``ColumnMetadata`` of the API, without the table.

    Raises:
        QueryFailed: Redshift has no such type.
    """
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", column.type)
    if decimal is None and column.type not in _SHOWN:
        raise unsupported(f"a result of the type {column.type}", "cast it")
    name = "numeric" if decimal else "bpchar" if column.fixed else _SHOWN[column.type]
    sizes = {"int2": (5, 2), "int4": (10, 4), "int8": (19, 8), "float4": (8, 4), "float8": (17, 8)}
    precision, length = sizes.get(name, (0, 0))
    if name in ("varchar", "bpchar"):
        precision = length = column.length or LONGEST
    return {
        "name": column.name,
        "label": column.name,
        "typeName": name,
        "length": length,
        "precision": int(decimal[1]) if decimal else precision,
        "scale": int(decimal[2]) if decimal else 0,
        "nullable": 0 if column.required else 1,
        "isSigned": bool(decimal) or name in sizes,
        "isCaseSensitive": name in ("varchar", "bpchar"),
        "isCurrency": False,
    }


def column(definition: exp.ColumnDef) -> Column:
    """Understand the definition of a column.

    Args:
        definition: In lower case, without the attributes that are only physical.

    Raises:
        QueryFailed: It has a type or constraint that can't be kept.
    """
    found = declared(definition.args.get("kind"))
    for constraint in definition.args.get("constraints") or ():
        kind = constraint.args["kind"]
        if isinstance(kind, exp.NotNullColumnConstraint):
            found = replace(found, required=not kind.args.get("allow_null"))
        elif isinstance(kind, exp.DefaultColumnConstraint):
            found = replace(found, default=kind.this.sql(dialect="duckdb"))
        elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
            found = replace(found, required=True)  # that much of a key Redshift enforces
        elif not isinstance(kind, exp.UniqueColumnConstraint | exp.Reference):
            raise unsupported(f"the column attribute {constraint.sql(dialect='redshift')} of {definition.name}")
    return replace(found, name=definition.name)


def declared(kind: exp.DataType | None) -> Column:
    """A nameless column of a type that a statement names.

    Raises:
        QueryFailed: The type can't be kept.
    """
    if kind is None:
        raise QueryFailed("syntax error: a column has no type")
    written = kind.sql(dialect="redshift").upper()
    word, _, rest = written.partition("(")
    if kind.is_type(*exp.DataType.TEXT_TYPES):
        fixed = word in _FIXED
        given = rest.rstrip(")")
        if kind.is_type("text") or word == "BPCHAR":
            given = "256"
        length = LONGEST if given == "MAX" else int(given) if given else 1 if fixed else 256
        if not 1 <= length <= (4096 if fixed else LONGEST):
            raise QueryFailed(f"length for type {word.lower()} cannot be {length}")
        return Column("", "VARCHAR", length, fixed)
    if kind.is_type("decimal"):
        sizes = [int(size.name) for size in kind.expressions] or [18]
        return Column("", f"DECIMAL({sizes[0]},{sizes[1] if len(sizes) > 1 else 0})")
    translated = kind.sql(dialect="duckdb")
    if translated not in _PLAIN:
        raise unsupported(f"the type {written}")
    return Column("", translated)


# ---------------------------------------------------------------------------------------------------------- the catalog


def find(cursor: duckdb.DuckDBPyConnection, schema: str | None, table: str) -> tuple[Name, str] | None:
    """Look a relation up: a temporary one first, then in the schema, which is ``public`` where none is written.

    Returns:
        The name, and ``TABLE`` or ``VIEW``.
    """
    found = cursor.execute(
        "SELECT temporary, kind FROM (SELECT schema_name, table_name AS name, temporary, 'TABLE' AS kind "
        "FROM duckdb_tables() WHERE NOT internal UNION ALL SELECT schema_name, view_name, temporary, "
        "'VIEW' FROM duckdb_views() WHERE NOT internal) WHERE name = $name AND ((temporary AND $schema IS NULL) OR "
        "(NOT temporary AND schema_name = coalesce($schema, $public))) ORDER BY temporary DESC LIMIT 1",
        {"name": table, "schema": schema, "public": PUBLIC},
    ).fetchone()
    return (Name(schema or PUBLIC, table, found[0]), found[1]) if found else None


def columns(cursor: duckdb.DuckDBPyConnection, name: Name) -> list[Column]:
    """The columns of a table or view, in their order."""
    place = (
        f"table_name = {quoted(name.table)} AND "
        f"{'database_name' if name.temporary else 'schema_name'} = {quoted('temp' if name.temporary else name.schema)}"
    )
    lengths: dict[str, tuple[int | None, bool]] = {}
    for constrained, expression in cursor.execute(
        f"SELECT constraint_column_names[1], expression FROM duckdb_constraints() "
        f"WHERE constraint_type = 'CHECK' AND {place}"
    ).fetchall():
        if match := re.search(r"(strlen|length)\(.*\) <= (\d+)", expression):
            lengths[constrained] = (int(match[2]), match[1] == "length")
    described = cursor.execute(
        "SELECT column_name, data_type, is_nullable, column_default FROM duckdb_columns() "
        f"WHERE {place} ORDER BY column_index"
    ).fetchall()
    return [
        Column(column, kind, *lengths.get(column, (None, False)), required=not nullable, default=default)
        for column, kind, nullable, default in described
    ]


def create(cursor: duckdb.DuckDBPyConnection, name: Name, wanted: list[Column], *, if_missing: bool = False) -> None:
    """Create a table."""
    words = f"CREATE {'TEMP ' if name.temporary else ''}TABLE {'IF NOT EXISTS ' if if_missing else ''}"
    place = identifier(name.table) if name.temporary else name.sql
    cursor.execute(f"{words}{place} ({', '.join(column.sql for column in wanted)})")


def rebuild(cursor: duckdb.DuckDBPyConnection, name: Name, wanted: list[Column]) -> None:
    """Replace a table by one with other columns and the same rows; columns that are new get their default.

    DuckDB can't add a constraint to a table, and a length is one. It happens within the current transaction.
    """
    kept = {column.name for column in columns(cursor, name)}
    staged = replace(name, table=f"{name.table}__altered")
    create(cursor, staged, wanted)
    shared = ", ".join(identifier(column.name) for column in wanted if column.name in kept)
    cursor.execute(f"INSERT INTO {staged.sql} ({shared}) SELECT {shared} FROM {name.sql}")
    cursor.execute(f"DROP TABLE {name.sql}")
    cursor.execute(f"ALTER TABLE {staged.sql} RENAME TO {identifier(name.table)}")
