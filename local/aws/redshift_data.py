"""The Redshift Data API: statements that really run, one DuckDB file per database of a cluster or workgroup.

A cluster, workgroup or database exists as soon as it is named; what is in it survives the process. Statements, their
results and sessions are forgotten with it, as the real service forgets them after a day.
"""

# ruff: noqa: S608 -- names and texts are quoted.

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.redshiftdata.exceptions import ResourceNotFoundException, ValidationException
from moto.redshiftdata.models import RedshiftDataAPIServiceBackend
from moto.redshiftdata.responses import RedshiftDataAPIServiceResponse

from local.aws import plugging, redshift_copy, redshift_engine, redshift_tables
from local.aws.athena_tables import lake, quoted
from local.aws.redshift_engine import READING, Connection, Database, Stop
from local.aws.redshift_errors import Cancelled, QueryFailed, from_duckdb
from local.aws.redshift_results import Rows, fetch
from local.aws.redshift_sql import Command, command, split
from local.aws.redshift_tables import RECORDS, Name
from local.aws.settings import current

FINAL = ("FINISHED", "FAILED", "ABORTED")
KEPT_SECONDS = 24 * 3600
DEFAULT_USER = "IAMR:local"
LONGEST_WAIT = 30
AT_ONCE_SECONDS = 0.4
"""So long a start waits for the end unasked: who polls by the second then need not sleep for some milliseconds."""

_PLACE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_DATABASE = re.compile(r"[a-z_][a-z0-9_$-]{0,63}")
_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?::(\d+))?")


def plug() -> None:
    """Let this module answer the Redshift Data API, with the databases of the current settings' state."""
    redshift_copy.clear()
    plugging.plug(ExecutingRedshiftData)


@dataclass
class Step:
    """One SQL text of a statement, and what became of it."""

    id: str
    sql: str
    status: str = "SUBMITTED"
    error: str | None = None
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    seconds: float = 0.0
    affected: int = -1
    rows: Rows | None = None

    def described(self) -> dict[str, Any]:
        """What DescribeStatement says of it, alone or as one of ``SubStatements``."""
        described = {
            "Id": self.id,
            "QueryString": self.sql,
            "Status": self.status,
            "CreatedAt": self.created,
            "UpdatedAt": self.updated,
            "Duration": int(self.seconds * 1e9),
            "HasResultSet": self.rows is not None,
            "ResultRows": self.rows.total if self.rows else self.affected,
            "ResultSize": self.rows.size if self.rows else -1 if self.affected < 0 else 0,
        }
        return described | ({"Error": self.error} if self.error else {})

    def end(self, status: str, error: str | None = None) -> None:
        """Change the state to one that stays."""
        self.updated = time.time()
        self.status, self.error = status, error
        if status != "FINISHED":
            self.rows, self.affected = None, -1


@dataclass
class Session:
    """A connection that outlives a statement, with its temporary tables and its transaction."""

    id: str
    connection: Connection
    request: dict[str, str]
    keep: float
    busy: bool = True
    expires: float = 0.0


@dataclass
class Statement:
    """An execution.

    Attributes:
        whole: Its state; for a single SQL text also what that text left.
        steps: Its SQL texts: of a batch, its ``SubStatements``.
        batch: Whether it came as a batch.
        parameters: For ``:name``.
        echoed: Members of the request that answers repeat.
        name: The caller's.
        automatic: Whether each step commits by itself.
        session: Where it runs, if not on a connection of its own.
    """

    whole: Step
    steps: list[Step]
    batch: bool
    parameters: list[dict[str, str]] | None
    echoed: dict[str, str]
    name: str | None = None
    automatic: bool = False
    session: Session | None = None
    stop: Stop = field(default_factory=Stop)
    done: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict[str, Any]:
        """DescribeStatement's answer."""
        described = {**self.whole.described(), **self.echoed, "ResultFormat": "JSON"}
        if self.parameters:
            described["QueryParameters"] = self.parameters
        if self.batch:
            described |= {
                "SubStatements": [step.described() for step in self.steps],
                "HasResultSet": any(step.rows is not None for step in self.steps),
                "ExecutionMode": "AUTO_COMMIT" if self.automatic else "TRANSACTION",
            }
        return described

    def listed(self) -> dict[str, Any]:
        """The ``StatementData`` of ListStatements."""
        whole = self.whole
        listed: dict[str, Any] = {
            "Id": whole.id,
            "QueryString": whole.sql,
            "Status": whole.status,
            "CreatedAt": whole.created,
            "UpdatedAt": whole.updated,
            "IsBatchStatement": self.batch,
            "ResultFormat": "JSON",
        }
        if self.batch:
            listed["QueryStrings"] = [step.sql for step in self.steps]
        listed |= {"StatementName": self.name} if self.name else {}
        return listed | {key: value for key, value in self.echoed.items() if key in ("SecretArn", "SessionId")}


