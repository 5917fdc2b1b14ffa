import io
import json
import time
from decimal import Decimal

import boto3
import polars as pl
import pyarrow.parquet as pq
import pytest

from include.jobs import compact
from include.maintenance import compaction
from include.tables import catalog, contract

LAKE = "vitrine-lake"


@pytest.fixture
def s3(stack):
    return boto3.client("s3")


def frame(start: int, rows: int) -> pl.DataFrame:
    numbers = range(start, start + rows)
    return pl.DataFrame(
        {
            "order_id": [str(number) for number in numbers],
            "amount": pl.Series([Decimal(number) / 4 for number in numbers], dtype=pl.Decimal(18, 4)),
            "store": [None if number % 3 else "Centro" for number in numbers],
        }
    )


def put(s3, key: str, rows: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    s3.put_object(Bucket=LAKE, Key=key, Body=buffer.getvalue())


def read(s3, location: str) -> pl.DataFrame:
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    bodies = [s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in found]
    return pl.concat(pl.read_parquet(io.BytesIO(body)) for body in bodies)


def many(s3, prefix: str, files: int = 10) -> str:
    for month in ("2026-01", "2026-02"):
        for number in range(files):
            put(s3, f"{prefix}month={month}/{number:03}.parquet", frame(number * 100, 100))
    return f"s3://{LAKE}/{prefix}"


def test_every_folder_becomes_one_file_with_the_same_rows(s3):
    source = many(s3, "raw/compact/folders/v=1/")
    target = source.replace("v=1", "v=2")
    report = compact.compact(s3, source, target)
    assert report == {
        "source": source,
        "target": target,
        "rows_in": 2000,
        "rows_out": 2000,
        "files_in": 20,
        "files_out": 2,
        "equal": True,
    }
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=LAKE, Prefix="raw/compact/folders/v=2/")["Contents"]]
    assert keys == [f"raw/compact/folders/v=2/month=2026-0{month}/part-0.parquet" for month in (1, 2)]
    assert read(s3, target).equals(read(s3, source))


def test_nothing_is_written_over(s3):
    source = many(s3, "raw/compact/over/v=1/", 2)
    with pytest.raises(FileExistsError, match="is not empty"):
        compact.compact(s3, source, source)
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        compact.compact(s3, f"s3://{LAKE}/raw/compact/none/", f"s3://{LAKE}/raw/compact/new/")


def test_different_columns_are_refused(s3):
    source = many(s3, "raw/compact/columns/v=1/", 2)
    put(s3, "raw/compact/columns/v=1/month=2026-01/999.parquet", frame(0, 1).drop("store"))
    with pytest.raises(compact.SchemaError, match="different columns"):
        compact.compact(s3, source, f"s3://{LAKE}/raw/compact/columns/v=2/")


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        (lambda rows: rows, True),
        (lambda rows: rows.reverse(), False),
        (lambda rows: rows.head(9), False),
        (lambda rows: pl.concat([rows, rows.tail(1)]), False),
        (lambda rows: rows.with_columns(store=pl.lit("Centro")), False),
    ],
)
def test_rows_are_compared_however_they_are_cut(tmp_path, monkeypatch, change, equal):
    monkeypatch.setattr(compact, "ROWS", 4)
    rows = frame(0, 10)
    for number, part in enumerate((rows[:3], rows[3:9], rows[9:])):
        part.write_parquet(tmp_path / f"{number}")
    pq.write_table(change(rows).to_arrow(), tmp_path / "whole", row_group_size=5)
    rows.head(0).write_parquet(tmp_path / "empty")
    parts = [tmp_path / name for name in ("0", "empty", "1", "2")]
    whole = tmp_path / "converted"
    pl.read_parquet(tmp_path / "whole").write_parquet(whole)
    assert compact.same_rows(parts, [whole]) is equal


def test_the_glue_job_and_the_switch(stack, s3):
    glue = boto3.client("glue")
    table = contract.load("sales_extract")
    values = ("drogaria", "small")
    source = many(s3, "raw/sales/client=drogaria/v=small/")
    catalog.ensure_table(glue, table, f"s3://{LAKE}/raw/sales/")
    catalog.switch_partition(glue, table, values, source)
    (found,) = [one for one in compaction.find(s3, glue, "sales_extract") if one["values"] == list(values)]
    assert (found["files"], found["source"]) == (20, source)
    target = compaction.target(found["source"], "now") + "-1/"
    report_at = f"s3://{LAKE}/runs/lake_maintenance/test.json"
    arguments = {"--source": source, "--target": target, "--report": report_at}
    run_id = glue.start_job_run(JobName="vitrine-compact", Arguments=arguments)["JobRunId"]
    while True:
        run = glue.get_job_run(JobName="vitrine-compact", RunId=run_id)["JobRun"]
        if run["JobRunState"] not in ("STARTING", "RUNNING", "WAITING"):
            break
        time.sleep(0.1)
    assert run["JobRunState"] == "SUCCEEDED", run.get("ErrorMessage")
    report = json.load(s3.get_object(Bucket=LAKE, Key="runs/lake_maintenance/test.json")["Body"])
    with pytest.raises(compaction.CompactionError, match="1999 rows"):
        compaction.switch(glue, found, {**report, "rows_out": 1999})
    assert catalog.partitions(glue, table)[values].location == source
    assert compaction.switch(glue, found, report)
    assert catalog.partitions(glue, table)[values].location == target
    assert read(s3, target).equals(read(s3, source))
    # Once more: few files are left alone, and a partition that moved meanwhile is not touched.
    assert values not in [tuple(one["values"]) for one in compaction.find(s3, glue, "sales_extract")]
    assert not compaction.switch(glue, found, report)
    glue.delete_partition(DatabaseName=table.database, TableName=table.name, PartitionValues=list(values))


def test_a_place_that_is_no_version_is_refused():
    assert compaction.target("s3://lake/raw/t/v=1/", "r") == "s3://lake/raw/t/v=1-compact-r"
    assert compaction.target("s3://lake/raw/t/v=1-compact-q-2/", "r") == "s3://lake/raw/t/v=1-compact-r"
    with pytest.raises(ValueError, match="does not end in v="):
        compaction.target("s3://lake/raw/t/v=1/month=2/", "r")
