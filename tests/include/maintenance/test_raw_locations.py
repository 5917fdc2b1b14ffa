from datetime import UTC, date, datetime, timedelta

import boto3
import pytest

from include.maintenance import raw_locations
from include.tables import catalog, contract
from include.tables.catalog import CatalogError, Place

BUCKET = "locations-lake"
DAYS = 400
TODAY = date(2020, 3, 7)
"""400 days after 1 February 2019, and 401 after the last day of January."""
RECORDS, REJECTS = contract.load("location_records"), contract.load("geo_rejects")

PARTITIONS = {
    ("2018-12", "2019-01-02"): "v=1/load_date=2019-01-02/month=2018-12/",
    ("2019-01", "2019-01-31"): "v=1/load_date=2019-01-31/month=2019-01/",
    ("2019-01", "2020-03-01"): "v=2/load_date=2020-03-01/month=2019-01/",  # A delivery that was late.
    ("2019-02", "2019-02-01"): "v=1/load_date=2019-02-01/month=2019-02/",
    ("2020-03", "2020-03-01"): "v=2/load_date=2020-03-01/month=2020-03/",
}
REPLACED = ("v=0/load_date=2019-01-31/month=2019-01/", "v=0/load_date=2019-02-01/month=2019-02/")
"""Versions that no partition points at any more."""
REJECTED = {
    ("location_records", "2019-01-31"): "table_name=location_records/load_date=2019-01-31/v=1/",
    ("location_records", "2019-02-01"): "table_name=location_records/load_date=2019-02-01/v=1/",
    ("ad_interactions", "2019-01-31"): "table_name=ad_interactions/load_date=2019-01-31/v=1/",
}
LANDED = (
    "2018-11-30/locations.parquet",
    "2019-01-31/Locations.parquet",  # Names that the loader does not know; what is in them may be anything.
    "2019-01-31/interactions.parquet",
    "2019-01-31/locations-2.parquet",
    "2019-01-31/misc/establishments.parquet",
    "2019-01-31/record_of_locations.parquet",
)
"""In the order of their keys."""
NOT_OURS = (
    "landing/geo/2019-01-31/campaigns-2.parquet",
    "landing/geo/2019-01-31/establishments.parquet",
    "landing/geo/2019-02-01/Locations.parquet",
    "landing/geo/2019-02-01/interactions.parquet",
    "landing/geo/2019-02-01/locations.parquet",
    "landing/geo/2018-13-01/locations.parquet",
    "landing/geo/locations.parquet",
    "landing/olist/2019-01-31/locations.csv",
    "bronze/ad_interactions/v=1/load_date=2019-01-31/month=2019-01/00000.parquet",
    "silver/visits/v=1/month=2019-01/00000.parquet",
    "gold/establishment_visits/v=1/month=2019-01/00000.parquet",
)
GOING = sorted(
    [
        *(f"bronze/location_records/{PARTITIONS[values]}00000.parquet" for values in list(PARTITIONS)[:3]),
        f"bronze/location_records/{REPLACED[0]}00000.parquet",
        f"quarantine/geo_rejects/{REJECTED['location_records', '2019-01-31']}00000.parquet",
        *(f"landing/geo/{name}" for name in LANDED),
    ]
)
GONE = {"2018-11", "2018-12", "2019-01"}


@pytest.fixture
def s3(stack):
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def glue(stack):
    """A catalog with the tables, which other tests may have as well; what is noted and published here goes again."""
    client = boto3.client("glue")
    new = [table for table in (RECORDS, REJECTS) if catalog.place(client, table) is None]
    for table, layer in ((RECORDS, "bronze"), (REJECTS, "quarantine")):
        catalog.ensure_table(client, table, f"s3://{BUCKET}/{layer}/{table.name}/")
    yield client
    for table, mine in ((RECORDS, PARTITIONS), (REJECTS, REJECTED)):
        catalog.drop_partitions(client, table, mine)
    there = catalog.place(client, RECORDS)
    parameters = {name: value for name, value in there.parameters.items() if name != raw_locations.GONE}
    catalog.switch_table(client, RECORDS, there.location, parameters)
    for table in new:
        client.delete_table(DatabaseName=table.database, Name=table.name)


@pytest.fixture
def lake(s3, glue):
    """Old and young location records, and everything around them."""
    for layer, table, places in (("bronze", RECORDS, PARTITIONS), ("quarantine", REJECTS, REJECTED)):
        places = {values: f"{layer}/{table.name}/{place}" for values, place in places.items()}
        put(s3, *(f"{place}00000.parquet" for place in places.values()))
        switched = {values: Place(f"s3://{BUCKET}/{place}", {}) for values, place in places.items()}
        catalog.switch_partitions(glue, table, switched)
    put(s3, *(f"bronze/location_records/{place}00000.parquet" for place in REPLACED))
    put(s3, *(f"landing/geo/{name}" for name in LANDED), *NOT_OURS)


