import gzip
import io
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snowflake.connector.errors import ProgrammingError

from tests.local.snowflake.running import BUCKET

ROWS = """
    SELECT * FROM VALUES
        (1, 'a', '2024-01-05 10:00:00'::TIMESTAMP_NTZ, 1.5::NUMBER(18, 4), 2.5::FLOAT, TRUE, '2024-01-05'::DATE),
        (2, 'b|"x', '2024-02-05 23:59:59'::TIMESTAMP_NTZ, 2::NUMBER(18, 4), NULL, FALSE, NULL),
        (3, NULL, NULL, NULL, NULL, NULL, NULL)
        AS t (id, name, moment, amount, ratio, flag, day)
"""


@pytest.fixture(scope="module", autouse=True)
def rows(server):
    with server.connect() as session:
        session.cursor().execute(f"CREATE TABLE rows_ AS {ROWS}")


@pytest.fixture
def keys(s3):
    def under(prefix: str) -> list[str]:
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"raw/{prefix}").get("Contents", [])
        return [item["Key"] for item in listed]

    return under


@pytest.fixture
def content(s3):
    def read(key: str) -> bytes:
        return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    return read


def test_parquet_by_month_has_the_types_and_names_that_snowflake_writes(run, keys, content):
    columns = ["rows_unloaded", "input_bytes", "output_bytes"]
    unloaded = run("""
        COPY INTO @vitrine_lake/typed/ FROM (
            SELECT id, name AS "name", moment AS "sale_date", amount AS "Amount", ratio, flag, day FROM rows_
        ) PARTITION BY ('month=' || TO_CHAR("sale_date", 'YYYY-MM')) FILE_FORMAT = (TYPE = PARQUET) HEADER = TRUE
    """)
    written = keys("typed/")
    assert [key.split("/")[2] for key in written] == ["__NULL__", "month=2024-01", "month=2024-02"]
    assert all(key.endswith(".snappy.parquet") for key in written)
    size = sum(len(content(key)) for key in written)
    assert dict(zip(columns, unloaded[0], strict=True)) == dict(zip(columns, (3, size, size), strict=True))
    table = pq.read_table(io.BytesIO(content(written[1])))
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
        "ID": pa.decimal128(38, 0),
        "name": pa.string(),
        "sale_date": pa.timestamp("us"),
        "Amount": pa.decimal128(18, 4),
        "RATIO": pa.float64(),
        "FLAG": pa.bool_(),
        "DAY": pa.date32(),
    }
    assert table.to_pylist()[0]["Amount"] == Decimal("1.5000")
    assert table.to_pylist()[0]["sale_date"] == datetime(2024, 1, 5, 10)


def test_the_files_of_a_partitioned_unload_carry_its_query_id(session, keys):
    cursor = session.cursor()
    cursor.execute("COPY INTO @vitrine_lake/ids/ FROM rows_ PARTITION BY (name) FILE_FORMAT = (TYPE = PARQUET)")
    assert all(f"/data_{cursor.sfqid}_" in key for key in keys("ids/"))


def test_without_a_header_parquet_columns_have_made_up_names(run, keys, content):
    run("COPY INTO @vitrine_lake/headless FROM (SELECT id, name FROM rows_) FILE_FORMAT = (TYPE = PARQUET)")
    assert keys("headless") == ["raw/headless_0_0_0.snappy.parquet"]
    assert pq.read_table(io.BytesIO(content(keys("headless")[0]))).column_names == ["_COL_0", "_COL_1"]


