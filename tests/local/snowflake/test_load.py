import gzip
import io
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snowflake.connector.errors import ProgrammingError

from tests.local.snowflake.running import BUCKET

BROKEN = "1,one,2024-01-01\nx,two,2024-01-02\n3,three,never\n4,four,2024-01-04\n5,five\n"


@pytest.fixture
def put(s3):
    def store(name: str, content: str | bytes | pa.Table) -> None:
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer)
            content = buffer.getvalue()
        s3.put_object(Bucket=BUCKET, Key=f"raw/{name}", Body=content)

    return store


@pytest.fixture(autouse=True)
def table(run):
    run("CREATE OR REPLACE TABLE loaded (id INTEGER, name VARCHAR, day DATE)")


def test_csv_from_s3_is_loaded_once(run, put):
    put("load/rows.csv.gz", gzip.compress(b'id,name,day\n1,"a,b",2024-01-01\n2,,\n3,"",\n'))
    copy = """COPY INTO loaded FROM @vitrine_lake/load/
        FILE_FORMAT = (TYPE = CSV SKIP_HEADER = 1 FIELD_OPTIONALLY_ENCLOSED_BY = '"')"""
    url = f"s3://{BUCKET}/raw/load/rows.csv.gz"
    assert run(copy)[0][:4] == (url, "LOADED", 3, 3)
    assert run("SELECT id, name FROM loaded ORDER BY id") == [(1, "a,b"), (2, None), (3, "")]
    assert run(copy)[0][:4] == (url, "LOAD_SKIPPED", 0, 0)
    assert run(copy + " FORCE = TRUE")[0][1] == "LOADED"
    assert run("SELECT COUNT(*) FROM loaded") == [(6,)]


def test_parquet_columns_are_matched_by_name(run, put):
    put("parquet/a.parquet", pa.table({"NAME": ["x"], "id": [1], "more": [True]}))
    run("""COPY INTO loaded FROM @vitrine_lake/parquet/ FILE_FORMAT = (TYPE = PARQUET)
        MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE""")
    assert run("SELECT * FROM loaded") == [(1, "x", None)]
    run("TRUNCATE TABLE loaded")
    run("""COPY INTO loaded FROM @vitrine_lake/parquet/ FILE_FORMAT = (TYPE = PARQUET)
        MATCH_BY_COLUMN_NAME = CASE_SENSITIVE FORCE = TRUE""")
    assert run("SELECT * FROM loaded") == [(None, "x", None)]


def test_csv_columns_are_matched_by_the_header(run, put):
    put("header/a.csv", "day,id\n2024-05-01,7\n")
    run("""COPY INTO loaded FROM @vitrine_lake/header/ FILE_FORMAT = (TYPE = CSV PARSE_HEADER = TRUE)
        MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE""")
    assert run("SELECT id, name, TO_CHAR(day, 'YYYYMMDD') FROM loaded") == [(7, None, "20240501")]


def test_a_transformation_chooses_and_converts_columns(run, put):
    put("shape/a.csv", "one,1\ntwo,2\n")
    run("COPY INTO loaded (name, id) FROM (SELECT UPPER($1), $2::INTEGER * 10 FROM @vitrine_lake/shape/a.csv)")
    put("shape/b.parquet", pa.table({"n": [3], "label": ["three"]}))
    run("""COPY INTO loaded (id, name) FROM (SELECT $1:n::INTEGER, $1:label FROM @vitrine_lake/shape/b.parquet)
        FILE_FORMAT = (TYPE = PARQUET)""")
    assert run("SELECT id, name FROM loaded ORDER BY id") == [(3, "three"), (10, "ONE"), (20, "TWO")]


def test_abort_statement_loads_nothing_and_says_where_it_stopped(run, put):
    put("abort/a.csv", "1,one,2024-01-01\n")
    put("abort/b.csv", BROKEN)
    with pytest.raises(ProgrammingError, match=r"(?s)File 's3://.*/abort/b.csv'.*ON_ERROR"):
        run("COPY INTO loaded FROM @vitrine_lake/abort/")
    assert run("SELECT COUNT(*) FROM loaded") == [(0,)]


def test_continue_loads_the_rows_that_fit(run, put):
    put("continue/a.csv", BROKEN)
    (row,) = run("COPY INTO loaded FROM @vitrine_lake/continue/ ON_ERROR = CONTINUE")
    assert row[1:6] == ("PARTIALLY_LOADED", 5, 2, 5, 3)
    assert row[6]
    assert run("SELECT id FROM loaded ORDER BY id") == [(1,), (4,)]


def test_the_first_value_that_does_not_fit_is_shown(run, put):
    put("first/a.csv", "1,one,2024-01-01\nx,two,2024-01-02\n3,three,never\n")
    (row,) = run("COPY INTO loaded FROM @vitrine_lake/first/ ON_ERROR = CONTINUE")
    assert row[1:] == ("PARTIALLY_LOADED", 3, 1, 3, 2, "'x' is not recognized as BIGINT", 2, None, "ID")