def put(s3, *names):
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"four")


def keys(s3):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {item["Key"] for page in pages for item in page.get("Contents", [])}


def mine(glue):
    """The partitions of both tables that the tests have made."""
    there = {table.name: catalog.partitions(glue, table) for table in (RECORDS, REJECTS)}
    return {
        values
        for table, made in ((RECORDS, PARTITIONS), (REJECTS, REJECTED))
        for values in there[table.name]
        if values in made
    }


def sweep(s3, glue, today=TODAY, *, dry_run=False):
    return raw_locations.sweep(s3, glue, BUCKET, today, DAYS, dry_run=dry_run)


def test_what_is_older_than_the_days_goes_and_nothing_else(s3, glue, lake):
    before = keys(s3)
    assert sweep(s3, glue) == {
        "before": "2019-02-01",
        "months": ["2018-11", "2018-12", "2019-01"],
        "partitions": 4,
        "files": len(GOING),
        "bytes": 4 * len(GOING),
        "keys": GOING,
    }
    assert before - keys(s3) == set(GOING)
    assert mine(glue) == {*list(PARTITIONS)[3:], *list(REJECTED)[1:]}
    assert raw_locations.months_gone(glue) == GONE


def test_a_month_stays_until_all_of_it_is_too_old(s3, glue, lake):
    # The last of January is exactly so many days old; that of December is older.
    assert sweep(s3, glue, TODAY - timedelta(days=1))["months"] == ["2018-11", "2018-12"]
    assert raw_locations.months_gone(glue) == {"2018-11", "2018-12"}
    assert sweep(s3, glue)["months"] == ["2019-01"]
    assert raw_locations.months_gone(glue) == GONE
    assert raw_locations.last_day("2020-02") == date(2020, 2, 29)
    assert raw_locations.last_day("2019-12") == date(2019, 12, 31)


def test_a_dry_run_tells_the_same_and_changes_nothing(s3, glue, lake):
    before = keys(s3), mine(glue)
    told = sweep(s3, glue, dry_run=True)
    assert (keys(s3), mine(glue), raw_locations.months_gone(glue)) == (*before, set())
    assert sweep(s3, glue) == told


def test_a_second_run_finds_nothing(s3, glue, lake):
    sweep(s3, glue)
    before = keys(s3), mine(glue)
    again = sweep(s3, glue)
    assert (again["months"], again["partitions"], again["files"], again["keys"]) == ([], 0, 0, [])
    assert (keys(s3), mine(glue)) == before
    assert raw_locations.months_gone(glue) == GONE


def test_wherever_it_stops_the_next_run_ends_it(s3, glue, lake, monkeypatch):
    def refuses(*_):
        raise CatalogError("later")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "drop_partitions", refuses)
        with pytest.raises(CatalogError):
            sweep(s3, glue)
    # Noted first: a run in between must not take the months for emptied.
    assert raw_locations.months_gone(glue) == GONE
    assert set(GOING) <= keys(s3)
    with monkeypatch.context() as patch:
        patch.setattr(raw_locations.retention, "delete", refuses)
        with pytest.raises(CatalogError):
            sweep(s3, glue)
    assert mine(glue) == {*list(PARTITIONS)[3:], *list(REJECTED)[1:]}
    assert set(GOING) <= keys(s3)
    sweep(s3, glue)
    assert not set(GOING) & keys(s3)


def test_the_note_outlives_what_publishing_does_with_the_table(s3, glue, lake):
    sweep(s3, glue)
    catalog.ensure_table(glue, RECORDS, "s3://elsewhere/")
    catalog.switch_partitions(glue, RECORDS, {("2019-01", "2020-03-02"): Place(f"s3://{BUCKET}/bronze/late/", {})})
    assert raw_locations.months_gone(glue) == GONE
    # What came for such a month after all goes with the next run.
    put(s3, "bronze/late/00000.parquet")
    assert sweep(s3, glue)["keys"] == ["bronze/late/00000.parquet"]


def test_what_tells_no_month_goes_by_its_age(s3, glue):
    going = [
        "landing/geo/2018-13-01/locations.parquet",
        "landing/geo/9999-01-01/locations.parquet",
        "landing/geo/locations.parquet",
        "landing/geo/misc/locations.parquet",
        "quarantine/streams/live_offers/shard/1.json",
        "reports/geo_advertising/v=1/people.html",
    ]
    staying = ["landing/geo/9999-01-01/campaigns.parquet", "reports/other/v=1/index.html"]
    put(s3, *going, *staying, "quarantine/streams/sessions/shard/1.json")
    written = datetime.now(UTC).date()
    # Only told: at that age, other tests' partitions would go as well.
    assert sweep(s3, glue, written + timedelta(days=DAYS - 1), dry_run=True)["keys"] == []
    assert sweep(s3, glue, written + timedelta(days=DAYS + 2), dry_run=True)["keys"] == going