def test_csv_with_a_header_is_quoted_and_gzipped(run, keys, content):
    unloaded = run("""
        COPY INTO @vitrine_lake/csv/ FROM (SELECT id, name, moment FROM rows_ ORDER BY id) HEADER = TRUE
        FILE_FORMAT = (TYPE = CSV FIELD_DELIMITER = '|' FIELD_OPTIONALLY_ENCLOSED_BY = '"' NULL_IF = ('-'))
    """)
    assert keys("csv/") == ["raw/csv/data_0_0_0.csv.gz"]
    packed = content(keys("csv/")[0])
    text = gzip.decompress(packed).decode()
    lines = text.splitlines()
    assert sorted(lines[1:]) == ['1|"a"|"2024-01-05 10:00:00.000"', '2|"b|""x"|"2024-02-05 23:59:59.000"', "3|-|-"]
    assert lines[0].replace('"', "") == "ID|NAME|MOMENT"
    assert unloaded == [(3, len(text), len(packed))]


def test_existing_files_are_only_overwritten_on_demand(run, keys, content):
    copy = "COPY INTO @vitrine_lake/again/ FROM {} FILE_FORMAT = (TYPE = PARQUET)"
    run(copy.format("(SELECT 1 AS a)"))
    with pytest.raises(ProgrammingError, match="already existing at the unload destination"):
        run(copy.format("(SELECT 2 AS a)"))
    run(copy.format("(SELECT 3 AS a)") + " OVERWRITE = TRUE")
    assert [pq.read_table(io.BytesIO(content(key)))[0].to_pylist() for key in keys("again/")] == [[Decimal(3)]]


def test_a_single_file_has_the_name_that_was_asked_for(run, keys):
    url = f"'s3://{BUCKET}/raw/one.parquet'"
    options = "FILE_FORMAT = (TYPE = PARQUET) SINGLE = TRUE HEADER = TRUE"
    run(f"COPY INTO {url} FROM rows_ STORAGE_INTEGRATION = vitrine_lake {options}")
    assert keys("one") == ["raw/one.parquet"]
    with pytest.raises(ProgrammingError, match="MAX_FILE_SIZE = 100"):
        run(f"COPY INTO @vitrine_lake/small FROM rows_ {options} MAX_FILE_SIZE = 100")
    assert keys("small") == []


def test_large_results_are_split_and_described_in_detail(run, keys):
    query = "SELECT i, MD5(i::VARCHAR) AS noise FROM (SELECT UNNEST(RANGE(600000)) AS i)"
    options = "FILE_FORMAT = (TYPE = PARQUET) MAX_FILE_SIZE = 1000000 DETAILED_OUTPUT = TRUE"
    detailed = run(f"COPY INTO @vitrine_lake/split/ FROM ({query}) {options}")
    assert len(detailed) > 1
    assert sum(count for _, _, count in detailed) == 600000
    assert [name for name, _, _ in detailed] == keys("split/")


def test_no_rows_make_no_file(run, keys):
    copy = "COPY INTO @vitrine_lake/none/ FROM (SELECT * FROM rows_ WHERE FALSE)"
    assert run(f"{copy} FILE_FORMAT = (TYPE = PARQUET)") == [(0, 0, 0)]
    assert run(f"{copy} FILE_FORMAT = (TYPE = CSV) HEADER = TRUE") == [(0, 0, 0)]
    assert keys("none/") == []


REFUSED = {
    "FILE_FORMAT = (TYPE = JSON)": "TYPE = JSON",
    "FILE_FORMAT = (TYPE = PARQUET COMPRESSION = LZO)": "COMPRESSION = LZO",
    "FILE_FORMAT = (TYPE = CSV RECORD_DELIMITER = ';')": "RECORD_DELIMITER",
    "FILE_FORMAT = (TYPE = CSV) VALIDATION_MODE = RETURN_ROWS": "VALIDATION_MODE",
    "FILE_FORMAT = (TYPE = CSV) DETAILED_OUTPUT = TRUE": "DETAILED_OUTPUT",
    "PARTITION BY (name) FILE_FORMAT = (TYPE = PARQUET) OVERWRITE = TRUE": "OVERWRITE",
    "PARTITION BY (name) FILE_FORMAT = (TYPE = PARQUET) SINGLE = TRUE": "SINGLE",
    "PARTITION BY (name) FILE_FORMAT = (TYPE = PARQUET) INCLUDE_QUERY_ID = FALSE": "INCLUDE_QUERY_ID",
    "PARTITION BY (nothing) FILE_FORMAT = (TYPE = PARQUET)": "NOTHING",
}


