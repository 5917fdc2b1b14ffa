"""Hive's data definition language, as Athena accepts it: a statement becomes one of the dataclasses below."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from local.aws.athena_errors import QueryFailed, unsupported
from local.aws.athena_sql import CATALOG, Name

Column = dict[str, str]
"""As in the Glue Catalog: ``Name``, ``Type`` and perhaps ``Comment``."""


@dataclass(frozen=True)
class CreateDatabase:
    """CREATE DATABASE."""

    name: str
    if_not_exists: bool
    comment: str | None
    location: str | None
    properties: dict[str, str]


@dataclass(frozen=True)
class DropDatabase:
    """DROP DATABASE; ``cascade`` drops its tables too."""

    name: str
    if_exists: bool
    cascade: bool


@dataclass
class CreateTable:
    """CREATE EXTERNAL TABLE."""

    name: Name
    if_not_exists: bool
    columns: list[Column]
    partition_keys: list[Column] = field(default_factory=list)
    comment: str | None = None
    serde: str | None = None
    serde_properties: dict[str, str] = field(default_factory=dict)
    stored_as: str | None = None
    input_format: str | None = None
    output_format: str | None = None
    location: str | None = None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """DROP TABLE or DROP VIEW."""

    kind: str  # TABLE or VIEW
    name: Name
    if_exists: bool


Specification = dict[str, str]
"""A partition: its keys, in lower case, and their values."""


@dataclass(frozen=True)
class AddPartitions:
    """ALTER TABLE … ADD PARTITION."""

    name: Name
    if_not_exists: bool
    partitions: list[tuple[Specification, str | None]]  # with the location


@dataclass(frozen=True)
class DropPartitions:
    """ALTER TABLE … DROP PARTITION; a part of the keys means all partitions that have it."""

    name: Name
    if_exists: bool
    partitions: list[Specification]


@dataclass(frozen=True)
class SetLocation:
    """ALTER TABLE … [PARTITION …] SET LOCATION."""

    name: Name
    partition: Specification | None
    location: str


@dataclass(frozen=True)
class SetProperties:
    """ALTER TABLE … SET TBLPROPERTIES."""

    name: Name
    properties: dict[str, str]


@dataclass(frozen=True)
class ChangeColumns:
    """ALTER TABLE … ADD or REPLACE COLUMNS."""

    name: Name
    columns: list[Column]
    replace: bool


@dataclass(frozen=True)
class Repair:
    """MSCK REPAIR TABLE."""

    name: Name


@dataclass(frozen=True)
class Show:
    """SHOW."""

    what: str  # DATABASES, TABLES, VIEWS, PARTITIONS, COLUMNS, CREATE TABLE, CREATE VIEW, TBLPROPERTIES
    name: Name | None = None
    database: str = ""
    pattern: str | None = None


@dataclass(frozen=True)
class Describe:
    """DESCRIBE."""

    name: Name


Definition = (
    CreateDatabase | DropDatabase | CreateTable | Drop | AddPartitions | DropPartitions | SetLocation | SetProperties
    | ChangeColumns | Repair | Show | Describe
)  # fmt: skip


def parse(sql: str, database: str) -> Definition:
    """Read one statement.

    Args:
        sql: A stripped statement.
        database: Of tables that are written without one.

    Raises:
        QueryFailed: A syntax error, or a form that the local stack doesn't execute.
    """
    parser = _Parser(sql, database)
    definition = parser.statement()
    parser.end()
    return definition


@dataclass(frozen=True)
class _Token:
    kind: str  # string, quoted, word, number or symbol
    text: str
    start: int
    end: int


_LEXICON = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*")
      | `(?P<quoted>(?:[^`]|``)+)`
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<symbol>[(),.<>=:])""",
    re.DOTALL | re.VERBOSE,
)


