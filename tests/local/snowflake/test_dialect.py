"""What DuckDB would read and Snowflake would not."""

from pathlib import Path

import pytest
from snowflake.connector.errors import ProgrammingError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.csv"
    path.write_text("a\nhidden\n")
    return path


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT * FROM read_csv('{}')", "Unknown table function READ_CSV"),
        ("SELECT * FROM TABLE(read_csv('{}'))", "Unknown table function READ_CSV"),
        ("SELECT (SELECT content FROM read_text('{}'))", "Unknown table function READ_TEXT"),
        ("CREATE TABLE stolen AS SELECT * FROM read_csv_auto('{}')", "Unknown table function READ_CSV_AUTO"),
        ("COPY INTO @vitrine_lake/x/ FROM (SELECT * FROM read_csv('{}'))", "Unknown table function READ_CSV"),
        ("SELECT * FROM duckdb_settings()", "Unknown table function DUCKDB_SETTINGS"),
        ("SELECT * FROM '{}'", "does not exist or not authorized"),
        ('SELECT * FROM "{}"', "does not exist or not authorized"),
        ('WITH t AS (SELECT 1 AS a) SELECT * FROM t, "{}"', "does not exist or not authorized"),
    ],
)
def test_files_of_this_machine_are_no_tables(run, session, file: Path, statement: str, says: str) -> None:
    with pytest.raises(ProgrammingError, match=says):
        run(statement.format(file))
    with pytest.raises(ProgrammingError, match=says):
        session.cursor().describe(statement.format(file))


def test_a_schema_and_a_table_are_no_file_name(run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProgrammingError, match="CSV"):
        run("SELECT * FROM secrets.csv")


def test_snowflakes_own_table_functions_are_read(run) -> None:
    assert run("SELECT COUNT(*) FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())")[0][0] > 0
    assert run("SELECT value::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON('[7]')))") == [("7",)]
    assert run("SELECT f.value::VARCHAR FROM (SELECT PARSE_JSON('[7]') AS a) t, LATERAL FLATTEN(INPUT => t.a) f") == [
        ("7",)
    ]
    run("CREATE OR REPLACE TABLE named AS SELECT 1 AS a")
    assert run("SELECT a FROM IDENTIFIER('named')") == [(1,)]
