"""Files that look sound and can't be read to their end, beside sound ones of the same delivery."""

import io
from datetime import datetime

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.jobs import engine
from include.jobs.geo_bronze import Bronze
from include.transforms.privacy import SaltError

LAKE, DAY = "lake-of-the-geo-bronze", "2026-08-01"
MOMENT = datetime(2026, 7, 31, 12)
ROWS = 2_000
SALT = b"0123456789abcdef"
PLACE = {"establishment_id": "E1", "name": "Café", "category": "cafés", "latitude": -3.7, "longitude": -38.5}


@pytest.fixture
def s3(stack):
    client = boto3.client("s3")
    client.create_bucket(Bucket=LAKE)
    yield client
    for item in client.list_objects_v2(Bucket=LAKE).get("Contents", []):
        client.delete_object(Bucket=LAKE, Key=item["Key"])
    client.delete_bucket(Bucket=LAKE)


def parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


def broken(content: bytes) -> bytes:
    """A sound footer after pages that are none."""
    size = int.from_bytes(content[-8:-4], "little") + 8
    return content[:4] + b"\xff" * (len(content) - size - 4) + content[-size:]


def put(s3, name: str, content: bytes) -> dict:
    key = f"landing/geo/{DAY}/{name}.parquet"
    etag = s3.put_object(Bucket=LAKE, Key=key, Body=content)["ETag"].strip('"')
    return {"key": key, "etag": etag, "bytes": len(content)}


def locations() -> pa.Table:
    people = {"user_id": [f"U{number % 7}" for number in range(ROWS)], "latitude": [-3.7] * ROWS}
    return pa.table(
        {
            **people,
            "longitude": [number / ROWS for number in range(ROWS)],
            "moment": pa.array([MOMENT] * ROWS, pa.timestamp("us")),
            "consent": [True] * ROWS,
        }
    )


def load(s3, table: str, rows: pa.Table) -> dict:
    content = parquet(rows)
    files = [put(s3, "bad", broken(content)), put(s3, "good", content)]
    with engine.chosen("polars") as on:
        return Bronze(on, s3, LAKE, "1", "UTC", SALT, ["E1"]).load(DAY, table, files)


@pytest.mark.parametrize(
    ("table", "rows"),
    [("location_records", locations()), ("establishments", pa.Table.from_pylist([PLACE]))],
    ids=["location_records", "establishments"],
)
def test_a_file_with_broken_pages_is_quarantined_alone(s3, table, rows):
    made = load(s3, table, rows)
    bad, good = made["files"]
    assert (bad["status"], bad["rows_in"], good["status"], good["rows_in"]) == ("quarantined", 0, "loaded", len(rows))
    assert bad["reason"].startswith("the Parquet file is broken: ")
    assert (made["rows_in"], made["rows"], made["rejected"]) == (len(rows), len(rows), 0)
    (location,) = [one["location"] for one in made["months"].values()] or [made["location"]]
    (file,) = s3.list_objects_v2(Bucket=LAKE, Prefix=location.removeprefix(f"s3://{LAKE}/"))["Contents"]
    body = s3.get_object(Bucket=LAKE, Key=file["Key"])["Body"].read()
    assert pq.read_metadata(io.BytesIO(body)).num_rows == len(rows)


def test_what_is_no_fault_of_a_file_stays_an_error(s3):
    file = put(s3, "good", parquet(locations()))
    with engine.chosen("polars") as on:
        bronze = Bronze(on, s3, LAKE, "1", "UTC", SALT[:4], [])
        with pytest.raises(SaltError):
            bronze.load(DAY, "location_records", [file])
