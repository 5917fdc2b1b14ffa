import pytest
from snowflake.connector.errors import ProgrammingError

MERGE = """
    MERGE INTO scores AS held USING (
        SELECT COALESCE(fresh.id, old.id) AS id, fresh.score, fresh.id IS NULL AS is_gone
        FROM fresh FULL OUTER JOIN scores AS old ON fresh.id = old.id
    ) AS given ON held.id = given.id
    WHEN MATCHED AND given.is_gone THEN DELETE
    WHEN MATCHED AND held.score IS DISTINCT FROM given.score THEN UPDATE SET held.score = given.score
    WHEN NOT MATCHED THEN INSERT (id, score) VALUES (given.id, given.score)
"""


@pytest.fixture(autouse=True)
def tables(run):
    run("CREATE OR REPLACE TABLE scores (id VARCHAR, score NUMBER(18, 2))")
    run("CREATE OR REPLACE TABLE fresh LIKE scores")
    run("INSERT INTO scores VALUES ('same', 1), ('changed', 2), ('gone', 3)")
    run("INSERT INTO fresh VALUES ('same', 1), ('changed', 2.5), ('new', NULL)")


def rows(run):
    return run("SELECT id, score::VARCHAR FROM scores ORDER BY id")


def test_rows_are_inserted_updated_and_deleted_and_counted(run):
    assert run(MERGE) == [(1, 1, 1)]
    assert rows(run) == [("changed", "2.50"), ("new", None), ("same", "1.00")]
    assert run(MERGE) == [(0, 0, 0)]


def test_only_what_the_statement_may_do_is_counted(session):
    cursor = session.cursor().execute(
        "MERGE INTO scores USING fresh ON scores.id = fresh.id WHEN MATCHED THEN UPDATE SET score = fresh.score"
    )
    assert [column.name for column in cursor.description] == ["number of rows updated"]
    assert cursor.fetchall() == [(2,)]
    assert cursor.rowcount == 2


def test_a_transaction_may_hold_it(run):
    run("BEGIN")
    run("INSERT INTO fresh VALUES ('late', 9)")
    assert run(MERGE) == [(2, 1, 1)]
    run("ROLLBACK")
    assert rows(run) == [("changed", "2.00"), ("gone", "3.00"), ("same", "1.00")]


def test_a_row_that_two_rows_would_change_changes_nothing(run):
    run("INSERT INTO fresh VALUES ('changed', 7)")
    with pytest.raises(ProgrammingError, match="Duplicate row detected during DML action"):
        run(MERGE)
    assert rows(run) == [("changed", "2.00"), ("gone", "3.00"), ("same", "1.00")]


def test_a_form_that_snowflake_lacks_is_refused(run):
    with pytest.raises(ProgrammingError, match="unexpected 'BY'"):
        run("MERGE INTO scores USING fresh ON scores.id = fresh.id WHEN NOT MATCHED BY SOURCE THEN DELETE")
