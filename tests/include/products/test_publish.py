import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import polars as pl
import pytest

from include.products import publish
from include.tables import contract
from tests.athena import query

LAKE = "vitrine-lake"
TABLE = contract.load("recommender_metrics")


@pytest.fixture
def client_name(stack):
    """A client that no other test publishes for."""
    return f"c{uuid.uuid4().hex[:8]}"


def write(stack, client, version, rows, suffix="xlsx"):
    """A version as a job leaves it: the table, its file for people, and the report."""
    output = f"s3://{LAKE}/products/{client}/2026-03-01/v={version}/recommender-1/"
    s3 = boto3.client("s3")
    frame = pl.DataFrame(
        {"model": [f"m{i}" for i in range(rows)], "users": [1] * rows, "recall_at_10": [0.5] * rows}
    ).with_columns(ndcg_at_10=pl.lit(0.1))
    file = stack.state / "scratch.parquet"
    frame.write_parquet(file)
    prefix, stem = output.removeprefix(f"s3://{LAKE}/"), f"2026-03-01_{client}_{TABLE.name}"
    s3.put_object(Bucket=LAKE, Key=f"{prefix}{TABLE.name}/{stem}.parquet", Body=file.read_bytes())
    s3.put_object(Bucket=LAKE, Key=f"{prefix}{stem}.{suffix}", Body=f"{rows} rows".encode())
    s3.put_object(Bucket=LAKE, Key=f"{prefix}run_recommender.json", Body=b"{}")
    return output


def published(client):
    """Rows of the table and names of the files for people."""
    ((rows,),) = query(f"SELECT count(*) FROM vitrine.{TABLE.name} WHERE client = '{client}'")
    listed = boto3.client("s3").list_objects_v2(Bucket=LAKE, Prefix=f"products/{client}/2026-03-01/2026")["Contents"]
    return int(rows), [item["Key"].rpartition("/")[2] for item in listed]


def publish_version(output):
    return publish.publish_product(boto3.client("s3"), boto3.client("glue"), [TABLE], output, LAKE)


def test_publishing_switches_the_partition_and_copies_the_files_for_people(stack, client_name):
    stem = f"2026-03-01_{client_name}_"
    names = [f"{stem}{TABLE.name}.parquet", f"{stem}{TABLE.name}.xlsx", f"{stem}run_recommender.json"]
    keys = publish_version(write(stack, client_name, "a", 3))
    assert [key.rpartition("/")[2] for key in keys] == names
    assert published(client_name) == (3, names)
    publish_version(write(stack, client_name, "b", 5))
    assert published(client_name) == (5, names)


def test_publishing_again_changes_nothing(stack, client_name):
    output = write(stack, client_name, "a", 3)
    publish_version(output)
    first = published(client_name)
    publish_version(output)
    assert published(client_name) == first


def test_an_excel_file_that_has_become_a_csv_file_does_not_stay(stack, client_name):
    publish_version(write(stack, client_name, "a", 3))
    publish_version(write(stack, client_name, "b", 4, suffix="csv"))
    assert [name.rpartition(".")[2] for name in published(client_name)[1]] == ["csv", "parquet", "json"]


def test_a_reader_sees_whole_versions_only(stack, client_name):
    outputs = [write(stack, client_name, str(rows), rows) for rows in (3, 5)]
    publish_version(outputs[0])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [publish_version(outputs[turn % 2]) for turn in range(10)])
        seen = set()
        while not writing.done():
            seen.add(published(client_name)[0])
        writing.result()
    assert seen <= {3, 5}
    assert seen
