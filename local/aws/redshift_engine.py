"""Runs Redshift's statements on DuckDB: databases, connections, transactions."""

# ruff: noqa: S608 -- a query engine builds SQL: names and texts are quoted.

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from sqlglot import exp

from local.aws import redshift_copy, redshift_tables
from local.aws.athena_tables import identifier, lake, quoted
from local.aws.redshift_errors import Cancelled, QueryFailed, from_duckdb, unsupported
from local.aws.redshift_physical import extract
from local.aws.redshift_sql import Command, name_results, parse, place, render, translate
from local.aws.redshift_tables import PUBLIC, RECORDS, Column, Name, create, find, rebuild, stored

log = logging.getLogger(__name__)

THREADS = 2
READING = ("QUERY", "UNLOAD", "BEGIN", "COMMIT", "ROLLBACK")
"""Statements that need no lock."""


@dataclass
class Stop:
    """The wish that a statement end, and its way to what is running."""

    wanted: threading.Event = field(default_factory=threading.Event)
    cursor: duckdb.DuckDBPyConnection | None = None

    def check(self) -> None:
        """Go on only if nobody cancelled.

        Raises:
            Cancelled: Somebody did.
        """
        if self.wanted.is_set():
            raise Cancelled

    def __call__(self) -> None:
        """Interrupt the statement wherever it is."""
        self.wanted.set()
        threading.Thread(target=self._interrupt, name="redshift-cancel", daemon=True).start()

    def _interrupt(self) -> None:
        # DuckDB forgets an interrupt that comes just before it starts on the next command.
        while (cursor := self.cursor) is not None:
            with contextlib.suppress(duckdb.Error):  # it may have been closed meanwhile
                cursor.interrupt()
            time.sleep(0.05)


@dataclass
class Result:
    """What a statement leaves.

    Attributes:
        columns: Of its rows; ``None`` when it is no query.
        rows: How many it returned, wrote or removed.
    """

    columns: list[Column] | None = None
    rows: int = 0


