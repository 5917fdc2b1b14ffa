import io

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.jobs import landed
from include.jobs.lake import ChangedFileError
from include.jobs.source_files import FaultError

LAKE, KEY = "lake-of-the-landed", "landing/geo/2026-08-01/locations.parquet"
WANTED = pa.schema([("user_id", pa.string()), ("name", pa.string()), ("moment", pa.timestamp("us"))])
ROW = {"user_id": ["U1"], "name": ["x"], "moment": pa.array([0], pa.timestamp("us"))}


@pytest.fixture(scope="module")
def s3(stack):
    client = boto3.client("s3")
    client.create_bucket(Bucket=LAKE)
    return client


def parquet(columns: dict | pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), buffer)
    return buffer.getvalue()


def put(s3, content: bytes) -> dict:
    etag = s3.put_object(Bucket=LAKE, Key=KEY, Body=content)["ETag"].strip('"')
    return {"key": KEY, "etag": etag, "bytes": len(content)}


def test_the_footer_tells_the_rows(s3):
    assert landed.rows(s3, LAKE, put(s3, parquet(ROW)), WANTED) == 1
    wide = pa.table({**{f"other_{n}": [n] for n in range(3000)}, **ROW})
    content = parquet(wide)
    assert int.from_bytes(content[-8:-4], "little") > 1 << 16  # more than is fetched at first
    assert landed.rows(s3, LAKE, put(s3, content), WANTED) == 1


def test_text_may_be_large_and_a_column_absent_if_it_is_optional(s3):
    columns = {"user_id": pa.array(["U1"], pa.large_string()), "moment": ROW["moment"]}
    assert landed.rows(s3, LAKE, put(s3, parquet(columns)), WANTED, optional=("name",)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"PAR1", "no Parquet file, or cut off"),
        (parquet(ROW)[:-1], "no Parquet file, or cut off"),
        (b"PAR1" + b"x" * 40 + (20).to_bytes(4, "little") + b"PAR1", "the Parquet file is broken"),
        (parquet({"user_id": ["U1"]}), "it has no column name, only user_id"),
        (parquet({**ROW, "user_id": pa.array(["U1"]).dictionary_encode()}), "user_id is dictionary<"),
        (parquet({**ROW, "moment": pa.array([0], pa.timestamp("us", "UTC"))}), "must be timestamp\\[us\\]"),
        (parquet(pa.table([ROW["user_id"], *ROW.values()], ["name", *ROW])), "the column name more than once"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(s3, content, said):
    with pytest.raises(FaultError, match=said):
        landed.rows(s3, LAKE, put(s3, content), WANTED)


def test_a_file_that_was_replaced_or_removed_is_noticed(s3):
    file = put(s3, parquet(ROW))
    landed.require_unchanged(s3, LAKE, file)
    put(s3, parquet({**ROW, "name": ["y"]}))
    for look in (lambda: landed.require_unchanged(s3, LAKE, file), lambda: landed.rows(s3, LAKE, file, WANTED)):
        with pytest.raises(ChangedFileError, match=r"locations\.parquet was replaced or removed"):
            look()
    s3.delete_object(Bucket=LAKE, Key=KEY)
    for look in (lambda: landed.require_unchanged(s3, LAKE, file), lambda: landed.rows(s3, LAKE, file, WANTED)):
        with pytest.raises(ChangedFileError, match=r"locations\.parquet was replaced or removed"):
            look()
