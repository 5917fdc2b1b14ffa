import io
from concurrent.futures import ThreadPoolExecutor

import boto3
import polars as pl
import pytest

from include.lakehouse import publish
from include.lakehouse.landing import Partition
from include.lakehouse.publish import PublishError, SupersededError
from include.tables import catalog, contract
from tests.athena import query

LAKE = "vitrine-lake"
ORDERS = Partition("2018-09-01", "orders")
KEY = "landing/olist/2018-09-01/olist_orders_dataset.csv"
TABLES = {
    "vitrine": [*(table.name for table in contract.of_layer("gold")), "deliveries"],
    "vitrine_bronze": ["orders"],
    "vitrine_silver": ["orders"],
    "vitrine_quarantine": ["orders"],
}


def clear(glue):
    for database, names in TABLES.items():
        for name in names:
            try:
                glue.delete_table(DatabaseName=database, Name=name)
            except glue.exceptions.EntityNotFoundException:
                continue


@pytest.fixture
def glue(stack):
    """Glue, with nothing of the lakehouse published."""
    client = boto3.client("glue")
    clear(client)
    yield client
    clear(client)


@pytest.fixture
def s3(glue):
    return boto3.client("s3")


def write(s3, location: str, rows: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    key = f"{location}0.parquet".removeprefix(f"s3://{LAKE}/")
    s3.put_object(Bucket=LAKE, Key=key, Body=buffer.getvalue())
    return location


def orders(s3, version: str, rows: int) -> dict:
    """A bronze partition as the job leaves and reports it."""
    place = write(
        s3,
        f"s3://{LAKE}/bronze/orders/load_date=2018-09-01/v={version}/",
        pl.DataFrame({"order_id": [f"o{number}" for number in range(rows)]}),
    )
    return {
        "table": "orders",
        "load_date": "2018-09-01",
        "location": place,
        "quarantine": None,
        "deliveries": f"s3://{LAKE}/deliveries/load_date=2018-09-01/table_name=orders/v={version}/",
        "rows": rows,
        "rejected": 0,
        "files": [],
    }


def publish_orders(s3, glue, version: str, rows: int, **files: str) -> list[str]:
    report = {"partitions": [orders(s3, version, rows)]}
    return publish.publish_bronze(s3, glue, LAKE, report, {ORDERS: {KEY: "e", **files}})


def bronze_rows() -> int:
    return int(query("SELECT count(*) FROM vitrine_bronze.orders")[0][0])


def test_bronze_is_published_with_what_it_was_built_from(s3, glue):
    assert publish_orders(s3, glue, "1", 3) == ["2018-09-01 orders"]
    snapshot = publish.bronze_snapshot(glue)
    assert snapshot.files == {ORDERS: {KEY: "e"}}
    assert snapshot.rows["orders"] == bronze_rows() == 3
    assert snapshot.locations["orders"] == [f"s3://{LAKE}/bronze/orders/load_date=2018-09-01/v=1/"]


def test_a_run_that_saw_fewer_files_publishes_nothing(s3, glue):
    late = "landing/olist/2018-09-01/olist_orders_dataset_late.csv"
    s3.put_object(Bucket=LAKE, Key=late, Body=b"late")
    publish_orders(s3, glue, "2", 5, **{late: "l"})
    assert publish_orders(s3, glue, "1", 3) == []
    assert bronze_rows() == 5


def test_a_file_that_has_vanished_from_landing_stops_the_publication(s3, glue):
    gone = "landing/olist/2018-09-01/olist_orders_dataset_gone.csv"
    publish_orders(s3, glue, "1", 5, **{gone: "g"})
    with pytest.raises(PublishError, match=r"_gone\.csv, which landed once and is gone: put it back"):
        publish_orders(s3, glue, "2", 3)
    assert bronze_rows() == 5


def test_a_run_whose_inputs_were_overtaken_does_not_publish(s3, glue):
    publish_orders(s3, glue, "1", 3)
    digest = publish.bronze_snapshot(glue).digest
    publish.require_current(glue, digest)
    publish_orders(s3, glue, "2", 3)
    with pytest.raises(SupersededError):
        publish.require_current(glue, digest)


def test_quarantine_of_silver_follows_the_version(s3, glue):
    table = contract.load("orders")
    quarantine = f"s3://{LAKE}/quarantine/orders/layer=silver/delivery=all/"
    write(s3, f"{quarantine}v=1/", pl.DataFrame({"order_id": ["a", "b"], "reason": ["bad", "bad"]}))
    publish.publish_silver(glue, table, LAKE, "1", "d", rejected=2)
    assert query("SELECT layer, delivery, count(*) FROM vitrine_quarantine.orders GROUP BY layer, delivery") == [
        ("silver", "all", "2")
    ]
    publish.publish_silver(glue, table, LAKE, "2", "d", rejected=0)
    assert query("SELECT count(*) FROM vitrine_quarantine.orders") == [("0",)]
    assert catalog.place(glue, table).location == f"s3://{LAKE}/silver/orders/v=2/"


def wide_sales(s3, version: str, **days: int) -> str:
    for day, rows in days.items():
        frame = pl.DataFrame({"order_id": [f"{version}-{number}" for number in range(rows)]})
        write(s3, f"s3://{LAKE}/gold/wide_sales/v={version}/day={day.replace('_', '-').strip('-')}/", frame)
    return version


def same_orders(s3, version: str, **days: int) -> str:
    """A version whose files have the bytes of any other with as many rows."""
    for day, rows in days.items():
        frame = pl.DataFrame({"order_id": [str(number) for number in range(rows)]})
        write(s3, f"s3://{LAKE}/gold/wide_sales/v={version}/day={day.replace('_', '-').strip('-')}/", frame)
    return version


def publish_wide_sales(s3, glue, version: str) -> list[str]:
    return publish.publish_gold(s3, glue, contract.load("wide_sales"), LAKE, version, digest=f"d{version}")


def test_only_days_whose_bytes_changed_are_switched(s3, glue):
    first = same_orders(s3, "same-1", _2018_01_01=2, _2018_01_02=3, _2018_01_03=1)
    assert publish_wide_sales(s3, glue, first) == ["2018-01-01", "2018-01-02", "2018-01-03"]
    second = same_orders(s3, "same-2", _2018_01_01=2, _2018_01_02=4, _2018_01_04=1)
    assert publish_wide_sales(s3, glue, second) == ["2018-01-02", "2018-01-03", "2018-01-04"]
    places = catalog.partitions(glue, contract.load("wide_sales"))
    assert {day: place.location.split("/v=")[1].split("/")[0] for (day,), place in places.items()} == {
        "2018-01-01": "same-1",
        "2018-01-02": "same-2",
        "2018-01-04": "same-2",
    }
    days = query("SELECT order_date, count(*) FROM vitrine.wide_sales GROUP BY order_date ORDER BY order_date")
    assert days == [("2018-01-01", "2"), ("2018-01-02", "4"), ("2018-01-04", "1")]
    assert publish_wide_sales(s3, glue, second) == []


def test_the_published_snapshot_is_known_once_every_table_has_it(s3, glue):
    assert publish.published_snapshot(glue) is None
    for table in contract.of_layer("gold"):
        assert publish.published_snapshot(glue) is None
        location = f"s3://{LAKE}/gold/{table.name}/v=snapshot/"
        write(s3, f"{location}day=2018-01-01/" if table.partition_keys else location, pl.DataFrame({"items": [1]}))
        publish.publish_gold(s3, glue, table, LAKE, "snapshot", digest="d1")
    assert publish.published_snapshot(glue) == "d1"


def test_a_reader_sees_whole_versions_only(s3, glue):
    """Twenty publications, turn about, of a table with a day and of one without; a reader asks all the time."""
    rfm = contract.load("customer_rfm")
    sizes = {"reader-1": 300, "reader-2": 500}
    for version, rows in sizes.items():
        wide_sales(s3, version, _2018_01_01=rows)
        frame = pl.DataFrame({"customer_unique_id": [f"{version}-{number}" for number in range(rows)]})
        write(s3, f"s3://{LAKE}/gold/customer_rfm/v={version}/", frame)

    def publish_turn_about() -> None:
        for turn in range(20):
            version = f"reader-{turn % 2 + 1}"
            assert publish_wide_sales(s3, glue, version) == ["2018-01-01"]
            publish.publish_gold(s3, glue, rfm, LAKE, version, "d")

    publish_wide_sales(s3, glue, "reader-2")
    publish.publish_gold(s3, glue, rfm, LAKE, "reader-2", "d")
    seen = {"wide_sales": [], "customer_rfm": []}
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(publish_turn_about)
        while not writing.done():
            for table, column in (("wide_sales", "order_id"), ("customer_rfm", "customer_unique_id")):
                sql = f"SELECT split_part({column}, '-', 2), count(*) FROM vitrine.{table} GROUP BY 1"
                seen[table].append(query(sql))
        writing.result()
    whole = ([("1", "300")], [("2", "500")])
    for table, reads in seen.items():
        assert [read for read in reads if read not in whole] == [], table
        assert len(reads) > 5, table
