"""Sessions and their statements: started once, waited for, cancelled, remembered."""

import datetime
import logging
import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from local.snowflake.account import Account, Connection

logger = logging.getLogger(__name__)

# How many statements are remembered, and how many of their results: a client fetches a result soon or never.
REMEMBERED = 2000
RESULTS = 16


@dataclass(frozen=True)
class Failure:
    """Why a statement failed, as its client is told."""

    number: int
    state: str
    message: str


@dataclass
class Query:
    """One statement, from its request to its result."""

    sql: str
    session: "Session"
    request_id: str
    tag: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    ended: datetime.datetime | None = None
    failure: Failure | None = None
    response: bytes | None = None
    future: "Future[None]" = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def status(self) -> str:
        """The connector's name for the statement's state."""
        if not self.done.is_set():
            return "RUNNING"
        return "FAILED_WITH_ERROR" if self.failure else "SUCCESS"

    def finish(self, response: bytes, failure: Failure | None) -> None:
        """Record the outcome; from here on the statement cannot be cancelled."""
        with self._lock:
            self.response, self.failure = response, failure
            self.ended = datetime.datetime.now(datetime.UTC)
            self.done.set()

    def cancel(self) -> bool:
        """Stop the statement and wait until it has stopped.

        Returns:
            False when it was already over.
        """
        if self.done.is_set():
            return False
        logger.info("cancel %s", self.id)
        self.cancelled.set()
        # Again and again: an interrupt that comes just before DuckDB starts a step is lost. Under the lock, so that it
        # never hits the session's next statement.
        while not self.done.wait(0.02):
            with self._lock:
                if not self.done.is_set():
                    self.session.interrupt(self)
        return True


class Session:
    """A client's session. Its statements run one after the other, in the order they came."""

    def __init__(self, number: int, connection: Connection, user: str, parameters: dict[str, Any]) -> None:
        self.id = number
        self.token = secrets.token_urlsafe(32)
        self.master_token = secrets.token_urlsafe(32)
        self.connection = connection
        self.user = user
        self.parameters = parameters
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"session-{number}")
        self._current: Query | None = None

    def submit(self, query: Query, work: Callable[[Query], None]) -> None:
        """Queue `work(query)` behind the session's other statements."""

        def run() -> None:
            self._current = query
            work(query)

        query.future = self._executor.submit(run)

    def interrupt(self, query: Query) -> None:
        """Interrupt DuckDB if it is `query` that it is working for; a queued one finds out when its turn comes."""
        if self._current is query:
            self.connection.interrupt()

    def close(self) -> None:
        """Release the connection once the last statement is over."""
        self._executor.submit(self.connection.close)
        self._executor.shutdown(wait=False)


class Registry:
    """Everything the server knows about its sessions and statements."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.sessions: dict[str, Session] = {}
        self._queries: OrderedDict[str, Query] = OrderedDict()
        self._by_request: dict[str, Query] = {}
        self._lock = threading.Lock()
        self._count = 0

    def open(self, connection: Connection, user: str, parameters: dict[str, Any]) -> Session:
        """Open a session for `connection`."""
        with self._lock:
            self._count += 1
            session = Session(self._count, connection, user, parameters)
            self.sessions[session.token] = session
        return session

    def close(self, session: Session) -> None:
        """End a session: what it still runs is cancelled."""
        self.sessions.pop(session.token, None)
        for query in self.running():
            if query.session is session:
                query.cancel()
        session.close()

    def start(
        self, session: Session, sql: str, request_id: str, work: Callable[[Query], None], *, at_once: bool = False
    ) -> Query:
        """Start a statement, unless it is one that the client sent before.

        Args:
            session: Whose statement it is.
            sql: The text.
            request_id: The client's id of the request: a request that is sent again has the same one.
            work: Runs the statement and finishes it.
            at_once: Do not queue behind the session's other statements.

        Returns:
            The started, running or finished statement.
        """
        with self._lock:
            known = self._by_request.get(request_id)
            if known is not None and known.session is session:
                logger.info("request %s again: still %s", request_id, known.id)
                return known
            query = Query(sql, session, request_id, session.connection.query_tag)
            self._queries[query.id] = query
            if request_id:
                self._by_request[request_id] = query
            self._forget()
        if at_once:
            pool = ThreadPoolExecutor(1)
            query.future = pool.submit(work, query)
            pool.shutdown(wait=False)
        else:
            session.submit(query, work)
        return query

    def find(self, query_id: str) -> Query | None:
        """Return the statement with the id that its client knows."""
        return self._queries.get(query_id)

    def find_request(self, request_id: str) -> Query | None:
        """Return the statement that a request started."""
        return self._by_request.get(request_id)

    def running(self) -> list[Query]:
        """Return the statements that are queued or running."""
        return [query for query in list(self._queries.values()) if not query.done.is_set()]

    def history(self) -> pa.Table:
        """Return INFORMATION_SCHEMA.QUERY_HISTORY: one row per remembered statement, oldest first."""
        queries = list(self._queries.values())
        failures = [query.failure for query in queries]
        return pa.table(
            {
                "QUERY_ID": pa.array([query.id for query in queries], pa.string()),
                "QUERY_TEXT": pa.array([query.sql for query in queries], pa.string()),
                "SESSION_ID": pa.array([query.session.id for query in queries], pa.int64()),
                "USER_NAME": pa.array([query.session.user for query in queries], pa.string()),
                "QUERY_TAG": pa.array([query.tag for query in queries], pa.string()),
                "EXECUTION_STATUS": pa.array([query.status for query in queries], pa.string()),
                "ERROR_CODE": pa.array([f"{item.number:06d}" if item else None for item in failures], pa.string()),
                "ERROR_MESSAGE": pa.array([item.message if item else None for item in failures], pa.string()),
                "START_TIME": pa.array([query.started for query in queries], pa.timestamp("us", "UTC")),
                "END_TIME": pa.array([query.ended for query in queries], pa.timestamp("us", "UTC")),
            }
        )

    def _forget(self) -> None:
        finished = [query for query in self._queries.values() if query.response is not None]
        for query in finished[:-RESULTS]:
            query.response = None
        while len(self._queries) > REMEMBERED and next(iter(self._queries.values())).done.is_set():
            _, query = self._queries.popitem(last=False)
            self._by_request.pop(query.request_id, None)
        results = self.account.results_cache
        for key in list(results)[:-RESULTS]:
            results.pop(key, None)
