"""A fakesnow cursor that also does storage, unloading, loading and session parameters, and refuses what nobody does."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse
from fakesnow.rowtype import ColumnInfo, describe_as_rowtype
from fakesnow.statement_type import UNKNOWN, statement_type_id
from sqlglot import exp

from local.snowflake import dialect, errors, integrations, load, merge, stages, unload
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.account import Connection

# sqlglot keeps statements that it cannot parse as text; DuckDB would take some of them for its own.
_PASSED_COMMANDS = re.compile(r"SHOW (PARAMETERS|WAREHOUSES|USER FUNCTIONS)|ALTER TABLE", re.IGNORECASE)


# What CREATE makes. fakesnow would answer success to CREATE TAG and leave the others to DuckDB.
_CREATED = {"DATABASE", "SCHEMA", "TABLE", "VIEW", "SEQUENCE", "FILE FORMAT", "STAGE", "STORAGE INTEGRATION"}


class Cursor(FakeSnowflakeCursor):
    """Runs one statement of a session; every failure is a Snowflake error.

    Attributes:
        query_id: The id that the client knows the statement by.
        cancelled: Set when the statement is to stop: DuckDB is interrupted besides.
        statement_type: Snowflake's number for the kind of statement; the connector counts affected rows by it.
        history: Rows of INFORMATION_SCHEMA.QUERY_HISTORY, oldest first.
    """

    _conn: "Connection"
    # fakesnow leaves these to be inferred from None.
    _arrow_table: pa.Table | None
    _rowcount: int | None  # type: ignore[assignment]
    _sfqid: str | None  # type: ignore[assignment]
    _last_sql: str | None  # type: ignore[assignment]
    _last_params: Any
    _last_transformed: exp.Expr | None  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.query_id = ""
        self.statement_type = UNKNOWN
        self.cancelled = Event()
        self.history: Callable[[], pa.Table] | None = None

    @property
    def connection(self) -> "Connection":
        """The session's connection, with its current database and schema."""
        return self._conn

    @property
    def duckdb_connection(self) -> duckdb.DuckDBPyConnection:
        """The session's DuckDB connection."""
        return self._duck_conn

    def execute(
        self, command: str, params: Sequence[Any] | dict[Any, Any] | None = None, *args: Any, **kwargs: Any
    ) -> "Cursor":
        """Run one statement.

        Raises:
            DatabaseError: Whatever went wrong, with the statement's form and the reason.
        """
        statement: exp.Expr | None = None
        try:
            self.statement_type = UNKNOWN
            command = self._inline_variables(command)
            statement = one_statement(command)
            dialect.check_sources(statement)
            self.statement_type = statement_type_id(statement)
            bindings = params or kwargs.get("binding_params")
            if (result := self._own(statement, bindings)) is not None:
                self.finish(result)
                return self
            if isinstance(statement, exp.Create) and str(statement.kind).upper() == "STAGE":
                options = integrations.check_stage(self, statement)
                super().execute(command, params, *args, **kwargs)
                integrations.record_stage(self, statement, options)
                return self
            super().execute(command, params, *args, **kwargs)
        except Exception as failure:
            raise errors.as_snowflake_error(failure, statement) from failure
        return self

    def duckdb_sql(self, query: exp.Expr) -> str:
        """Translate a Snowflake query into DuckDB's SQL, as fakesnow would before it ran it."""
        self.check_db_and_schema(query)
        return self.translate(query)

    def translate(self, query: exp.Expr) -> str:
        """Translate without checking that the session has a database for every table."""
        return self._transform(query.copy(), None).sql(dialect="duckdb")

    def run(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run DuckDB SQL on the session's connection and return DuckDB's cursor."""
        self.stop_if_cancelled()
        return self._duck_conn.execute(sql, parameters)

    def fetch(self, sql: str, parameters: Sequence[Any] | None = None) -> tuple | None:
        """Run DuckDB SQL and return its first row."""
        return self.run(sql, parameters).fetchone()

    def stop_if_cancelled(self) -> None:
        """Raise Snowflake's error when somebody cancelled the statement between two steps."""
        if self.cancelled.is_set():
            raise errors.error(errors.CANCELED, "SQL execution canceled")

    def outcome(self) -> tuple[exp.Expr, pa.Table]:
        """Return the statement as DuckDB ran it, and its rows."""
        if self._last_transformed is None or self._arrow_table is None:
            raise NotImplementedError("a statement without a result")
        if self._sfqid != self.query_id:
            # fakesnow made up an id; RESULT_SCAN has to find the result under the one that the client knows.
            self._conn.results_cache[self.query_id] = self._conn.results_cache.pop(str(self._sfqid))
            self._sfqid = self.query_id
        return self._last_transformed, self._arrow_table

    def described(self) -> list:
        """Return the result's columns as DuckDB describes them, with the names that they really have."""
        names = self._arrow_table.column_names if self._arrow_table is not None else []
        return [(name, *row[1:]) for name, row in zip(names, self._describe_last_sql(), strict=True)]

    def columns(self, sql: str) -> list[tuple[str, str]]:
        """Return names and types of a DuckDB query's columns."""
        types = [row[1] for row in self.run(f"DESCRIBE {sql}").fetchall()]
        # DESCRIBE shows the column's own name for an alias that differs only by case, which is no other column.
        described = self.run(f"SELECT * FROM ({sql}) LIMIT 0").description  # noqa: S608
        names = [item[0] for item in described]
        return list(zip(names, types, strict=True))

    def describe_only(self, command: str) -> list[ColumnInfo] | None:
        """Return the columns of a statement without running it, None when only running it tells."""
        dialect.check_sources(one_statement(command))
        described = self._describe_only(command)
        return None if described is None else describe_as_rowtype(described)

    def finish(self, sql: str) -> None:
        """Make the rows of `sql` the result of the statement."""
        table: pa.Table = self.run(sql).to_arrow_table()
        outcome = (table, table.num_rows, sql, None, sqlglot.parse_one(sql, read="duckdb"))
        self._arrow_table, self._rowcount, self._last_sql, self._last_params, self._last_transformed = outcome
        self._sfqid = self.query_id
        self._conn.results_cache[self.query_id] = outcome

    def delete_directory(self, path: str) -> None:
        """Remove a directory of staged files, if there is one."""
        shutil.rmtree(path, ignore_errors=True)

    def _own(self, statement: exp.Expr, bindings: Any) -> str | None:
        """Do `statement` if fakesnow does not, and return the query of its result."""
        if isinstance(statement, exp.Copy):
            if bindings:
                raise errors.unsupported("COPY INTO with bind variables", "Write the values into the statement.")
            return unload.unload(self, statement) if unload.is_unload(statement) else load.load(self, statement)
        kind = str(statement.args.get("kind") or "").upper()
        if isinstance(statement, exp.Create) and kind not in _CREATED:
            raise errors.unsupported(f"CREATE {kind}")
        if isinstance(statement, exp.Create | exp.Drop) and kind in {"STORAGE INTEGRATION", "INTEGRATION", "STAGE"}:
            self._conn.commit_before_definition()
        match statement:
            case exp.Create() if kind == "STORAGE INTEGRATION":
                return integrations.create_integration(self, statement)
            case exp.Describe() if kind == "INTEGRATION":
                return integrations.describe_integration(self, statement.this.name)
            case exp.Describe() if kind == "STAGE":
                return integrations.describe_stage(self, statement)
            case exp.Drop() if kind == "INTEGRATION":
                return integrations.drop_integration(self, statement)
            case exp.Drop() if kind == "STAGE":
                return integrations.drop_stage(self, statement)
            case exp.Drop() if kind == "DATABASE":
                return self._drop_database(statement)
            case exp.ListStage():
                return stages.list_files(self, statement)
            case exp.Alter() if kind == "SESSION":
                return self._alter_session(statement)
            case exp.Alter() if any(action.args.get("tag") for action in statement.args.get("actions") or ()):
                raise errors.unsupported(f"ALTER {kind} SET TAG")
            case exp.Grant() | exp.Revoke():
                raise errors.unsupported(statement.key.upper(), "It has one user, who may do everything.")
            case exp.Merge() if not bindings:
                return merge.merge(self, statement)
            case exp.Command():
                return self._command(statement)
            case exp.Select():
                return self._select(statement)
        return None

    def _command(self, statement: exp.Command) -> str | None:
        words = " ".join(errors.command_text(statement).split())
        verb, _, rest = words.partition(" ")
        if verb.upper() in {"REMOVE", "RM"}:
            return stages.remove_files(self, rest)
        if re.fullmatch(r"SHOW\s+(STORAGE\s+)?INTEGRATIONS\s*;?", words, re.IGNORECASE):
            return integrations.show_integrations(self)
        if (waited := self._wait(statement)) is not None:
            return waited
        if not _PASSED_COMMANDS.match(words) or "SET TAG" in words.upper():
            raise errors.unsupported(errors.form(statement))
        return None

    def _select(self, statement: exp.Select) -> str | None:
        if (waited := self._wait(statement)) is not None:
            return waited
        calls = [node for node in statement.find_all(exp.TableFromRows) if _is_query_history(node)]
        if not calls or self.history is None:
            return None
        self._duck_conn.register("_QUERY_HISTORY", self.history())
        for call in calls:
            call.replace(exp.to_table("_QUERY_HISTORY", alias=call.alias or None))
        return self.translate(statement)

    def _wait(self, statement: exp.Expr) -> str | None:
        if (arguments := dialect.system_function(statement, "SYSTEM$WAIT")) is None:
            return None
        amount, unit = float(arguments[0]), (arguments[1].upper() if len(arguments) > 1 else "SECONDS")
        factors = {"MILLISECONDS": 0.001, "SECONDS": 1.0, "MINUTES": 60.0, "HOURS": 3600.0, "DAYS": 86400.0}
        if unit not in factors:
            raise errors.error(errors.INVALID_OPTION, f"Invalid unit '{unit}' of SYSTEM$WAIT: use {', '.join(factors)}")
        started = time.monotonic()
        self.cancelled.wait(amount * factors[unit])
        self.stop_if_cancelled()
        waited = f"waited {time.monotonic() - started:.0f} seconds"
        return literal_rows([Column(f"SYSTEM$WAIT({amount:g})")], [(waited,)])

    def _alter_session(self, statement: exp.Alter) -> str | None:
        change = statement.find(exp.AlterSession)
        items = change.expressions if change else []
        names = {item.this.this.name if isinstance(item.this, exp.EQ) else item.this.name for item in items}
        if {name.upper() for name in names} != {"QUERY_TAG"}:
            return None
        value = items[0].this.args.get("expression")
        self._conn.query_tag = value.name if value is not None else ""
        return literal_rows([Column("status")], [("Statement executed successfully.",)])

    def _transform(self, expression: exp.Expr, params: Any) -> exp.Expr:
        return super()._transform(expression.transform(dialect.to_char, copy=False), params)

    def _drop_database(self, statement: exp.Drop) -> str:
        """Do DROP DATABASE: DuckDB can only detach it, and it would come back at the next start."""
        table = statement.find(exp.Table)
        name = str(integrations.identifier(table.this if table else None))
        connection = self._conn
        connection.commit_before_definition()
        if not self.fetch("SELECT 1 FROM duckdb_databases() WHERE database_name = ? AND NOT internal", [name]):
            if statement.args.get("exists"):
                return literal_rows([Column("status")], [("Drop statement executed successfully.",)])
            message = f"Database '{name}' does not exist or not authorized."
            raise errors.error(errors.DOES_NOT_EXIST, message)
        if name == connection.database:
            self.run("USE memory.main")
            connection.database, connection.database_set, connection.schema_set = None, False, False
        self.run(f"DETACH {exp.to_identifier(name, quoted=True).sql('duckdb')}")
        for suffix in (".db", ".db.wal"):
            (Path(str(connection.db_path)) / f"{name}{suffix}").unlink(missing_ok=True)
        return literal_rows([Column("status")], [(f"{name} successfully dropped.",)])


def one_statement(command: str) -> exp.Expr:
    """Parse one Snowflake statement.

    Raises:
        ProgrammingError: It does not parse, or there is not exactly one.
    """
    found: Iterable[exp.Expr | None] = parse(command)
    statements = [item for item in found if item is not None and not isinstance(item, exp.Semicolon)]
    if len(statements) != 1 or isinstance(statements[0], exp.Block):
        count = max(len(statements), 2) if statements else 0
        raise errors.error(
            (8, "0A000"),
            f"Actual statement count {count} did not match the desired statement count 1. The local Snowflake takes "
            "one statement at a time.",
        )
    return statements[0]


def _is_query_history(node: exp.TableFromRows) -> bool:
    call = node.find(exp.Anonymous)
    return call is not None and call.name.upper() == "QUERY_HISTORY"
