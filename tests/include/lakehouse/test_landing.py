from datetime import UTC, date, datetime

import boto3
import pytest

from include.lakehouse import landing
from include.lakehouse.landing import Landed, Partition
from include.tables.catalog import Place

MOMENT = datetime(2018, 9, 1, 3, tzinfo=UTC)


def landed(path: str, etag: str = "e", size: int = 1) -> Landed:
    return Landed(f"landing/olist/{path}", MOMENT, size, etag)


def chosen(files: list[Landed], loaded: dict[Partition, dict[str, str]]) -> dict[str, str | None]:
    return {file["key"].removeprefix("landing/olist/"): file["skip"] for file in landing.outstanding(files, loaded)}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("olist_orders_dataset.csv", "orders"),
        ("olist_order_items_dataset.csv.gz", "order_items"),
        ("olist_order_items_dataset_late.parquet", "order_items"),
        ("product_category_name_translation.csv", "category_translation"),
        ("olist_returns_dataset.csv", "unknown"),
        ("orders.csv", "unknown"),
    ],
)
def test_the_table_is_known_by_the_files_name(name, table):
    assert landed(f"2018-09-01/{name}").partition == Partition("2018-09-01", table)


def test_listing_takes_what_has_landed_in_folders_of_days(stack):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="landing-listing")
    for key in ("2018-09-01/b.csv", "2018-09-01/a.csv", "2018-09-02/c.csv", "2018-09-03/d.csv"):
        s3.put_object(Bucket="landing-listing", Key=f"landing/olist/{key}", Body=b"abc")
    for key in ("landing/olist/readme.txt", "landing/olist/2018-09-01/", "landing/olist/2018-09-01/x/y.csv", "a/b.csv"):
        s3.put_object(Bucket="landing-listing", Key=key, Body=b"")
    found = landing.listing(s3, "landing-listing", date(2018, 9, 2))
    assert [file.key.removeprefix("landing/olist/") for file in found] == [
        "2018-09-01/a.csv",
        "2018-09-01/b.csv",
        "2018-09-02/c.csv",
    ]
    assert found[0].size == 3
    assert found[0].etag == "900150983cd24fb0d6963f7d28e17f72"
    assert found[0].landed_at.tzinfo


def test_what_is_in_bronze_is_not_loaded_again():
    first, second = landed("2018-09-01/olist_orders_dataset.csv"), landed("2018-09-02/olist_orders_dataset.csv", "f")
    loaded = {first.partition: {first.key: first.etag}}
    assert chosen([first, second], {}) == {
        "2018-09-01/olist_orders_dataset.csv": None,
        "2018-09-02/olist_orders_dataset.csv": None,
    }
    assert chosen([first, second], loaded) == {"2018-09-02/olist_orders_dataset.csv": None}
    assert chosen([first], loaded) == {}


def test_a_late_file_brings_its_whole_partition():
    known, late = landed("2018-09-01/olist_orders_dataset.csv"), landed("2018-09-01/olist_orders_dataset_2.csv", "f")
    other = landed("2018-09-01/olist_sellers_dataset.csv")
    loaded = {known.partition: {known.key: known.etag}, other.partition: {other.key: other.etag}}
    assert set(chosen([known, late, other], loaded)) == {
        "2018-09-01/olist_orders_dataset.csv",
        "2018-09-01/olist_orders_dataset_2.csv",
    }


def test_a_file_that_was_replaced_is_loaded_again():
    before, now = landed("2018-09-01/olist_orders_dataset.csv", "e"), landed("2018-09-01/olist_orders_dataset.csv", "f")
    assert chosen([now], {before.partition: {before.key: before.etag}}) == {"2018-09-01/olist_orders_dataset.csv": None}


def test_a_file_that_is_gone_makes_nothing_outstanding():
    here, gone = landed("2018-09-01/olist_orders_dataset.csv"), landed("2018-09-01/olist_orders_dataset_2.csv", "f")
    assert chosen([here], {here.partition: {here.key: "e", gone.key: "f"}}) == {}


def test_the_same_bytes_are_skipped_wherever_they_come_later():
    first, again = landed("2018-09-01/olist_orders_dataset.csv"), landed("2018-09-05/olist_orders_dataset_2.csv")
    skip = "the same file as landing/olist/2018-09-01/olist_orders_dataset.csv"
    assert chosen([again, first], {})["2018-09-05/olist_orders_dataset_2.csv"] == skip
    # whichever was loaded first
    assert chosen([again, first], {first.partition: {first.key: "e"}}) == {
        "2018-09-05/olist_orders_dataset_2.csv": skip
    }


def test_the_same_bytes_of_another_table_or_size_are_another_file():
    orders, sellers = landed("2018-09-01/olist_orders_dataset.csv"), landed("2018-09-02/olist_sellers_dataset.csv")
    longer = landed("2018-09-03/olist_orders_dataset.csv", size=2)
    assert set(chosen([orders, sellers, longer], {}).values()) == {None}


def test_a_snapshot_has_the_rows_and_places_of_every_table():
    def place(bronze: str, rows: int) -> Place:
        return Place("s3://lake/deliveries/", {"files": '{"k": "e"}', "bronze": bronze, "rows": str(rows)})

    found = landing.snapshot(
        {
            ("2018-09-02", "orders"): place("s3://lake/bronze/2/", 3),
            ("2018-09-01", "orders"): place("s3://lake/bronze/1/", 4),
            ("2018-09-01", "sellers"): place("", 0),
        }
    )
    assert found.locations["orders"] == ["s3://lake/bronze/1/", "s3://lake/bronze/2/"]
    assert found.locations["sellers"] == []
    assert found.rows == {**dict.fromkeys(found.locations, 0), "orders": 7}
    assert found.files[Partition("2018-09-01", "sellers")] == {"k": "e"}
    assert found.digest != landing.snapshot({}).digest
