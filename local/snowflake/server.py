"""The local Snowflake's HTTP endpoint, over TLS: `python -m local.snowflake.server --port 8443 --state .local`.

It speaks the connector's protocol: a statement that takes long is answered "in progress" and fetched later, a request
that is sent again does not run again, and every failure is an answer with a reason, never an HTTP error (which the
connector would retry for minutes).
"""

import argparse
import asyncio
import contextlib
import functools
import gzip
import json
import logging
import re
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import duckdb
import uvicorn
from fakesnow.arrow import to_ipc, to_sf
from fakesnow.converter import from_binding
from fakesnow.expr import normalise_ident
from fakesnow.rowtype import describe_as_rowtype
from fakesnow.server import bucket_upload, describe_only_response, gcs_stage_info
from fakesnow.statement_type import DML_TYPE_IDS, statement_type_id
from fakesnow.transforms import SERVER_VERSION
from snowflake.connector.errors import DatabaseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.snowflake import dialect, errors, tls
from local.snowflake.account import Account
from local.snowflake.cursor import Cursor, one_statement
from local.snowflake.queries import Failure, Query, Registry, Session
from local.snowflake.results import Column, literal_rows

logger = logging.getLogger("local.snowflake")

# Well under the connector's read timeout of 60 s, after which it would send the statement again.
PATIENCE_SECONDS = 20.0
IN_PROGRESS = "333333"
IN_PROGRESS_ASYNC = "333334"
NO_SESSION = "390104"
LOOPBACK = "127.0.0.1"
# What a session may set when it logs in. The CLIENT_… ones are the client's own business.
SESSION_PARAMETERS = {"AUTOCOMMIT", "QUERY_TAG", "ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION", "TIMEZONE"}
# The connector sends back in a hook's second session what the server told it in the first.
TIMEZONE = "Etc/UTC"

Handler = Callable[[Request], Awaitable[Response]]