@pytest.mark.parametrize(
    ("on_error", "ids"),
    [("SKIP_FILE", [9]), ("SKIP_FILE_3", [9]), ("SKIP_FILE_4", [1, 4, 9]), ("'SKIP_FILE_90%'", [1, 4, 9])],
)
def test_skip_file_leaves_out_a_file_with_so_many_errors(run, put, on_error, ids):
    put("skip/a.csv", BROKEN)
    put("skip/b.csv", "9,nine,2024-01-09\n")
    run(f"COPY INTO loaded FROM @vitrine_lake/skip/ ON_ERROR = {on_error}")
    assert [id_ for (id_,) in run("SELECT id FROM loaded ORDER BY id")] == ids


def test_files_and_pattern_choose_and_purge_removes(run, put):
    for name in ("a.csv", "b.csv", "c.txt"):
        put(f"choose/{name}", f"1,{name},2024-01-01\n")
    run("COPY INTO loaded FROM @vitrine_lake/choose/ FILES = ('b.csv')")
    run("COPY INTO loaded FROM @vitrine_lake/choose/ PATTERN = '.*[.]txt' PURGE = TRUE")
    assert run("SELECT name FROM loaded ORDER BY name") == [("b.csv",), ("c.txt",)]
    assert [row[0].rpartition("/")[2] for row in run("LIST @vitrine_lake/choose/")] == ["a.csv", "b.csv"]
    with pytest.raises(ProgrammingError, match="was not found"):
        run("COPY INTO loaded FROM @vitrine_lake/choose/ FILES = ('missing.csv')")


def test_put_and_load_through_an_internal_stage(run, tmp_path):
    (tmp_path / "rows.csv").write_text("1,one,2024-01-01\n2,two,2024-01-02\n")
    run("CREATE OR REPLACE STAGE upload")
    assert run(f"PUT file://{tmp_path / 'rows.csv'} @upload")[0][6] == "UPLOADED"
    assert run("COPY INTO loaded FROM @upload")[0][:4] == ("upload/rows.csv.gz", "LOADED", 2, 2)
    assert run("SELECT COUNT(*) FROM loaded") == [(2,)]
    run("REMOVE @upload")
    assert run("LIST @upload") == []


REFUSED = {
    "FILE_FORMAT = (TYPE = AVRO)": "TYPE = AVRO",
    "FILE_FORMAT = (TYPE = CSV DATE_FORMAT = 'DD-MM-YYYY')": "DATE_FORMAT",
    "VALIDATION_MODE = RETURN_ERRORS": "VALIDATION_MODE",
    "TRUNCATECOLUMNS = TRUE": "TRUNCATECOLUMNS",
    "ON_ERROR = PANIC": "ON_ERROR",
    "FILE_FORMAT = (TYPE = PARQUET)": "MATCH_BY_COLUMN_NAME",
    "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE": "PARSE_HEADER",
}


@pytest.mark.parametrize("options", REFUSED)
def test_an_option_that_is_not_done_is_named(run, options):
    with pytest.raises(ProgrammingError, match=REFUSED[options]):
        run(f"COPY INTO loaded FROM @vitrine_lake/load/ {options}")


def test_a_mistake_in_the_transformation_is_no_bad_file(run, put):
    put("mistake/a.csv", "1,one\n")
    with pytest.raises(ProgrammingError, match=r"(?i)no_such_function"):
        run("COPY INTO loaded (id) FROM (SELECT no_such_function($1) FROM @vitrine_lake/mistake/) ON_ERROR = SKIP_FILE")


def test_a_cancelled_load_leaves_nothing_and_the_session_usable(session, put, run):
    put("cancel/a.csv", "1,one,2024-01-01\n")
    run("CREATE OR REPLACE TABLE slow_source AS SELECT UNNEST(RANGE(20000)) AS i")
    endless = "SELECT COUNT(*) FROM slow_source a, slow_source b, slow_source c WHERE (a.i * b.i + c.i) % 7 = 3"
    cursor = session.cursor()
    cursor.execute_async(f"COPY INTO loaded (id) FROM (SELECT $1::INTEGER + ({endless}) FROM @vitrine_lake/cancel/)")
    # Into the INSERT, beyond the reading of the file.
    time.sleep(1)
    assert cursor.abort_query(cursor.sfqid)
    with pytest.raises(ProgrammingError, match="SQL execution canceled"):
        session.get_query_status_throw_if_error(cursor.sfqid)
    assert run("SELECT COUNT(*) FROM loaded") == [(0,)]
    assert run("COPY INTO loaded FROM @vitrine_lake/cancel/")[0][1] == "LOADED"


def test_a_rollback_takes_the_load_and_its_history_back(server, put, run):
    put("undo/a.csv", "1,one,2024-01-01\n")
    with server.connect(autocommit=False) as session:
        session.cursor().execute("COPY INTO loaded FROM @vitrine_lake/undo/")
        session.rollback()
    assert run("SELECT COUNT(*) FROM loaded") == [(0,)]
    assert run("COPY INTO loaded FROM @vitrine_lake/undo/")[0][1] == "LOADED"
