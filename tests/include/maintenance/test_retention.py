from datetime import UTC, datetime, timedelta

import boto3
import pytest

from include.maintenance import references, retention
from include.tables import catalog, contract

BUCKET = "retention-lake"
DATABASE = "retention"
DAYS = 14


@pytest.fixture
def s3(stack):
    """A lake of its own: what other tests publish must stay."""
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for key in keys(client, ""):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def glue(stack):
    client = boto3.client("glue")
    client.create_database(DatabaseInput={"Name": DATABASE})
    yield client
    client.delete_database(Name=DATABASE)


@pytest.fixture
def later():
    """A run's moment when everything that the tests write is old."""
    return datetime.now(UTC) + timedelta(days=DAYS + 1)


def put(s3, *keys: str) -> None:
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"four")


def keys(s3, layer: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{layer}/" if layer else "")
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def sweep(s3, glue, layer, moment, **options):
    return retention.sweep(s3, glue, BUCKET, layer, moment, DAYS, **{"dry_run": False, **options})


def point(glue, name: str, key: str, values: tuple[str, ...] = (), **parameters: str) -> None:
    """A table, or a partition of it, at a key."""
    place = {"StorageDescriptor": {"Location": f"s3://{BUCKET}/{key}"}, "Parameters": parameters}
    table = {"Name": name, **place}
    if values:
        table = {"Name": name, "PartitionKeys": [{"Name": f"key{n}", "Type": "string"} for n in range(len(values))]}
    glue.create_table(DatabaseName=DATABASE, TableInput=table)
    if values:
        glue.create_partition(DatabaseName=DATABASE, TableName=name, PartitionInput={"Values": values, **place})


def test_only_what_nobody_points_at_goes(s3, glue, later):
    put(s3, "gold/customer_rfm/v=1/a.parquet", "gold/customer_rfm/v=2/a.parquet", "gold/customer_rfm/v=10/a.parquet")
    point(glue, "customer_rfm", "gold/customer_rfm/v=1/")
    swept = sweep(s3, glue, "gold", later)
    assert keys(s3, "gold") == ["gold/customer_rfm/v=1/a.parquet"]
    assert swept == {
        "layer": "gold",
        "kept": 1,
        "versions": 2,
        "bytes": 8,
        "keys": ["gold/customer_rfm/v=10/", "gold/customer_rfm/v=2/"],
    }


def test_a_partition_that_points_below_a_version_keeps_all_of_it(s3, glue, later):
    put(s3, *(f"gold/wide_sales/v={version}/day={day}/a.parquet" for version in "12" for day in ("a", "b")))
    point(glue, "wide_sales", "gold/wide_sales/v=1/day=a", ("2018-01-01",))
    sweep(s3, glue, "gold", later)
    assert keys(s3, "gold") == ["gold/wide_sales/v=1/day=a/a.parquet", "gold/wide_sales/v=1/day=b/a.parquet"]


def test_a_version_that_is_only_noted_in_parameters_stays(s3, glue, later):
    put(s3, "gold/daily_sales/v=1/a.parquet", "bronze/orders/load_date=2018-01-01/v=1/a.parquet")
    point(glue, "daily_sales", "gold/daily_sales/", version=f"s3://{BUCKET}/gold/daily_sales/v=1/")
    bronze = f"s3://{BUCKET}/bronze/orders/load_date=2018-01-01/v=1/"
    point(glue, "deliveries_of_mine", "deliveries/x/v=1/", ("2018-01-01", "orders"), bronze=bronze)
    assert sweep(s3, glue, "gold", later)["versions"] == 0
    assert sweep(s3, glue, "bronze", later)["versions"] == 0


def test_a_dry_run_tells_and_deletes_nothing(s3, glue, later):
    put(s3, "gold/customer_rfm/v=lost/a.parquet")
    assert sweep(s3, glue, "gold", later, dry_run=True)["keys"] == ["gold/customer_rfm/v=lost/"]
    assert keys(s3, "gold") == ["gold/customer_rfm/v=lost/a.parquet"]


def test_the_age_counts_to_the_moment_of_the_run(s3, glue):
    put(s3, "gold/customer_rfm/v=lost/a.parquet")
    written = datetime.now(UTC)
    assert sweep(s3, glue, "gold", written + timedelta(days=DAYS, seconds=-60))["versions"] == 0
    assert sweep(s3, glue, "gold", written - timedelta(days=400))["versions"] == 0
    assert sweep(s3, glue, "gold", written + timedelta(days=DAYS, seconds=60))["versions"] == 1


def test_one_young_file_keeps_a_version():
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    old = retention.Version("gold/t/v=1/", ("a",), 1, moment - timedelta(days=15))
    young = retention.Version("gold/t/v=2/", ("a",), 1, moment - timedelta(days=13))
    assert retention.expired([old, young], set(), moment, DAYS) == [old]


def test_files_outside_of_versions_are_never_touched(s3, glue, later):
    kept = ["products/drogaria/2026-03-01/2026-03-01_drogaria_mba_rules.xlsx", "raw/readme.txt", "gold/x/version=1/a"]
    put(s3, *kept, "products/drogaria/2026-03-01/v=1/mba-1/mba_rules/a.parquet")
    for layer in ("products", "raw", "gold"):
        sweep(s3, glue, layer, later)
    assert sorted(kept) == sorted(keys(s3, "products") + keys(s3, "raw") + keys(s3, "gold"))


def test_more_than_one_call_of_files_goes(s3, glue, later):
    put(s3, *(f"raw/sales/client=x/v=1/{number}.parquet" for number in range(1001)))
    assert sweep(s3, glue, "raw", later)["bytes"] == 4004
    assert keys(s3, "raw") == []


def test_candidates_that_were_left_go_when_they_are_old(stack, glue, later):
    table = contract.load("customer_rfm").candidate("customer_rfm__left")
    catalog.switch_table(glue, table, f"s3://{BUCKET}/gold/customer_rfm/v=left/", {})
    places = references.places(glue, BUCKET)
    assert "gold/customer_rfm/v=left/" in places
    now = datetime.now(UTC)
    assert retention.drop_candidates(glue, now, DAYS, dry_run=False) == []
    assert "customer_rfm__left" in retention.drop_candidates(glue, later, DAYS, dry_run=True)
    assert "customer_rfm__left" in retention.drop_candidates(glue, later, DAYS, dry_run=False)
    assert "gold/customer_rfm/v=left/" not in references.places(glue, BUCKET)