class Endpoint:
    """The routes, over one account."""

    def __init__(self, account: Account, patience: float = PATIENCE_SECONDS) -> None:
        """Serve `account`.

        Args:
            account: The databases.
            patience: Seconds after which a running statement is answered "in progress".
        """
        self.account = account
        self.registry = Registry(account)
        self.patience = patience

    def application(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/health", self.health, methods=["GET"]),
            Route("/session/v1/login-request", answered(self.login), methods=["POST"]),
            Route("/session/heartbeat", answered(self.heartbeat), methods=["POST"]),
            Route("/session", answered(self.session), methods=["POST"]),
            Route("/queries/v1/query-request", answered(self.query), methods=["POST"]),
            Route("/queries/v1/abort-request", answered(self.abort_request), methods=["POST"]),
            Route("/queries/{id}/abort-request", answered(self.abort), methods=["POST"]),
            Route("/queries/{id}/result", answered(self.result), methods=["GET"]),
            Route("/monitoring/queries/{id}", answered(self.monitor), methods=["GET"]),
            Route("/fs_bucket/{path:path}", bucket_upload, methods=["PUT"]),
            Route("/{path:path}", answered(self.unknown), methods=["GET", "POST", "PUT", "DELETE"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    async def health(self, request: Request) -> Response:
        """Answer that the server is up, with what it is doing."""
        del request
        return JSONResponse(
            {"status": "ok", "sessions": len(self.registry.sessions), "running": len(self.registry.running())}
        )

    async def login(self, request: Request) -> Response:
        """Open a session in the database and schema that the client names."""
        body = (await _body(request))["data"]
        parameters = {str(key).upper(): value for key, value in (body.get("SESSION_PARAMETERS") or {}).items()}
        known = {name for name in parameters if name.startswith(("CLIENT_", "PYTHON_CONNECTOR_"))}
        if unknown := sorted(parameters.keys() - known - SESSION_PARAMETERS):
            raise errors.unsupported(f"session parameter {', '.join(unknown)}")
        if _truth(parameters.get("ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION", False)):
            raise errors.unsupported("ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION = TRUE", "Unloads use logical types.")
        if parameters.get("TIMEZONE", TIMEZONE) not in {TIMEZONE, "UTC"}:
            raise errors.unsupported(f"TIMEZONE = {parameters['TIMEZONE']}", "Sessions are in UTC.")
        names = [request.query_params.get(name) for name in ("databaseName", "schemaName")]
        database, schema = (normalise_ident(name) if name else None for name in names)
        autocommit = _truth(parameters.get("AUTOCOMMIT", True))
        connection = await asyncio.to_thread(self.account.connect, database, schema, autocommit=autocommit)
        connection.query_tag = str(parameters.get("QUERY_TAG") or "")
        session = self.registry.open(connection, str(body.get("LOGIN_NAME") or "").upper(), parameters)
        logger.info("session %s: %s, database %s, schema %s", session.id, session.user, database, schema)
        return JSONResponse(
            {
                "success": True,
                "data": {
                    "token": session.token,
                    # Without it the connector does not say when it closes a session.
                    "masterToken": session.master_token,
                    "validityInSeconds": 86400,
                    "masterValidityInSeconds": 86400,
                    "sessionId": session.id,
                    "serverVersion": SERVER_VERSION,
                    "parameters": [
                        {"name": "AUTOCOMMIT", "value": autocommit},
                        {"name": "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", "value": 3600},
                        {"name": "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", "value": 0},
                        {"name": "CLIENT_TELEMETRY_ENABLED", "value": False},
                    ],
                    "sessionInfo": {
                        "databaseName": connection.database,
                        "schemaName": connection.schema,
                        "warehouseName": request.query_params.get("warehouse"),
                        "roleName": request.query_params.get("roleName"),
                    },
                },
            }
        )

    async def heartbeat(self, request: Request) -> Response:
        """Tell a client whether its session is alive."""
        self._session(request)
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def session(self, request: Request) -> Response:
        """Close a session, which cancels its statements."""
        session = self._session(request)
        if request.query_params.get("delete"):
            await asyncio.to_thread(self.registry.close, session)
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def query(self, request: Request) -> Response:
        """Run a statement; one that is sent again is not run again."""
        session = self._session(request)
        body = await _body(request)
        sql = body.get("sqlText") or ""
        work = functools.partial(self._run, body=body, request=request)
        query = self.registry.start(
            session, sql, request.query_params.get("requestId", ""), work, at_once=_cancels(sql)
        )
        if body.get("asyncExec"):
            return _in_progress(query, IN_PROGRESS_ASYNC)
        return await self._answer(query)

    async def result(self, request: Request) -> Response:
        """Give the result of a statement, or say that it is still in progress."""
        self._session(request)
        return await self._answer(self._query(request))

    async def monitor(self, request: Request) -> Response:
        """Give the status of a statement."""
        self._session(request)
        query = self.registry.find(request.path_params["id"])
        if query is None:
            return JSONResponse({"data": {"queries": []}, "success": True})
        facts = {"id": query.id, "status": query.status, "sqlText": query.sql, "sessionId": query.session.id}
        if query.failure:
            facts |= {"errorCode": f"{query.failure.number:06d}", "errorMessage": query.failure.message}
        return JSONResponse({"data": {"queries": [facts]}, "success": True})

    async def abort(self, request: Request) -> Response:
        """Cancel a statement by its id."""
        self._session(request)
        await asyncio.to_thread(self._query(request).cancel)
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def abort_request(self, request: Request) -> Response:
        """Cancel the statement that a request started, as the connector does on a timeout or an interrupt."""
        self._session(request)
        body = await _body(request)
        if query := self.registry.find_request(str(body.get("requestId"))):
            await asyncio.to_thread(query.cancel)
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def unknown(self, request: Request) -> Response:
        """Refuse what the local Snowflake does not serve."""
        raise errors.unsupported(f"{request.method} {request.url.path}")

    async def _answer(self, query: Query) -> Response:
        await asyncio.wait({asyncio.wrap_future(query.future)}, timeout=self.patience)
        if not query.done.is_set():
            return _in_progress(query, IN_PROGRESS)
        if query.response is None:
            raise errors.error((709, "02000"), f"The result of statement {query.id} is no longer kept")
        return Response(query.response, media_type="application/json")

    def _run(self, query: Query, body: dict[str, Any], request: Request) -> None:
        """Run a statement in its session's thread and finish it, whatever happens."""
        logger.info("%s session %s: %s", query.id, query.session.id, " ".join(query.sql.split())[:400])
        failure: Failure | None = None
        try:
            if query.cancelled.is_set():
                raise errors.error(errors.CANCELED, "SQL execution canceled")
            content = self._execute(query, body, request)
        except Exception as cause:
            if not isinstance(cause, DatabaseError):
                logger.exception("%s failed", query.id)
            # An interrupt shows as different errors, depending on what was running.
            shown = errors.error(errors.CANCELED, "SQL execution canceled") if query.cancelled.is_set() else cause
            content = _failed(errors.as_snowflake_error(shown, None), query.id)
            failure = Failure(int(content["code"]), content["data"]["sqlState"], content["message"])
            logger.info("%s failed: %s", query.id, failure.message)
        query.finish(json.dumps(content).encode(), failure)

    def _execute(self, query: Query, body: dict[str, Any], request: Request) -> dict[str, Any]:
        if _cancels(query.sql):
            return self._cancel(query)
        connection = query.session.connection
        cursor: Cursor = connection.cursor()
        cursor.query_id, cursor.cancelled, cursor.history = query.id, query.cancelled, self.registry.history
        single, batch = _bindings(body.get("bindings"))
        if body.get("describeOnly") and (described := cursor.describe_only(query.sql)) is not None:
            statement = one_statement(query.sql)
            response = describe_only_response(connection, cursor, described, statement, statement_type_id(statement))
            return json.loads(bytes(response.body))
        if batch is None:
            cursor.execute(query.sql, binding_params=single, server=True)
            return _content(cursor, query.id, request)
        rows = 0
        for values in batch:
            cursor.execute(query.sql, binding_params=values, server=True)
            rows += cursor.rowcount or 0
        return _content(cursor, query.id, request, batch_rows=rows)

    def _cancel(self, query: Query) -> dict[str, Any]:
        """Do SYSTEM$CANCEL_QUERY beside the session's queue, where the statement to cancel may be running."""
        arguments = dialect.system_function(one_statement(query.sql), "SYSTEM$CANCEL_QUERY") or []
        found = self.registry.find(arguments[0]) if len(arguments) == 1 else None
        if found is None:
            message = "SYSTEM$CANCEL_QUERY takes the id of a statement of this server"
            raise errors.error(errors.INVALID_OPTION, message)
        stopped = found.cancel()
        outcome = (
            f"query [{found.id}] terminated." if stopped else "Identified SQL statement is not currently executing."
        )
        connection = self.account.connect()
        with contextlib.closing(connection):
            cursor = connection.cursor()
            cursor.query_id = query.id
            cursor.finish(literal_rows([Column("SYSTEM$CANCEL_QUERY")], [(outcome,)]))
            return _content(cursor, query.id, None)

    def _session(self, request: Request) -> Session:
        token = request.headers.get("Authorization", "").removeprefix('Snowflake Token="').removesuffix('"')
        session = self.registry.sessions.get(token)
        if session is None:
            raise errors.error(
                (int(NO_SESSION), "08001"),
                "The session does not exist; it was closed, or the local Snowflake was restarted. Connect again.",
            )
        return session

    def _query(self, request: Request) -> Query:
        query = self.registry.find(request.path_params["id"])
        if query is None:
            raise errors.error((709, "02000"), f"Statement {request.path_params['id']} not found")
        return query

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Cancel what runs, and write everything to disk."""
        for query in self.registry.running():
            query.cancel()
        self.account.close()


def answered(handler: Handler) -> Handler:
    """Turn a handler's exception into an answer: on an HTTP error the connector would try again for minutes."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as cause:
            if not isinstance(cause, DatabaseError):
                logger.exception("%s %s failed", request.method, request.url.path)
            return JSONResponse(_failed(errors.as_snowflake_error(cause, None), None))

    return answer


def serve(port: int, state: Path, patience: float = PATIENCE_SECONDS, host: str = LOOPBACK) -> None:
    """Serve the account of `state` until SIGINT or SIGTERM.

    Args:
        port: TCP port; 0 takes a free one, which is printed.
        state: The stack's state directory: `snowflake/`, `tls/` and `trust/` below it.
        patience: Seconds after which a running statement is answered "in progress".
        host: The address to listen on.

    Raises:
        SystemExit: The port is taken, or another server owns the database files.
    """
    files = tls.certificates(state)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as failure:
        raise SystemExit(f"Port {port} of {host} is not free: {failure}. Choose another with --port.") from failure
    try:
        account = Account(state / "snowflake")
    except duckdb.IOException as failure:
        raise SystemExit(f"Cannot open {state / 'snowflake'}: is another server using it? {failure}") from failure
    config = uvicorn.Config(
        Endpoint(account, patience).application(),
        ssl_certfile=files.certificate,
        ssl_keyfile=files.key,
        log_level="warning",
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    print(f"Snowflake on https://localhost:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m local.snowflake.server", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8443, help="port, 0 for a free one (%(default)s)")
    parser.add_argument("--state", type=Path, default=Path(".local"), help="state directory (%(default)s)")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_SECONDS,
        help="seconds until a running statement is answered 'in progress' (%(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    # uvicorn raises the signal once more after its clean stop, which would make it look like a crash.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(options.port, options.state, options.patience, options.host)


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return json.loads(content) if content else {}


def _bindings(given: dict[str, Any] | None) -> tuple[Any, list[tuple[Any, ...]] | None]:
    """Return the values of one execution, or the rows of a batch."""
    if not given:
        return None, None
    if not all(key.isdigit() for key in given):
        return {name: from_binding(value) for name, value in given.items()}, None
    ordered = [given[str(position)] for position in range(1, len(given) + 1)]
    if any(isinstance(value["value"], list) for value in ordered):
        columns = [[from_binding({**item, "value": value}) for value in item["value"]] for item in ordered]
        return None, list(zip(*columns, strict=True))
    return tuple(from_binding(value) for value in ordered), None


def _content(cursor: Cursor, query_id: str, request: Request | None, batch_rows: int | None = None) -> dict[str, Any]:
    """Return the answer to a statement that succeeded."""
    transformed, table = cursor.outcome()
    connection = cursor.connection
    if request is not None and (put := transformed.args.get("put_stage_data")):
        put["stageInfo"] = gcs_stage_info(request, transformed, put)
        return {"success": True, "data": {**put, "queryId": query_id}}
    rowtype = describe_as_rowtype(cursor.described())
    kind = cursor.statement_type
    if kind in DML_TYPE_IDS:
        rows = [[None if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
        rowset = [[str(batch_rows)]] if batch_rows is not None else rows
        result: dict[str, Any] = {"queryResultFormat": "json", "rowset": rowset}
    else:
        result = {
            "queryResultFormat": "arrow",
            "rowsetBase64": b64encode(to_ipc(to_sf(table, rowtype))).decode(),
        }
    return {
        "success": True,
        "data": {
            "parameters": [{"name": "TIMEZONE", "value": TIMEZONE}],
            "rowtype": rowtype,
            "total": 1 if batch_rows is not None else table.num_rows,
            "returned": 1 if batch_rows is not None else table.num_rows,
            "queryId": query_id,
            "statementTypeId": kind,
            "finalDatabaseName": connection.database,
            "finalSchemaName": connection.schema,
            **result,
        },
    }


def _failed(failure: DatabaseError, query_id: str | None) -> dict[str, Any]:
    code = f"{failure.errno:06d}"
    # The connector's errors prefix their text with number and state; the client does it again.
    message = re.sub(r"^\d{6} \(\w{5}\): (?:[0-9a-f-]{36}: )?", "", str(failure.raw_msg or failure.msg))
    return {
        "success": False,
        "code": code,
        "message": message,
        "data": {"errorCode": code, "sqlState": failure.sqlstate, "queryId": query_id},
    }


def _in_progress(query: Query, code: str) -> Response:
    return JSONResponse(
        {
            "success": True,
            "code": code,
            "message": "Query execution in progress.",
            "data": {
                "getResultUrl": f"/queries/{query.id}/result",
                "queryId": query.id,
                "queryAbortsAfterSecs": 300,
                "progressDesc": None,
            },
        }
    )


def _cancels(sql: str) -> bool:
    return re.match(r"\s*(SELECT|CALL)\s+SYSTEM\$CANCEL_QUERY\b", sql, re.IGNORECASE) is not None


def _truth(value: Any) -> bool:
    return str(value).upper() == "TRUE"


if __name__ == "__main__":
    main()