class Database:
    """One database: a DuckDB file.

    Args:
        file: Where it is; it is created when there is none.
    """

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        self.writer = threading.Lock()
        """Held by the one transaction that writes; in Redshift, too, others wait for its locks."""
        file.parent.mkdir(parents=True, exist_ok=True)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
        self._instance = duckdb.connect(
            file,
            config={
                "threads": THREADS,
                "memory_limit": f"{min(memory, 2 << 30)}B",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        spill = file.parent / f".{file.stem}.spill"
        for setting in (
            "SET GLOBAL TimeZone = 'UTC'",
            "SET GLOBAL integer_division = true",  # Redshift's / of two integers is an integer
            "SET GLOBAL lambda_syntax = 'ENABLE_SINGLE_ARROW'",
            "SET GLOBAL python_enable_replacements = false",  # a table is never a variable of this program
            f"SET temp_directory = {quoted(str(spill))}",
            f"SET allowed_directories = [{', '.join(quoted(folder) for folder in redshift_copy.allowed())}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
            f"CREATE SCHEMA IF NOT EXISTS {PUBLIC}",
            f"CREATE SCHEMA IF NOT EXISTS {RECORDS}",
            f"CREATE TABLE IF NOT EXISTS {RECORDS}.statements"
            " (recorded_at TIMESTAMP, database_user VARCHAR, sql VARCHAR)",
        ):
            self._instance.execute(setting)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection with temporary tables of its own."""
        return self._instance.cursor()

    def close(self) -> None:
        """Close the file; transactions that are open roll back."""
        self._instance.close()


_databases: dict[Path, Database] = {}
_opening = threading.Lock()


def database(file: Path) -> Database:
    """The database of a file, opened once in this process."""
    with _opening:
        if file not in _databases:
            _databases[file] = Database(file)
        return _databases[file]


def close() -> None:
    """Close all databases; what is unfinished rolls back."""
    with _opening:
        while _databases:
            _databases.popitem()[1].close()


class Connection:
    """A connection: one transaction at most, temporary tables, and the right to write while a transaction holds it.

    Args:
        database: What it is connected to.
        user: Who is.
    """

    def __init__(self, database: Database, user: str) -> None:
        self.database = database
        self.user = user
        self.cursor = database.cursor()
        self.explicit = False
        """Whether a BEGIN opened the transaction."""
        self._open = False
        self._writes = False
        self._broken = False

    # ---------------------------------------------------------------------------------------------------- transactions

    @contextlib.contextmanager
    def running(self, stop: Stop) -> Iterator[None]:
        """Run statements: what fails or is cancelled rolls the transaction back.

        Raises:
            QueryFailed: With the reason.
            Cancelled: Somebody cancelled.
        """
        stop.cursor = self.cursor
        try:
            stop.check()
            yield
        except BaseException as error:
            stop.cursor = None
            explicit = self.explicit
            self.rollback()
            # A transaction that somebody began is somebody's to end: until then, nothing more happens in it.
            self.explicit = self._broken = explicit
            if isinstance(error, duckdb.InterruptException) or stop.wanted.is_set():
                raise Cancelled from error
            if isinstance(error, duckdb.Error):
                raise from_duckdb(error, f"{lake()}/") from error
            raise
        finally:
            stop.cursor = None

    def begin(self) -> None:
        """Open a transaction unless one is."""
        if not self._open:
            self.cursor.execute("BEGIN")
            self._open = True

    def commit(self) -> None:
        """Make the transaction's work visible, all at once."""
        if self._open:
            self.cursor.execute("COMMIT")
        self._end()

    def rollback(self) -> None:
        """Undo the transaction's work."""
        while self._open:
            try:
                self.cursor.execute("ROLLBACK")
            except duckdb.InterruptException:  # a late one, of what was cancelled
                continue
            except duckdb.TransactionException:  # DuckDB has ended it
                pass
            self._open = False
        self._end()

    def _end(self) -> None:
        self._open = self.explicit = self._broken = False
        if self._writes:
            self._writes = False
            self.database.writer.release()

    def close(self) -> None:
        """Roll back what is open and forget the temporary tables."""
        self.rollback()
        self.cursor.close()

    def write(self, stop: Stop) -> None:
        """Wait until nobody else writes, then see what they wrote."""
        if self._writes:
            return
        while not self.database.writer.acquire(timeout=0.05):
            stop.check()
        self._writes = True

    # ------------------------------------------------------------------------------------------------------ statements

    def execute(self, command: Command, stop: Stop, *, alone: bool) -> Result:
        """Run one statement, in the open transaction or in one that it opens.

        Args:
            command: The statement.
            stop: How it can be cancelled.
            alone: Whether it is the only one of its transaction.

        Returns:
            Its result; the rows of a query are still to be fetched from :attr:`cursor`.

        Raises:
            QueryFailed: With the reason.
            duckdb.Error: The reason in DuckDB's words; :meth:`running` translates it.
            Cancelled: Somebody cancelled.
        """
        if command.kind == "ROLLBACK" or (command.kind == "COMMIT" and self._broken):
            self.rollback()
            return Result()
        if self._broken:
            raise QueryFailed("current transaction is aborted, commands ignored until end of transaction block")
        if command.kind == "COMMIT":
            stop.check()
            self.commit()
            return Result()
        if command.kind == "BEGIN":
            self.explicit = True
            return Result()
        if command.kind not in READING:
            self.write(stop)  # before the transaction begins, or it would not see what others wrote meanwhile
        self.begin()
        run: dict[str, Callable[[Command, Stop], Result]] = {
            "QUERY": self._query,
            "WRITE": self._change,
            "MERGE": self._merge,
            "TRUNCATE": self._truncate,
            "COPY": self._copy,
            "UNLOAD": self._unload,
            "CREATE TABLE": self._create_table,
            "CREATE VIEW": self._create_view,
            "CREATE SCHEMA": self._create_schema,
            "ALTER": self._alter,
            "DROP": self._drop,
            "COMMENT": self._comment,
            "GRANT": self._record,
            "LOCK": lambda command, stop: Result(),  # whoever writes here holds every lock already
            "MAINTAIN": self._record,
        }
        if not alone and re.match(r"VACUUM\b|ALTER\s+TABLE\s+\S+\s+APPEND\b", command.sql, re.IGNORECASE):
            raise QueryFailed(f"{command.sql.split()[0].upper()} cannot run inside a transaction block: {command.sql}")
        return run[command.kind](command, stop)

    def _resolve(self, schema: str | None, table: str) -> Name:
        found = find(self.cursor, schema, table)
        if found is None:
            raise QueryFailed(f'relation "{f"{schema}." if schema else ""}{table}" does not exist')
        return found[0]

    def _table(self, node: exp.Expr | None) -> Name:
        """The table that a statement changes."""
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise QueryFailed("syntax error: the name of a table is missing")
        if node.db == RECORDS:
            raise QueryFailed(f"permission denied for schema {RECORDS}")
        found = find(self.cursor, node.db or None, node.name)
        if found is None:
            raise QueryFailed(f'relation "{f"{node.db}." if node.db else ""}{node.name}" does not exist')
        if found[1] != "TABLE":
            raise QueryFailed(f'"{found[0]}" is not a table')
        return found[0]

    def _new(self, node: exp.Table, *, temporary: bool) -> Name:
        if node.catalog and node.catalog != self.database.name:
            raise unsupported(f"another database ({node.catalog})")
        if node.db == RECORDS:
            raise QueryFailed(f"permission denied for schema {RECORDS}")
        return Name(node.db or PUBLIC, node.name, temporary)

    def _translated(self, tree: exp.Expr) -> str:
        return render(translate(tree, self._resolve, self.user, self.database.name))

    def _query(self, command: Command, stop: Stop) -> Result:
        tree = parse(command.sql)
        if not isinstance(tree, exp.Query | exp.Values):
            raise QueryFailed(f'syntax error at or near "{command.sql.split()[0]}"')
        name_results(tree)
        self.cursor.execute(self._translated(tree))
        return Result([Column(str(name), str(kind)) for name, kind, *_ in self.cursor.description or ()])

    def _counted(self, sql: str) -> Result:
        counted = self.cursor.execute(sql).fetchone()
        return Result(rows=counted[0] if counted else 0)

    def _change(self, command: Command, stop: Stop) -> Result:
        tree = parse(command.sql)
        if isinstance(tree, exp.Delete) and tree.args.get("tables"):  # DELETE t: FROM may be missing
            tree.set("this", tree.args["tables"][0])
            tree.set("tables", None)
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        if not isinstance(tree, exp.Insert | exp.Update | exp.Delete) or tree.args.get("returning"):
            raise unsupported(f"this form of {command.sql.split()[0]}")
        self._table(target)
        return self._counted(self._translated(tree))

    def _merge(self, command: Command, stop: Stop) -> Result:
        if re.search(r"\bREMOVE\s+DUPLICATES\s*;?\s*$", command.sql, re.IGNORECASE):
            raise unsupported("MERGE … REMOVE DUPLICATES")
        tree = parse(command.sql)
        if not isinstance(tree, exp.Merge):
            raise QueryFailed('syntax error at or near "MERGE"')
        name = self._table(tree.this)
        if tree.this.alias:
            raise QueryFailed(f'syntax error at or near "{tree.this.alias}": the target of MERGE has no alias')
        if not isinstance(tree.args["using"], exp.Table):
            raise QueryFailed("the source of MERGE must be a table: stage the rows first")
        whens = tree.args["whens"].expressions
        if sorted(bool(when.args.get("matched")) for when in whens) != [False, True] or any(
            when.args.get("condition") or when.args.get("source") for when in whens
        ):
            raise QueryFailed(
                "MERGE takes one WHEN MATCHED THEN UPDATE or DELETE and one WHEN NOT MATCHED THEN INSERT, "
                "both without conditions"
            )
        for insert in tree.find_all(exp.Insert):  # sqlglot takes VALUES without a list of columns for a function
            given = insert.this.expressions[0] if isinstance(insert.this, exp.Tuple) else None
            if isinstance(given, exp.Anonymous) and given.name.upper() == "VALUES":
                columns = [exp.column(c.name, quoted=True) for c in redshift_tables.columns(self.cursor, name)]
                insert.set("this", exp.Tuple(expressions=columns))
                insert.set("expression", exp.Tuple(expressions=given.expressions))
        return self._counted(self._translated(tree))

    def _truncate(self, command: Command, stop: Stop) -> Result:
        tree = parse(command.sql)
        (target,) = tree.expressions
        result = self._counted(f"TRUNCATE {self._table(target).sql}")
        explicit = self.explicit
        self.commit()  # Redshift's TRUNCATE commits, too: it is no part of a swap
        self.explicit = explicit
        return result

    def _copy(self, command: Command, stop: Stop) -> Result:
        copy = redshift_copy.parse_copy(command.sql)
        name = self._table(exp.table_(copy.table, db=copy.schema, quoted=True))
        columns = {column.name: column for column in redshift_tables.columns(self.cursor, name)}
        if unknown := [column for column in copy.columns if column not in columns]:
            raise QueryFailed(f'column "{unknown[0]}" of relation "{name}" does not exist')
        wanted = [columns[column] for column in copy.columns or columns]
        return Result(rows=redshift_copy.load(self.cursor, copy, name.sql, wanted, stop.check))

    def _unload(self, command: Command, stop: Stop) -> Result:
        wanted = redshift_copy.parse_unload(command.sql)
        query, _ = self._typed(parse(wanted.query))
        try:
            return Result(rows=redshift_copy.unload(self.cursor, wanted, query, stop.check))
        except FileExistsError as error:
            raise QueryFailed(
                "Specified unload destination on S3 is not empty. Consider using a different bucket / prefix, manually "
                "removing the target files in S3, or using the ALLOWOVERWRITE option."
            ) from error

    def _typed(self, tree: exp.Expr) -> tuple[str, list[Column]]:
        """A query whose columns have types that a table can have; DuckDB's own, such as HUGEINT, it can't."""
        if not isinstance(tree, exp.Query):
            raise QueryFailed("syntax error: a query is missing")
        name_results(tree)
        sql = self._translated(tree)
        described = self.cursor.execute(f"DESCRIBE {sql}").fetchall()
        columns = [Column(name, stored(kind)) for name, kind, *_ in described]
        names = [column.name for column in columns]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise QueryFailed(f'column "{double}" specified more than once')
        typed = ", ".join(f"CAST({identifier(c.name)} AS {c.type}) AS {identifier(c.name)}" for c in columns)
        return f"SELECT {typed} FROM ({sql}) AS result", columns

    # ----------------------------------------------------------------------------------------------------- definitions

    def _create_table(self, command: Command, stop: Stop) -> Result:
        sql, physical = extract(command.sql)
        tree = parse(sql)
        if not isinstance(tree, exp.Create) or tree.args.get("replace"):
            raise unsupported(f"this form of CREATE TABLE: {sql[:80]}")
        options = tree.args["properties"].expressions if tree.args.get("properties") else []
        for option in options:
            if not isinstance(option, exp.TemporaryProperty):
                raise unsupported(f"CREATE TABLE with {option.sql(dialect='redshift')}")
        schema = tree.this if isinstance(tree.this, exp.Schema) else None
        name = self._new(schema.this if schema else tree.this, temporary=bool(options))
        present = find(self.cursor, None if name.temporary else name.schema, name.table)
        if tree.args.get("exists") and present and present[0].temporary == name.temporary:
            return Result()
        if tree.expression is not None:
            if schema:
                raise unsupported("CREATE TABLE AS with a list of columns", "name them in the query")
            query, columns = self._typed(tree.expression)
            physical.check([column.name for column in columns])
            create(self.cursor, name, columns)
            return self._counted(f"INSERT INTO {name.sql} {query}")
        columns = self._definitions(schema.expressions if schema else [])
        physical.check([column.name for column in columns])
        create(self.cursor, name, columns)
        return Result()

    def _definitions(self, parts: list[exp.Expr]) -> list[Column]:
        columns: list[Column] = []
        required: set[str] = set()
        for part in parts:
            if isinstance(part, exp.ColumnDef):
                columns.append(redshift_tables.column(part))
            elif isinstance(part, exp.LikeProperty):
                defaults = [
                    str(option.args["value"]).upper() for option in part.expressions if option.name == "INCLUDING"
                ]
                columns += [
                    Column(
                        c.name, c.type, c.length, c.fixed, c.required, c.default if defaults == ["DEFAULTS"] else None
                    )
                    for c in redshift_tables.columns(self.cursor, self._table(part.this))
                ]
            elif isinstance(part, exp.PrimaryKey):
                required = {key.name for key in part.expressions}
            elif not isinstance(part, exp.UniqueColumnConstraint | exp.ForeignKey):  # Redshift enforces neither
                raise unsupported(f"CREATE TABLE with {part.sql(dialect='redshift')}")
        return [Column(c.name, c.type, c.length, c.fixed, c.required or c.name in required, c.default) for c in columns]

    def _create_view(self, command: Command, stop: Stop) -> Result:
        late = re.search(r"\bWITH\s+NO\s+SCHEMA\s+BINDING\s*;?\s*$", command.sql, re.IGNORECASE)
        if late is None:
            raise unsupported(
                "a view that is bound to its tables",
                "write WITH NO SCHEMA BINDING, or the view would go on reading a table that is renamed",
            )
        tree = parse(command.sql[: late.start()])
        if not isinstance(tree, exp.Create) or tree.args.get("properties") or isinstance(tree.this, exp.Schema):
            raise unsupported("this form of CREATE VIEW")
        name = self._new(tree.this, temporary=False)
        name_results(tree.expression)
        query = self._translated(tree.expression)
        words = "CREATE OR REPLACE VIEW" if tree.args.get("replace") else "CREATE VIEW"
        self.cursor.execute(f"{words} {name.sql} AS {query}")
        return Result()

    def _create_schema(self, command: Command, stop: Stop) -> Result:
        match = re.fullmatch(
            r"CREATE\s+SCHEMA\s+(?P<lenient>IF\s+NOT\s+EXISTS\s+)?\"?(?P<name>[A-Za-z_][\w$]*)\"?"
            r"(?P<owner>\s+AUTHORIZATION\s+\"?[\w$]+\"?)?\s*",
            command.sql,
            re.IGNORECASE,
        )
        if match is None:
            raise unsupported(f"this form of CREATE SCHEMA: {command.sql}", "CREATE SCHEMA [IF NOT EXISTS] name")
        name = identifier(match["name"].lower())
        self.cursor.execute(f"CREATE SCHEMA {'IF NOT EXISTS ' if match['lenient'] else ''}{name}")
        return self._record(command, stop) if match["owner"] else Result()

    def _alter(self, command: Command, stop: Stop) -> Result:
        if append := re.fullmatch(r"ALTER\s+TABLE\s+(\S+)\s+APPEND\s+FROM\s+(\S+)", command.sql, re.IGNORECASE):
            return self._append(*(self._table(parse(f"DELETE FROM {name}").this) for name in append.groups()))
        if owner := re.fullmatch(r"ALTER\s+TABLE\s+(\S+)\s+OWNER\s+TO\s+\S+", command.sql, re.IGNORECASE):
            self._table(parse(f"DELETE FROM {owner[1]}").this)
            return self._record(command, stop)
        tree = parse(command.sql)
        if not isinstance(tree, exp.Alter) or tree.args["kind"] != "TABLE" or len(tree.args["actions"]) != 1:
            raise unsupported(f"this form of ALTER: {command.sql}")
        name = self._table(tree.this)
        columns = redshift_tables.columns(self.cursor, name)
        match tree.args["actions"][0]:
            case exp.AlterRename(this=exp.Table() as new):
                if new.db:
                    raise QueryFailed('syntax error at or near ".": a table is renamed within its schema')
                self.cursor.execute(f"ALTER TABLE {name.sql} RENAME TO {identifier(new.name)}")
            case exp.RenameColumn() as action:
                names = identifier(action.this.name), identifier(action.args["to"].name)
                self.cursor.execute(f"ALTER TABLE {name.sql} RENAME COLUMN {names[0]} TO {names[1]}")
            case exp.ColumnDef() as action:
                if action.name in [column.name for column in columns]:
                    raise QueryFailed(f'column "{action.name}" of relation "{name}" already exists')
                rebuild(self.cursor, name, [*columns, redshift_tables.column(action)])
            case exp.Drop(args={"kind": "COLUMN", "tables": [dropped]}):
                self.cursor.execute(f"ALTER TABLE {name.sql} DROP COLUMN {identifier(dropped.name)}")
            case exp.AlterColumn(args={"dtype": exp.DataType() as kind}) as action:
                self._lengthen(name, columns, action.name, redshift_tables.declared(kind))
            case exp.AlterDistStyle() | exp.AlterSortKey() as action:
                known = [column.name for column in columns]
                for key in action.find_all(exp.Identifier):
                    if key.name not in known:
                        raise QueryFailed(f'column "{key.name}" named in key does not exist')
            case _:
                raise unsupported(f"this form of ALTER TABLE: {command.sql}")
        return Result()

    def _lengthen(self, name: Name, columns: list[Column], changed: str, kind: Column) -> None:
        old = next((column for column in columns if column.name == changed), None)
        if old is None:
            raise QueryFailed(f'column "{changed}" of relation "{name}" does not exist')
        if old.type != "VARCHAR" or old.fixed or kind.type != "VARCHAR" or kind.fixed:
            raise QueryFailed(f'cannot alter type of column "{changed}" to {kind.shown}: only the length of VARCHAR')
        new = Column(old.name, old.type, kind.length, False, old.required, old.default)
        rebuild(self.cursor, name, [new if column is old else column for column in columns])

    def _append(self, target: Name, source: Name) -> Result:
        kept, moved = (redshift_tables.columns(self.cursor, name) for name in (target, source))
        if {(c.name, c.shown) for c in kept} != {(c.name, c.shown) for c in moved}:
            raise QueryFailed(f"ALTER TABLE APPEND: the columns of {source} are not those of {target}")
        names = ", ".join(identifier(column.name) for column in kept)
        result = self._counted(f"INSERT INTO {target.sql} ({names}) SELECT {names} FROM {source.sql}")
        self.cursor.execute(f"DELETE FROM {source.sql}")
        return result

    def _drop(self, command: Command, stop: Stop) -> Result:
        tree = parse(command.sql)
        kind = tree.args.get("kind")
        if not isinstance(tree, exp.Drop) or kind not in ("TABLE", "VIEW", "SCHEMA"):
            raise unsupported(f"this form of DROP: {command.sql}")
        lenient, cascade = bool(tree.args.get("exists")), " CASCADE" if tree.args.get("cascade") else ""
        for node in tree.args["tables"]:
            if RECORDS in (node.db, node.name):
                raise QueryFailed(f"permission denied for schema {RECORDS}")
            if kind == "SCHEMA":
                words = "DROP SCHEMA IF EXISTS" if lenient else "DROP SCHEMA"
                self.cursor.execute(f"{words} {identifier(node.db or node.name)}{cascade}")
                continue
            found = find(self.cursor, node.db or None, node.name)
            if found is None and not lenient:
                raise QueryFailed(f'{kind.capitalize()} "{node.db + "." if node.db else ""}{node.name}" does not exist')
            if found is not None and found[1] != kind:
                raise QueryFailed(f'"{found[0]}" is not a {kind.lower()}')
            if found is not None:
                self.cursor.execute(f"DROP {kind} {found[0].sql}")
        return Result()

    def _comment(self, command: Command, stop: Stop) -> Result:
        tree = parse(command.sql)
        kind = str(tree.args.get("kind", "")).upper()
        if not isinstance(tree, exp.Comment) or kind not in ("TABLE", "COLUMN"):
            raise unsupported(f"this form of COMMENT: {command.sql}")
        if kind == "TABLE":
            place(tree.this, self._table(tree.this))
            self.cursor.execute(render(tree))
        else:
            about = tree.this
            name = self._table(exp.table_(about.table, db=about.args.get("db"), quoted=True))
            text = tree.expression.sql(dialect="duckdb")
            self.cursor.execute(f"COMMENT ON COLUMN {name.sql}.{identifier(about.name)} IS {text}")
        return Result()

    def _record(self, command: Command, stop: Stop) -> Result:
        """Keep a statement that has no effect here, in ``local_stack.statements``, once what it is about exists."""
        about = re.search(r"\b(?:ON|VACUUM|ANALYZE|ANALYSE)\s+(?:TABLE\s+)?([\w$.\"]+)", command.sql, re.IGNORECASE)
        words = (
            "FULL",
            "SORT",
            "DELETE",
            "REINDEX",
            "RECLUSTER",
            "COMPRESSION",
            "VERBOSE",
            "ALL",
            "SCHEMA",
            "DATABASE",
        )
        if about and about[1].upper() not in words:
            self._table(parse(f"DELETE FROM {about[1]}").this)
        log.info("%s: recorded, without effect here: %s", self.database.name, command.sql)
        self.cursor.execute(
            f"INSERT INTO {RECORDS}.statements VALUES (current_timestamp::TIMESTAMP, ?, ?)", [self.user, command.sql]
        )
        return Result()
