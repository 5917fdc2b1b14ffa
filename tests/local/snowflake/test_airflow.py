"""Airflow's own hook and operator against the local Snowflake, over the connection that the stack hands out."""

from datetime import datetime
from decimal import Decimal

import pytest
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook
from snowflake.connector.errors import ProgrammingError

from local.snowflake import connection


@pytest.fixture(autouse=True)
def airflow_environment(server, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", connection.airflow_connection(server.port, server.state))
    for name, value in connection.environment(server.state).items():
        monkeypatch.setenv(name, value)


def test_the_hook_reads_typed_rows():
    rows = SnowflakeHook().get_records("SELECT 1::INTEGER, 1.5::NUMBER(18, 4), '2024-01-31 10:00'::TIMESTAMP_NTZ, NULL")
    assert rows == [(1, Decimal("1.5000"), datetime(2024, 1, 31, 10), None)]


def test_the_hook_runs_statements_in_a_transaction_and_commits():
    hook = SnowflakeHook()
    hook.run("CREATE OR REPLACE TABLE by_hook (a INTEGER); INSERT INTO by_hook VALUES (1), (2)")
    hook.run(["INSERT INTO by_hook VALUES (%(a)s)"], parameters={"a": 3})
    assert hook.get_first("SELECT COUNT(*), SUM(a) FROM by_hook") == (3, 6)


def test_the_hook_gives_a_data_frame():
    frame = SnowflakeHook().get_df("SELECT 1 AS a, 'x' AS b")
    assert frame.to_dict("records") == [{"A": 1, "B": "x"}]


def test_a_failing_statement_fails_at_once():
    with pytest.raises(ProgrammingError, match="GRANT"):
        SnowflakeHook().run("GRANT ROLE a TO USER b")


def test_the_query_tag_of_a_hook_is_seen_in_the_history():
    hook = SnowflakeHook(session_parameters={"QUERY_TAG": "a hook's tag"})
    hook.run("SELECT 1")
    history = "SELECT query_text FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY()) WHERE query_tag = 'a hook''s tag'"
    assert ("SELECT 1",) in hook.get_records(history)


def test_the_operator_executes():
    query = SQLExecuteQueryOperator(
        task_id="query", conn_id="snowflake_default", sql="SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a"
    )
    assert query.execute({}) == [(1,), (2,)]