def _tokens(sql: str) -> Iterator[_Token]:
    at = 0
    while at < len(sql):
        match = _LEXICON.match(sql, at)
        if match is None:
            raise QueryFailed("SYNTAX_ERROR", f"{_place(sql, at)}: cannot recognize input near '{sql[at : at + 10]}'")
        kind = match.lastgroup or ""
        at = match.end()
        if kind != "blank":
            text = match[kind]
            text = _unescape(text[1:-1].replace("''", "'")) if kind == "string" else text.replace("``", "`")
            yield _Token(kind, text, match.start(), match.end())


def _place(sql: str, at: int) -> str:
    return f"line {sql.count(chr(10), 0, at) + 1}:{at - sql.rfind(chr(10), 0, at)}"


_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "b": "\b", "%": "\\%", "_": "\\_"}


def _unescape(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 3:
            return chr(int(code, 8))
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(replace, text)


class _Parser:
    def __init__(self, sql: str, database: str) -> None:
        self.sql = sql
        self.database = database
        self.tokens = list(_tokens(sql))
        self.at = 0

    # ------------------------------------------------------------------------------------------------------- tokens

    @property
    def token(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def peek(self, *words: str) -> bool:
        """Whether the next tokens are these words or symbols."""
        coming = self.tokens[self.at : self.at + len(words)]
        return [token.text.upper() if token.kind in ("word", "symbol") else None for token in coming] == list(words)

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.peek(*words):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        if not self.take(*words):
            raise self.error(" ".join(words))

    def coming(self, count: int) -> str:
        return " ".join(token.text.upper() for token in self.tokens[self.at : self.at + count])

    def error(self, expected: str) -> QueryFailed:
        token = self.token
        where = _place(self.sql, token.start if token else len(self.sql))
        near = token.text if token else "<EOF>"
        return QueryFailed("SYNTAX_ERROR", f"{where}: mismatched input '{near}'. Expecting: {expected}")

    def end(self) -> None:
        if self.token is not None:
            raise self.error("<EOF>")

    def string(self) -> str:
        token = self.token
        if token is None or token.kind != "string":
            raise self.error("a string in single quotes")
        self.at += 1
        return token.text

    def identifier(self) -> str:
        token = self.token
        if token is None or token.kind not in ("word", "quoted"):
            raise self.error("an identifier")
        self.at += 1
        return token.text.lower()

    def name(self) -> Name:
        parts = [self.identifier()]
        while self.take("."):
            parts.append(self.identifier())
        if len(parts) == 3 and parts[0] in (CATALOG, "hive"):
            parts = parts[1:]
        if len(parts) > 2:
            raise QueryFailed("CATALOG_NOT_FOUND", f"Catalog '{parts[0]}' does not exist")
        return Name(parts[0] if len(parts) == 2 else self.database, parts[-1])

    def properties(self) -> dict[str, str]:
        self.expect("(")
        found = {}
        while not self.take(")"):
            key = self.string()
            self.expect("=")
            found[key] = self.string()
            if not self.peek(")"):
                self.expect(",")
        return found

    # --------------------------------------------------------------------------------------------------- statements

    def statement(self) -> Definition:
        for words, read in (
            (("CREATE", "DATABASE"), self.create_database),
            (("CREATE", "SCHEMA"), self.create_database),
            (("CREATE", "EXTERNAL", "TABLE"), self.create_table),
            (("DROP", "DATABASE"), self.drop_database),
            (("DROP", "SCHEMA"), self.drop_database),
            (("DROP", "TABLE"), lambda: self.drop("TABLE")),
            (("DROP", "VIEW"), lambda: self.drop("VIEW")),
            (("ALTER", "TABLE"), self.alter_table),
            (("MSCK", "REPAIR", "TABLE"), lambda: Repair(self.name())),
            (("SHOW",), self.show),
            (("DESCRIBE",), self.describe),
            (("DESC",), self.describe),
        ):
            if self.take(*words):
                return read()
        if self.take("CREATE", "TABLE"):
            raise unsupported(
                "CREATE TABLE without EXTERNAL (an Iceberg table)", "CREATE EXTERNAL TABLE, CREATE TABLE AS"
            )
        raise unsupported(f"The statement {self.coming(2)}")

    def create_database(self) -> CreateDatabase:
        if_not_exists = self.take("IF", "NOT", "EXISTS")
        name = self.identifier()
        comment = self.string() if self.take("COMMENT") else None
        location = self.string() if self.take("LOCATION") else None
        properties = self.properties() if self.take("WITH", "DBPROPERTIES") else {}
        return CreateDatabase(name, if_not_exists, comment, location, properties)

    def drop_database(self) -> DropDatabase:
        if_exists = self.take("IF", "EXISTS")
        name = self.identifier()
        cascade = self.take("CASCADE")
        self.take("RESTRICT")
        return DropDatabase(name, if_exists, cascade)

    def drop(self, kind: str) -> Drop:
        if_exists = self.take("IF", "EXISTS")
        return Drop(kind, self.name(), if_exists)

    def create_table(self) -> CreateTable:
        if_not_exists = self.take("IF", "NOT", "EXISTS")
        table = CreateTable(self.name(), if_not_exists, [])
        table.columns = self.columns()
        while self.token is not None:
            if self.take("COMMENT"):
                table.comment = self.string()
            elif self.take("PARTITIONED", "BY"):
                table.partition_keys = self.columns()
            elif self.take("ROW", "FORMAT", "SERDE"):
                table.serde = self.string()
                if self.take("WITH", "SERDEPROPERTIES"):
                    table.serde_properties = self.properties()
            elif self.take("ROW", "FORMAT", "DELIMITED"):
                table.serde_properties = self.delimiters()
            elif self.take("STORED", "AS", "INPUTFORMAT"):
                table.input_format = self.string()
                self.expect("OUTPUTFORMAT")
                table.output_format = self.string()
            elif self.take("STORED", "AS"):
                table.stored_as = self.identifier().upper()
            elif self.take("LOCATION"):
                table.location = self.string()
            elif self.take("TBLPROPERTIES"):
                table.properties = self.properties()
            elif self.peek("CLUSTERED"):
                raise unsupported("CREATE EXTERNAL TABLE … CLUSTERED BY")
            else:
                raise self.error("a clause of CREATE EXTERNAL TABLE")
        if table.location is None:
            raise QueryFailed("SYNTAX_ERROR", "line 1:1: CREATE EXTERNAL TABLE needs a LOCATION 's3://…/'")
        return table

    def delimiters(self) -> dict[str, str]:
        found = {}
        clauses = {
            ("FIELDS", "TERMINATED", "BY"): "field.delim",
            ("ESCAPED", "BY"): "escape.delim",
            ("COLLECTION", "ITEMS", "TERMINATED", "BY"): "collection.delim",
            ("MAP", "KEYS", "TERMINATED", "BY"): "mapkey.delim",
            ("LINES", "TERMINATED", "BY"): "line.delim",
            ("NULL", "DEFINED", "AS"): "serialization.null.format",
        }
        progress = True
        while progress:
            progress = False
            for words, key in clauses.items():
                if self.take(*words):
                    found[key] = _character(self.string())
                    progress = True
        return found

    def columns(self) -> list[Column]:
        self.expect("(")
        found: list[Column] = []
        while True:
            name = self.identifier()
            column = {"Name": name, "Type": self.type()}
            if self.take("COMMENT"):
                column["Comment"] = self.string()
            if any(column["Name"] == other["Name"] for other in found):
                raise QueryFailed("DUPLICATE_COLUMN_NAME", f"Column '{name}' is specified more than once")
            found.append(column)
            if self.take(")"):
                return found
            self.expect(",")

    def type(self) -> str:
        start, depth = self.token, 0
        last: _Token | None = None
        while self.token is not None:
            text = self.token.text
            if depth == 0 and (
                text in (",", ")") or text.upper() == "COMMENT" or (last and last.kind == self.token.kind)
            ):
                break
            depth += text.count("<") + text.count("(") - text.count(">") - text.count(")")
            last = self.token
            self.at += 1
        if start is None or last is None:
            raise self.error("a type")
        return re.sub(r"\s+", "", self.sql[start.start : last.end]).lower()

    def alter_table(self) -> Definition:
        name = self.name()
        if self.take("ADD", "COLUMNS"):
            return ChangeColumns(name, self.columns(), replace=False)
        if self.take("REPLACE", "COLUMNS"):
            return ChangeColumns(name, self.columns(), replace=True)
        if self.take("SET", "LOCATION"):
            return SetLocation(name, None, self.string())
        if self.take("SET", "TBLPROPERTIES"):
            return SetProperties(name, self.properties())
        if self.take("ADD"):
            if_not_exists = self.take("IF", "NOT", "EXISTS")
            added: list[tuple[Specification, str | None]] = []
            while self.peek("PARTITION") or not added:
                specification = self.partition()
                added.append((specification, self.string() if self.take("LOCATION") else None))
            return AddPartitions(name, if_not_exists, added)
        if self.take("DROP"):
            if_exists = self.take("IF", "EXISTS")
            dropped = [self.partition()]
            while self.take(","):
                dropped.append(self.partition())
            return DropPartitions(name, if_exists, dropped)
        if self.peek("PARTITION"):
            specification = self.partition()
            if self.take("SET", "LOCATION"):
                return SetLocation(name, specification, self.string())
        raise unsupported(
            f"ALTER TABLE … {self.coming(2)}",
            "ADD PARTITION, DROP PARTITION, PARTITION … SET LOCATION, SET LOCATION, SET TBLPROPERTIES, ADD COLUMNS, "
            "REPLACE COLUMNS",
        )

    def partition(self) -> Specification:
        self.expect("PARTITION")
        self.expect("(")
        found = {}
        while not self.take(")"):
            key = self.identifier()
            self.expect("=")
            token = self.token
            if token is None or token.kind not in ("string", "number"):
                raise self.error("a string or a number")
            self.at += 1
            found[key] = token.text
            if not self.peek(")"):
                self.expect(",")
        return found

    def show(self) -> Show:
        if self.take("DATABASES") or self.take("SCHEMAS"):
            return Show("DATABASES", pattern=self.pattern())
        for what in ("TABLES", "VIEWS"):
            if self.take(what):
                database = self.identifier() if self.take("IN") or self.take("FROM") else self.database
                return Show(what, database=database, pattern=self.pattern())
        if self.take("PARTITIONS"):
            return Show("PARTITIONS", self.name())
        if self.take("COLUMNS"):
            if not (self.take("IN") or self.take("FROM")):
                raise self.error("FROM or IN")
            name = self.name()
            if self.take("IN") or self.take("FROM"):
                name = Name(self.identifier(), name.table)
            return Show("COLUMNS", name)
        for kind in ("TABLE", "VIEW"):
            if self.take("CREATE", kind):
                return Show(f"CREATE {kind}", self.name())
        if self.take("TBLPROPERTIES"):
            name = self.name()
            pattern = None
            if self.take("("):
                pattern = self.string()
                self.expect(")")
            return Show("TBLPROPERTIES", name, pattern=pattern)
        raise unsupported(
            f"SHOW {self.coming(1)}",
            "SHOW DATABASES, TABLES, VIEWS, PARTITIONS, COLUMNS, CREATE TABLE, CREATE VIEW, TBLPROPERTIES",
        )

    def pattern(self) -> str | None:
        liked = self.take("LIKE")
        return self.string() if liked or (self.token and self.token.kind == "string") else None

    def describe(self) -> Describe:
        for option in ("EXTENDED", "FORMATTED"):
            if self.take(option):
                raise unsupported(f"DESCRIBE {option}", "DESCRIBE table")
        return Describe(self.name())


def _character(text: str) -> str:
    """A delimiter, which may be written as the number of a character."""
    return chr(int(text)) if re.fullmatch(r"\d{2,3}", text) else text