@pytest.mark.parametrize("options", REFUSED)
def test_an_option_that_is_not_done_is_named_and_nothing_is_written(run, keys, options):
    with pytest.raises(ProgrammingError, match=REFUSED[options]):
        run(f"COPY INTO @vitrine_lake/refused/ FROM rows_ {options}")
    assert keys("refused/") == []


def test_a_timestamp_with_time_zone_is_refused_as_in_snowflake(run):
    with pytest.raises(ProgrammingError, match=r"TIMESTAMP_TZ and LTZ types are not supported.*MOMENT"):
        run("""COPY INTO @vitrine_lake/zone/ FROM (SELECT moment::TIMESTAMP_TZ AS moment FROM rows_)
            FILE_FORMAT = (TYPE = PARQUET)""")


def test_places_that_the_integration_does_not_allow_are_refused(run):
    with pytest.raises(ProgrammingError, match="not allowed by integration 'VITRINE_LAKE'"):
        run(f"COPY INTO 's3://{BUCKET}/gold/' FROM rows_ STORAGE_INTEGRATION = vitrine_lake")
    with pytest.raises(ProgrammingError, match=r"Stage 'RETAIL.PUBLIC.NOWHERE' does not exist"):
        run("COPY INTO @nowhere FROM rows_")


def test_a_bucket_that_does_not_exist_fails_the_statement(run):
    run("""CREATE STORAGE INTEGRATION elsewhere TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
        STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/x' STORAGE_ALLOWED_LOCATIONS = ('s3://no-such-bucket/')""")
    with pytest.raises(ProgrammingError, match=r"NoSuchBucket|bucket does not exist"):
        run("COPY INTO 's3://no-such-bucket/x/' FROM rows_ STORAGE_INTEGRATION = elsewhere")


def test_a_bucket_without_an_integration_is_refused(run, keys):
    with pytest.raises(ProgrammingError, match="STORAGE_INTEGRATION = <name>"):
        run(f"COPY INTO 's3://{BUCKET}/raw/open/' FROM rows_ FILE_FORMAT = (TYPE = PARQUET)")
    assert keys("open") == []


@pytest.mark.parametrize(
    "location", ["'@RETAIL.PUBLIC.VITRINE_LAKE/../../escape/'", "@vitrine_lake/../x/", f"'s3://{BUCKET}/raw/../x/'"]
)
def test_a_path_cannot_leave_its_location(run, location):
    with pytest.raises(ProgrammingError, match=r"a path must not contain '\.\.'") as caught:
        run(f"COPY INTO {location} FROM rows_ FILE_FORMAT = (TYPE = PARQUET)")
    assert "/tmp" not in caught.value.msg


def test_an_internal_stage_takes_files_too(run):
    run("CREATE OR REPLACE STAGE inside")
    run("COPY INTO @inside/x/ FROM rows_ FILE_FORMAT = (TYPE = PARQUET) HEADER = TRUE")
    assert [row[0] for row in run("LIST @inside")] == ["inside/x/data_0_0_0.snappy.parquet"]
    run("CREATE OR REPLACE TABLE back LIKE rows_")
    run("COPY INTO back FROM @inside FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE")
    assert run("SELECT * FROM back ORDER BY id") == run("SELECT * FROM rows_ ORDER BY id")


def test_the_format_of_to_char_counts_for_columns(run):
    query = "SELECT TO_CHAR(moment, 'YYYY-MM'), TO_VARCHAR(moment, 'DD/MM/YYYY HH24:MI') FROM rows_ WHERE id = 2"
    assert run(query) == [("2024-02", "05/02/2024 23:59")]
