import signal
import uuid

import pytest
import requests
from snowflake.connector.errors import DatabaseError, OperationalError, ProgrammingError

from local.snowflake import tls
from tests.local.snowflake.running import restored, running, start


def test_the_connector_talks_to_it_over_verified_tls(run):
    assert run("SELECT 40 + 2 AS answer") == [(42,)]


def test_an_alias_keeps_its_case(session):
    session.cursor().execute("CREATE OR REPLACE TABLE cased (name VARCHAR)")
    cursor = session.cursor().execute('SELECT name, name AS "name", 1 AS Upper FROM cased')
    assert [column.name for column in cursor.description] == ["NAME", "name", "UPPER"]


def test_a_client_that_does_not_trust_the_authority_is_not_connected(server, tmp_path):
    import snowflake.connector

    with restored("REQUESTS_CA_BUNDLE"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(tls.certificates(tmp_path).bundle))
        with pytest.raises(OperationalError, match="certificate verify failed"):
            snowflake.connector.connect(
                user="u", password="p", account="local", host="localhost", port=server.port, login_timeout=1
            )


def test_health(server):
    answer = requests.get(f"https://localhost:{server.port}/health", verify=tls.certificates(server.state).bundle)
    assert answer.json()["status"] == "ok"


UNSUPPORTED = {
    "GRANT SELECT ON TABLE t TO ROLE r": "GRANT",
    "REVOKE SELECT ON TABLE t FROM ROLE r": "REVOKE",
    "CREATE ROLE r": "CREATE ROLE",
    "CREATE USER u PASSWORD = 'x'": "CREATE USER",
    "CREATE WAREHOUSE w": "CREATE WAREHOUSE",
    "CREATE TAG t": "CREATE TAG",
    "ALTER TABLE t SET TAG a = 'b'": "SET TAG",
    "CALL my_procedure()": "CALL MY_PROCEDURE",
    "GET @stage file:///tmp": "GET @STAGE",
    "ALTER SESSION SET TIMEZONE = 'America/Sao_Paulo'": "TIMEZONE",
    "SELECT TO_CHAR(1.5, '999.00')": "number format",
    "SELECT TO_CHAR(CURRENT_TIMESTAMP(), 'Q')": "date format",
    "SELECT INTERVAL '1 day'": "INTERVAL",
    "EXECUTE IMMEDIATE 'SELECT 1'": "EXECUTE IMMEDIATE",
}


@pytest.mark.parametrize("sql", UNSUPPORTED)
def test_what_it_does_not_do_is_an_error_that_names_it(session, sql):
    with pytest.raises(ProgrammingError, match=UNSUPPORTED[sql]) as failure:
        session.cursor().execute(sql)
    assert (failure.value.errno, failure.value.sqlstate) == (2, "0A000")


FAILURES = {
    "SELEC 1": (1003, "42000"),
    "SELECT * FROM nothing": (2003, "42S02"),
    "SELECT no_such_function(1)": (2003, "42S02"),
    "SELECT 1; SELECT 2": (8, "0A000"),
    "SELECT 'x'::INTEGER": (100035, "22007"),
}


@pytest.mark.parametrize("sql", FAILURES)
def test_what_is_wrong_is_snowflakes_error(session, sql):
    with pytest.raises(ProgrammingError) as failure:
        session.cursor().execute(sql)
    assert (failure.value.errno, failure.value.sqlstate) == FAILURES[sql]