class ExecutingRedshiftData(plugging.Plugged, RedshiftDataAPIServiceBackend):
    """moto's Redshift Data API, whose statements run."""

    service = "redshiftdata"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.statements: dict[str, Statement] = {}  # type: ignore[assignment]
        self._sessions: dict[str, Session] = {}
        self._tokens: dict[str, tuple[str, str]] = {}
        self._changes = threading.Lock()

    def reset(self) -> None:
        """Cancel what runs and close the databases."""
        for statement in self.statements.values():
            statement.stop()
        for statement in self.statements.values():
            statement.done.wait(LONGEST_WAIT)
        redshift_engine.close()
        super().reset()

    # ----------------------------------------------------------------------------------------------------- submissions

    def submit(self, request: dict[str, Any], sqls: list[str], *, batch: bool) -> Statement:
        """Start a statement; a token that was used before names the statement that it started.

        Raises:
            ValidationException: The request contradicts itself, or asks for what doesn't happen here.
            ResourceNotFoundException: There is no such session.
        """
        _check(request, sqls)
        token, same = request.get("ClientToken"), json.dumps(request, sort_keys=True)
        with self._changes:
            self._forget()
            if token in self._tokens:
                started, before = self._tokens[token]
                if before != same:
                    raise ValidationException("The ClientToken was used before with another request")
                return self.statements[started]
            session, echoed = self._session(request)
            statement = _new(request, sqls, batch, session, echoed)
            self.statements[statement.whole.id] = statement
            if token:
                self._tokens[token] = (statement.whole.id, same)
        threading.Thread(
            target=self._run, args=(statement, request), name=f"redshift-{statement.whole.id}", daemon=True
        ).start()
        statement.done.wait(min(request.get("WaitTimeSeconds") or AT_ONCE_SECONDS, LONGEST_WAIT))
        return statement

    def _session(self, request: dict[str, Any]) -> tuple[Session | None, dict[str, str]]:
        """The session that a statement runs in, busy from now on, and what answers repeat of the request."""
        echoed = {
            key: request[key]
            for key in ("ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SecretArn")
            if request.get(key)
        }
        if wanted := request.get("SessionId"):
            session = self._sessions.get(wanted)
            if session is None:
                raise ResourceNotFoundException
            if session.busy:
                raise ValidationException(f"Session {wanted} runs a statement: wait until it has ended")
            session.busy = True
            session.keep = request.get("SessionKeepAliveSeconds") or session.keep
            return session, session.request
        database = self.database(request)
        if not request.get("SessionKeepAliveSeconds"):
            return None, echoed
        session_id = str(uuid.uuid4())
        connection = Connection(database, request.get("DbUser") or DEFAULT_USER)
        session = Session(
            session_id, connection, {**echoed, "SessionId": session_id}, float(request["SessionKeepAliveSeconds"])
        )
        self._sessions[session_id] = session
        return session, session.request

    def _forget(self) -> None:
        """Drop statements of yesterday and sessions that nobody used in time."""
        now = time.time()
        for session in [each for each in self._sessions.values() if not each.busy and each.expires <= now]:
            del self._sessions[session.id]
            session.connection.close()
        for old in [id for id, each in self.statements.items() if now - each.whole.updated > KEPT_SECONDS]:
            if self.statements[old].done.is_set():
                del self.statements[old]
        self._tokens = {token: used for token, used in self._tokens.items() if used[0] in self.statements}

    def database(self, request: dict[str, Any]) -> Database:
        """The database that a request names.

        Raises:
            ValidationException: It doesn't name exactly one.
        """
        return redshift_engine.database(_folder(request) / f"{_database_name(request)}.duckdb")

    # ------------------------------------------------------------------------------------------------------- execution

    def _run(self, statement: Statement, request: dict[str, Any]) -> None:
        whole, session = statement.whole, statement.session
        connection = None
        started = time.perf_counter()
        status, error = "FINISHED", None
        try:
            whole.status, whole.updated = "STARTED", time.time()
            connection = (
                session.connection
                if session
                else Connection(self.database(request), request.get("DbUser") or DEFAULT_USER)
            )
            self._steps(statement, connection)
        except Cancelled:
            status = "ABORTED"
        except QueryFailed as failure:
            status, error = "FAILED", str(failure)
        except Exception as failure:  # whatever it is, the caller must not wait for ever
            status, error = "FAILED", f"ERROR: internal: {type(failure).__name__}: {failure}"
        finally:
            if connection is not None and session is None:
                connection.close()
            with self._changes:
                if session is not None:
                    session.busy, session.expires = False, time.time() + session.keep
                whole.seconds = time.perf_counter() - started
                for step in statement.steps:
                    if step.status not in FINAL:
                        step.end("FINISHED" if status == "FINISHED" else "ABORTED")
                if status == "FINISHED":
                    whole.affected = statement.steps[-1].affected
                whole.end(status, error)
            statement.done.set()

    def _steps(self, statement: Statement, connection: Connection) -> None:
        given = {each["name"]: each["value"] for each in statement.parameters or ()}
        commands = []
        for step in statement.steps:
            with _blamed(step):
                commands.append([command(sql, given) for sql in split(step.sql)])
        _check_parameters(given, commands)
        stop = statement.stop
        if statement.automatic:
            failures = []
            for step, several in zip(statement.steps, commands, strict=True):
                try:
                    with connection.running(stop):
                        self._step(statement, step, several, connection, alone=len(several) == 1)
                        _finish(connection, statement)
                    step.end("FINISHED")
                except QueryFailed as failure:
                    step.end("FAILED", str(failure))
                    failures.append(failure)
            if failures:
                raise failures[0]
            return
        alone = sum(map(len, commands)) == 1 and not connection.explicit
        with connection.running(stop):
            if any(each.kind not in READING for several in commands for each in several):
                connection.write(stop)
            for step, several in zip(statement.steps, commands, strict=True):
                with _blamed(step):
                    self._step(statement, step, several, connection, alone=alone)
            _finish(connection, statement)

    @staticmethod
    def _step(statement: Statement, step: Step, several: list[Command], connection: Connection, *, alone: bool) -> None:
        started = time.perf_counter()
        step.status, step.updated = "STARTED", time.time()
        for each in several:
            result = connection.execute(each, statement.stop, alone=alone)
            step.affected = result.rows
            step.rows = None
            if result.columns is not None:
                step.rows = fetch(connection.cursor, result.columns, statement.stop.check)
                step.affected = step.rows.total
        step.seconds = time.perf_counter() - started
        step.updated = time.time()

    # --------------------------------------------------------------------------------------------------------- answers

    def find(self, statement_id: str) -> tuple[Statement, Step]:
        """A statement, and the step that an id names behind a colon.

        Raises:
            ValidationException: It is no id.
            ResourceNotFoundException: There is none of this id.
        """
        match = _ID.fullmatch(statement_id or "")
        if match is None:
            raise ValidationException(f"id must satisfy regex pattern: {_ID.pattern}")
        statement = self.statements.get(match[1])
        number = int(match[2] or 0)
        if statement is None or number > len(statement.steps) or (number and not statement.batch):
            raise ResourceNotFoundException
        return statement, statement.steps[number - 1] if number else statement.whole

    def cancel_statement(self, statement_id: str) -> None:
        """Interrupt a statement; it is ABORTED as soon as its work is undone.

        Raises:
            ValidationException: It has ended.
            ResourceNotFoundException: There is none of this id.
        """
        statement, _ = self.find(statement_id)
        if statement.done.is_set():
            raise ValidationException(
                f"Could not cancel a query that is already in {statement.whole.status} state with ID: {statement_id}"
            )
        statement.stop()


