import threading
import time
import uuid
from contextlib import suppress

import pytest
from snowflake.connector.constants import QueryStatus
from snowflake.connector.errors import DatabaseError, ProgrammingError

# Minutes of work for DuckDB, unless it is interrupted.
ENDLESS = "SELECT COUNT(*) FROM numbers a, numbers b, numbers c WHERE (a.i * b.i + c.i) % 7 = 3"


@pytest.fixture(scope="module", autouse=True)
def numbers(server):
    with server.connect() as session:
        session.cursor().execute("CREATE TABLE numbers AS SELECT UNNEST(RANGE(20000)) AS i")


def test_an_asynchronous_statement_is_watched_and_its_result_fetched(session):
    cursor = session.cursor()
    cursor.execute_async("SELECT SYSTEM$WAIT(500, 'MILLISECONDS')")
    assert session.get_query_status(cursor.sfqid) == QueryStatus.RUNNING
    assert session.is_still_running(session.get_query_status(cursor.sfqid))
    cursor.get_results_from_sfqid(cursor.sfqid)
    assert cursor.fetchone()[0].startswith("waited")
    assert session.get_query_status(cursor.sfqid) == QueryStatus.SUCCESS


def test_an_asynchronous_statement_that_fails_says_why(session):
    cursor = session.cursor()
    cursor.execute_async("SELECT * FROM nothing")

    def result():  # the connector says it at once, if the statement has failed by then
        cursor.get_results_from_sfqid(cursor.sfqid)
        return cursor.fetchone()

    with pytest.raises(DatabaseError, match="NOTHING"):
        result()
    with pytest.raises(ProgrammingError, match="NOTHING"):
        session.get_query_status_throw_if_error(cursor.sfqid)


def test_abort_query_interrupts_duckdb(session):
    cursor = session.cursor()
    cursor.execute_async(ENDLESS)
    assert session.cursor().abort_query(cursor.sfqid)
    _assert_cancelled(session, cursor.sfqid)


def test_a_cancelled_statement_fails_for_whom_waits_for_it(server, session):
    tag, failures = uuid.uuid4().hex, []

    def wait():
        with server.connect(session_parameters={"QUERY_TAG": tag}) as other:
            try:
                other.cursor().execute(ENDLESS)
            except ProgrammingError as failure:
                failures.append(failure)

    waiting = threading.Thread(target=wait)
    waiting.start()
    query_id = _running(session, tag)
    outcome = session.cursor().execute("SELECT SYSTEM$CANCEL_QUERY(%s)", (query_id,)).fetchone()[0]
    waiting.join()
    assert outcome == f"query [{query_id}] terminated."
    assert [failure.errno for failure in failures] == [604]
    again = session.cursor().execute("SELECT SYSTEM$CANCEL_QUERY(%s)", (query_id,)).fetchone()[0]
    assert "not currently executing" in again


def test_the_session_of_a_statement_cancels_it_too_and_goes_on(session):
    cursor = session.cursor()
    cursor.execute_async(ENDLESS)
    session.cursor().execute(f"SELECT SYSTEM$CANCEL_QUERY('{cursor.sfqid}')")
    _assert_cancelled(session, cursor.sfqid)
    assert session.cursor().execute("SELECT 1").fetchone() == (1,)


def test_a_queued_statement_is_cancelled_before_it_starts(session):
    first, second = session.cursor(), session.cursor()
    first.execute_async(ENDLESS)
    second.execute_async("CREATE TABLE never (a INTEGER)")
    aborting = threading.Thread(target=session.cursor().abort_query, args=(second.sfqid,))
    aborting.start()
    session.cursor().abort_query(first.sfqid)
    aborting.join()
    _assert_cancelled(session, second.sfqid)
    with pytest.raises(ProgrammingError, match="NEVER"):
        session.cursor().execute("SELECT * FROM never")


def test_a_timeout_of_the_connector_cancels(session):
    with pytest.raises(ProgrammingError, match="cancel") as failure:
        session.cursor().execute(ENDLESS, timeout=1)
    assert failure.value.errno == 604


def test_closing_the_session_cancels_what_it_runs(server, session):
    tag = uuid.uuid4().hex
    other = server.connect(session_parameters={"QUERY_TAG": tag})
    running = threading.Thread(target=_ignore_failure, args=(other.cursor().execute, ENDLESS))
    running.start()
    query_id = _running(session, tag)
    other.close()
    running.join()
    _assert_cancelled(session, query_id)


def test_cancelling_an_unknown_statement_is_an_error(session):
    with pytest.raises(ProgrammingError, match="takes the id"):
        session.cursor().execute(f"SELECT SYSTEM$CANCEL_QUERY('{uuid.uuid4()}')")


def _running(session, tag: str) -> str:
    """The id of the statement with the tag, once it runs."""
    sql = (
        "SELECT query_id FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())"
        f" WHERE query_tag = '{tag}' AND execution_status = 'RUNNING'"
    )
    while not (found := session.cursor().execute(sql).fetchall()):
        time.sleep(0.05)
    return found[0][0]


def _assert_cancelled(session, query_id: str) -> None:
    assert session.get_query_status(query_id) == QueryStatus.FAILED_WITH_ERROR
    sql = f"SELECT error_code FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE query_id = '{query_id}'"
    assert session.cursor().execute(sql).fetchall() == [("000604",)]


def _ignore_failure(work, *arguments) -> None:
    # The connector loses its connection object under the statement's feet.
    with suppress(DatabaseError, AttributeError):
        work(*arguments)