def test_a_failure_is_answered_once_and_never_tried_again(session, run):
    tag = uuid.uuid4().hex
    run(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
    with pytest.raises(ProgrammingError):
        run("SELECT INTERVAL '1 day'")
    assert _executions(run, "SELECT INTERVAL '1 day'", tag) == 1


def test_a_slow_statement_runs_once_and_its_result_arrives(run):
    """It takes longer than the server's patience of one second, so the connector is told to come back."""
    tag = uuid.uuid4().hex
    run(f"ALTER SESSION SET QUERY_TAG = '{tag}'")
    assert run("SELECT SYSTEM$WAIT(2500, 'MILLISECONDS')")[0][0].startswith("waited")
    assert _executions(run, "SELECT SYSTEM$WAIT(2500, 'MILLISECONDS')", tag) == 1


def test_a_statement_that_the_connector_sends_again_runs_once(s3, tmp_path):
    """The connector's read timeout is shorter than the statement, and the server does not answer in between."""
    wait = "SELECT SYSTEM$WAIT(4)"
    with running(tmp_path, s3, patience=30) as patient:
        with patient.connect(database=None, schema=None, socket_timeout=1) as session:
            assert session.cursor().execute(wait).fetchone()[0].startswith("waited 4")
            history = session.cursor().execute("SELECT query_text FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())")
            assert [text for (text,) in history.fetchall()].count(wait) == 1
        log = (tmp_path / "server.log").read_text()
    assert " again: still " in log, "the connector did not send the statement again, so nothing was tested"
    assert log.count(wait) == 1


def test_data_stages_formats_and_staged_files_survive_a_crash(s3, tmp_path):
    with running(tmp_path, s3) as first:
        with first.connect(database=None, schema=None) as session:
            for sql in (
                "CREATE DATABASE d",
                "CREATE SCHEMA d.s",
                "CREATE TABLE d.s.t (a INTEGER, b VARCHAR(20))",
                "INSERT INTO d.s.t VALUES (1, 'one')",
                "CREATE VIEW d.s.v AS SELECT a + 1 AS next FROM d.s.t",
                "CREATE STAGE d.s.inner_stage",
                "CREATE FILE FORMAT d.s.bars TYPE = CSV FIELD_DELIMITER = '|'",
                "CREATE DATABASE gone",
                "DROP DATABASE gone",
            ):
                session.cursor().execute(sql)
            (tmp_path / "rows.csv").write_text("2|two\n")
            session.cursor().execute(f"PUT file://{tmp_path / 'rows.csv'} @d.s.inner_stage")
        stale = first.connect(database=None, schema=None)
        first.stop(signal.SIGKILL)
        second = start(tmp_path, s3)
        try:
            stale.rest._port = second.port
            with pytest.raises(DatabaseError, match="Connect again"):
                stale.cursor().execute("SELECT 1")
            stale.close()
            with second.connect(database="d", schema="s") as session:
                load = "COPY INTO t FROM @inner_stage FILE_FORMAT = (FORMAT_NAME = 'bars')"
                assert session.cursor().execute(load).fetchone()[1:4] == ("LOADED", 1, 1)
                assert session.cursor().execute("SELECT * FROM t ORDER BY a").fetchall() == [(1, "one"), (2, "two")]
                assert session.cursor().execute("SELECT next FROM v ORDER BY 1").fetchall() == [(2,), (3,)]
                with pytest.raises(ProgrammingError, match="GONE"):
                    session.cursor().execute("CREATE TABLE gone.public.t (a INTEGER)")
        finally:
            assert second.stop() == 0


def test_a_second_server_on_the_same_state_says_so(server, s3):
    with pytest.raises(AssertionError, match="is another server using it"):
        start(server.state, s3)


def test_a_database_that_does_not_exist_is_not_created_by_logging_in(server):
    with server.connect(database="TYPO", schema="PUBLIC") as session:
        with pytest.raises(ProgrammingError, match="does not have a current database"):
            session.cursor().execute("CREATE TABLE t (a INTEGER)")
        names = [row[1] for row in session.cursor().execute("SHOW DATABASES").fetchall()]
    assert "RETAIL" in names
    assert "TYPO" not in names


@pytest.mark.parametrize(
    "parameters",
    [
        {"TIMEZONE": "America/Sao_Paulo"},
        {"WEEK_START": 1},
        {"ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION": True},
    ],
)
def test_a_session_parameter_that_would_be_ignored_is_refused(server, parameters):
    with pytest.raises(DatabaseError, match=next(iter(parameters))):
        server.connect(session_parameters=parameters)


def test_bindings_and_batches(server):
    import snowflake.connector

    before, snowflake.connector.paramstyle = snowflake.connector.paramstyle, "qmark"
    try:
        with server.connect() as session:
            cursor = session.cursor()
            cursor.execute("CREATE OR REPLACE TABLE bound (a INTEGER, b VARCHAR)")
            cursor.executemany("INSERT INTO bound VALUES (?, ?)", [(1, "x"), (2, None)])
            assert cursor.rowcount == 2
            assert cursor.execute("SELECT b FROM bound WHERE a = ?", (1,)).fetchall() == [("x",)]
    finally:
        snowflake.connector.paramstyle = before


def test_a_transaction_is_rolled_back(server):
    with server.connect(autocommit=False) as session:
        cursor = session.cursor()
        cursor.execute("CREATE OR REPLACE TABLE undone (a INTEGER)")
        cursor.execute("INSERT INTO undone VALUES (1)")
        session.rollback()
        assert cursor.execute("SELECT COUNT(*) FROM undone").fetchone() == (0,)


def test_a_result_is_found_again_by_its_query_id(session):
    cursor = session.cursor().execute("SELECT 7 AS a")
    scanned = session.cursor().execute(f"SELECT * FROM TABLE(RESULT_SCAN('{cursor.sfqid}'))").fetchall()
    assert scanned == [(7,)]


def _executions(run, sql: str, tag: str) -> int:
    history = run(f"SELECT query_text FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE query_tag = '{tag}'")
    return [text for (text,) in history].count(sql)