@contextlib.contextmanager
def _blamed(step: Step) -> Iterator[None]:
    """What goes wrong inside is this step's fault."""
    try:
        yield
    except QueryFailed as failure:
        step.end("FAILED", str(failure))
        raise
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        reason = from_duckdb(error, f"{lake()}/")
        step.end("FAILED", str(reason))
        raise reason from error


def _finish(connection: Connection, statement: Statement) -> None:
    statement.stop.check()
    if not connection.explicit:
        connection.commit()
    elif statement.session is None:
        raise QueryFailed(
            "BEGIN without COMMIT: the connection ends with the statement, so its work would be lost. Commit in the "
            "same statement, send a batch, which is one transaction, or keep a session"
        )


def _check_parameters(given: dict[str, str], commands: list[list[Command]]) -> None:
    used = {name for several in commands for each in several for name in each.used}
    if unused := sorted(given.keys() - used):
        raise QueryFailed(f"Parameters list contains unused parameters. Unused parameters: {unused}")
    if given and any(len(several) > 1 for several in commands):
        raise QueryFailed("cannot insert multiple commands into a prepared statement")


def _check(request: dict[str, Any], sqls: list[str]) -> None:
    places = [key for key in ("ClusterIdentifier", "WorkgroupName", "SessionId") if request.get(key)]
    if len(places) != 1:
        raise ValidationException("Give exactly one of ClusterIdentifier, WorkgroupName and SessionId")
    if request.get("WithEvent"):
        raise ValidationException("WithEvent: the local stack runs no EventBridge, so no event would be sent")
    if request.get("ResultFormat", "JSON") != "JSON":
        raise ValidationException("ResultFormat CSV is not supported by the local stack: use JSON")
    if not 1 <= len(sqls) <= 40 or not all(sqls):
        raise ValidationException("A batch has 1 to 40 SQL statements, and none is empty")
    names = [each["name"] for each in request.get("Parameters") or ()]
    if len(set(names)) != len(names):
        raise ValidationException(f"Parameters have the same name: {sorted(names)}")


def _new(
    request: dict[str, Any], sqls: list[str], batch: bool, session: Session | None, echoed: dict[str, str]
) -> Statement:
    whole = Step(str(uuid.uuid4()), ";\n".join(sqls))
    return Statement(
        whole=whole,
        steps=[Step(f"{whole.id}:{number}", sql) for number, sql in enumerate(sqls, start=1)] if batch else [whole],
        batch=batch,
        parameters=request.get("Parameters"),
        echoed=echoed,
        name=request.get("StatementName"),
        automatic=request.get("ExecutionMode") == "AUTO_COMMIT",
        session=session,
    )


def _folder(request: dict[str, Any]) -> Path:
    place = request.get("ClusterIdentifier") or request.get("WorkgroupName") or ""
    if not _PLACE.fullmatch(place):
        raise ValidationException(f"{place!r} is not the name of a cluster or workgroup: lower-case letters, digits, -")
    return current().state / "redshift" / place


def _database_name(request: dict[str, Any], key: str = "Database") -> str:
    name = request.get(key) or ""
    if not _DATABASE.fullmatch(name):
        raise ValidationException(f"{key} {name!r}: write the name of a database in lower case, e.g. dev")
    return name


class ExecutingResponse(RedshiftDataAPIServiceResponse):
    """moto's dispatch of requests, for statements that run, and the actions that moto lacks."""

    @property
    def service(self) -> ExecutingRedshiftData:
        """The backend, by its real type."""
        return self.redshiftdata_backend  # type: ignore[return-value]

    def _request(self) -> dict[str, Any]:
        return json.loads(self.body or "{}")

    @staticmethod
    def _answer(body: dict[str, Any]) -> TYPE_RESPONSE:
        return 200, {}, json.dumps(body)

    def execute_statement(self) -> TYPE_RESPONSE:
        """ExecuteStatement."""
        request = self._request()
        return self._submitted(self.service.submit(request, [request.get("Sql") or ""], batch=False))

    def batch_execute_statement(self) -> TYPE_RESPONSE:
        """BatchExecuteStatement: one transaction, unless each is to be committed by itself."""
        request = self._request()
        return self._submitted(self.service.submit(request, request.get("Sqls") or [], batch=True))

    def _submitted(self, statement: Statement) -> TYPE_RESPONSE:
        whole = statement.whole
        return self._answer(
            {"Id": whole.id, "CreatedAt": whole.created, "Status": whole.status, "DbGroups": [], **statement.echoed}
        )

    def describe_statement(self) -> TYPE_RESPONSE:
        """DescribeStatement, also of one of a batch."""
        statement, step = self.service.find(self._get_param("Id"))
        statement.done.wait(min(self._get_int_param("WaitTimeSeconds") or 0, LONGEST_WAIT))
        return self._answer(statement.described() if step is statement.whole else step.described())

    def cancel_statement(self) -> TYPE_RESPONSE:
        """CancelStatement."""
        self.service.cancel_statement(self._get_param("Id"))
        return self._answer({"Status": True})

    def get_statement_result(self) -> TYPE_RESPONSE:
        """GetStatementResult: a page of rows."""
        statement, step = self.service.find(self._get_param("Id"))
        statement.done.wait(min(self._get_int_param("WaitTimeSeconds") or 0, LONGEST_WAIT))
        if step.status != "FINISHED" or step.rows is None:
            raise _no_result()
        position = _position(self._get_param("NextToken"))
        if position >= len(step.rows.pages):
            raise ValidationException("NextToken is not one of this result's")
        more = position + 1 < len(step.rows.pages)
        head = {"ColumnMetadata": step.rows.columns, "TotalNumRows": step.rows.total}
        head |= {"NextToken": str(position + 1)} if more else {}
        return 200, {}, f'{json.dumps(head)[:-1]}, "Records": {step.rows.pages[position]}}}'

    def list_statements(self) -> TYPE_RESPONSE:
        """ListStatements, the newest first."""
        request = self._request()
        status, prefix = request.get("Status", "ALL"), request.get("StatementName", "")
        found = [
            statement.listed()
            for statement in reversed(list(self.service.statements.values()))
            if status in ("ALL", statement.whole.status)
            and (statement.name or "").startswith(prefix)
            and all(
                request.get(key) in (None, statement.echoed.get(key))
                for key in ("ClusterIdentifier", "WorkgroupName", "Database")
            )
        ]
        return self._page("Statements", found, 100)

    def _page(self, member: str, found: list[Any], most: int, **others: Any) -> TYPE_RESPONSE:
        start = _position(self._get_param("NextToken"))
        end = start + min(self._get_int_param("MaxResults") or most, most)
        more = {"NextToken": str(end)} if end < len(found) else {}
        return self._answer({member: found[start:end], **others, **more})

    # -------------------------------------------------------------------------------------------------------- catalog

    def list_databases(self) -> TYPE_RESPONSE:
        """ListDatabases: those of the cluster or workgroup that were used."""
        found = sorted(file.stem for file in _folder(self._request()).glob("*.duckdb"))
        return self._page("Databases", found, 1000)

    def list_schemas(self) -> TYPE_RESPONSE:
        """ListSchemas."""
        pattern = self._request().get("SchemaPattern") or "%"
        found = self._rows(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database() AND NOT internal "
            f"AND schema_name <> {quoted(RECORDS)} AND schema_name LIKE {quoted(pattern)} ORDER BY schema_name"
        )
        return self._page("Schemas", [name for (name,) in found], 1000)

    def list_tables(self) -> TYPE_RESPONSE:
        """ListTables: tables and views."""
        request = self._request()
        schema, table = request.get("SchemaPattern") or "%", request.get("TablePattern") or "%"
        found = self._rows(
            "SELECT * FROM (SELECT schema_name, table_name AS name, 'TABLE' FROM duckdb_tables() WHERE NOT internal "
            "AND NOT temporary UNION ALL SELECT schema_name, view_name, 'VIEW' FROM duckdb_views() WHERE NOT internal "
            f"AND NOT temporary) WHERE schema_name <> {quoted(RECORDS)} AND schema_name LIKE {quoted(schema)} "
            f"AND name LIKE {quoted(table)} ORDER BY ALL"
        )
        tables = [{"schema": schema, "name": name, "type": kind} for schema, name, kind in found]
        return self._page("Tables", tables, 1000)

    def describe_table(self) -> TYPE_RESPONSE:
        """DescribeTable: the columns, none where there is no such table, as of the real service."""
        request = self._request()
        name = Name(request.get("Schema") or redshift_tables.PUBLIC, request.get("Table") or "")
        cursor = self._database(request).cursor()
        try:
            columns = redshift_tables.columns(cursor, name)
        finally:
            cursor.close()
        described = [
            redshift_tables.metadata(column)
            | {"schemaName": name.schema, "tableName": name.table}
            | ({"columnDefault": column.default} if column.default is not None else {})
            for column in columns
        ]
        return self._page("ColumnList", described, 1000, TableName=name.table)

    def _database(self, request: dict[str, Any]) -> Database:
        if request.get("ConnectedDatabase", request.get("Database")) != request.get("Database"):
            raise ValidationException("ConnectedDatabase: the local stack sees only the database it is connected to")
        return self.service.database(request)

    def _rows(self, sql: str) -> list[tuple]:
        cursor = self._database(self._request()).cursor()
        try:
            return cursor.execute(sql).fetchall()
        finally:
            cursor.close()


def _no_result() -> JsonRESTError:
    return JsonRESTError(
        "ResourceNotFoundException", "Query does not have result. Please check query status with DescribeStatement."
    )


def _position(token: str | None) -> int:
    if token is not None and not token.isdigit():
        raise ValidationException(f"NextToken {token!r} was not given by this service")
    return int(token or 0)


ExecutingRedshiftData.response = ExecutingResponse
