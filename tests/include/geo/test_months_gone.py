"""A month whose location records were deleted for their age: no run builds, empties or drops what was made of it."""

from datetime import UTC, date, datetime

import boto3
import pytest

from include.geo import landing, publish, state
from include.geo.landing import Delivery, Loaded
from include.geo.tables import VISITS
from include.maintenance import raw_locations
from include.tables import catalog, contract
from include.tables.catalog import Place
from include.tables.versions import File

LAKE, ZONE = "months-lake", "America/Fortaleza"
TODAY, DAYS = date(2020, 3, 7), 400
"""January 2019 goes, February stays."""
RECORDS, DELIVERIES = contract.load("location_records"), contract.load("geo_deliveries")
DELIVERED = {
    Delivery("2019-01-31", "establishments"): {},
    Delivery("2019-01-31", "location_records"): {"2018-12": 1, "2019-01": 1},
    Delivery("2019-01-31", "ad_interactions"): {"2019-01": 1},
    Delivery("2019-02-01", "location_records"): {"2019-01": 1, "2019-02": 1},
}


def folder(table, load_date, month=""):
    return f"s3://{LAKE}/bronze/{table}/v=1/load_date={load_date}/" + (f"month={month}/" if month else "")


def noted(establishments="e1"):
    """What bronze was made of, as the deliveries' partitions note it."""
    found = {}
    for (load_date, table), months in DELIVERED.items():
        located = {month: (folder(table, load_date, month), rows) for month, rows in months.items()}
        location = folder(table, load_date) if table == "establishments" else None
        key = f"landing/geo/{load_date}/{table}.parquet"
        tag = establishments if table == "establishments" else "tag"
        made_of = Loaded({key: tag}, ZONE, "known", 0, located, location)
        found[load_date, table] = Place(f"s3://{LAKE}/deliveries/{table}/{load_date}/v=1/", made_of.noted())
    return found


@pytest.fixture
def lake(stack):
    """A lake of the tests' own, in the catalog that other tests may use, too; S3 and Glue."""
    s3, glue = boto3.client("s3"), boto3.client("glue")
    s3.create_bucket(Bucket=LAKE)
    made = {
        DELIVERIES: noted(),
        RECORDS: {
            (month, load_date): Place(folder(table, load_date, month), {})
            for (load_date, table), months in DELIVERED.items()
            if table == RECORDS.name
            for month in months
        },
        **{
            contract.load(name): {
                (month,): Place(f"s3://{LAKE}/silver/{name}/v=1/month={month}/", {"snapshot": "of then"})
                for month in ("2018-11", "2018-12", "2019-01", "2019-02")
            }
            for name in VISITS
        },
    }
    new = [table for table in made if catalog.place(glue, table) is None]
    for table, places in made.items():
        catalog.ensure_table(glue, table, f"s3://{LAKE}/{table.name}/")
        catalog.switch_partitions(glue, table, places)
    for place in made[RECORDS].values():
        s3.put_object(Bucket=LAKE, Key=f"{place.location.removeprefix(f's3://{LAKE}/')}00000.parquet", Body=b"here")
    yield s3, glue
    for table, places in made.items():
        catalog.drop_partitions(glue, table, places)
    there = catalog.place(glue, RECORDS)
    left = {name: value for name, value in there.parameters.items() if name != raw_locations.GONE}
    catalog.switch_table(glue, RECORDS, there.location, left)
    for table in new:
        glue.delete_table(DatabaseName=table.database, Name=table.name)
    for item in s3.list_objects_v2(Bucket=LAKE).get("Contents", []):
        s3.delete_object(Bucket=LAKE, Key=item["Key"])
    s3.delete_bucket(Bucket=LAKE)


def test_after_the_records_went_other_establishments_build_only_what_is_left(lake):
    s3, glue = lake
    before = state.bronze(glue)
    assert [month for month in before.months("location_records") if month < "2020"] == ["2018-12", "2019-01", "2019-02"]
    swept = raw_locations.sweep(s3, glue, LAKE, TODAY, DAYS, dry_run=False)
    assert (swept["months"], swept["partitions"]) == (["2018-12", "2019-01"], 3)
    # Other establishments: every month that can be built again is behind.
    catalog.switch_partitions(glue, DELIVERIES, noted("e2"))
    after = state.bronze(glue)
    months = after.months("location_records")
    assert [month for month in months if month < "2020"] == ["2019-02"]
    behind = state.behind(after.digests(ZONE), state.published(glue, "visits"))
    assert [month for month in behind if month < "2020"] == ["2019-02"]
    # Whatever still reads records reads such as are there.
    keys = [place.removeprefix(f"s3://{LAKE}/") for place in months["2019-02"]]
    assert all(s3.list_objects_v2(Bucket=LAKE, Prefix=key)["KeyCount"] for key in keys)
    assert "2019-01" in after.months("ad_interactions")


def test_publishing_keeps_the_months_whose_records_went(lake):
    s3, glue = lake
    raw_locations.sweep(s3, glue, LAKE, TODAY, DAYS, dry_run=False)
    report = {"tables": {name: {"location": None, "rows_out": 0} for name in VISITS}}
    changed = publish.publish_visits(s3, glue, LAKE, ZONE, report, {})
    # Of November there never were records, so its visits are of nothing.
    assert {name: [month for month in changed[name] if month < "2020"] for name in VISITS} == {
        name: ["2018-11"] for name in VISITS
    }
    for name in VISITS:
        there = state.published(glue, name)
        assert [month for month in there if month < "2020"] == ["2018-12", "2019-01", "2019-02"]
    assert {"2018-12", "2019-01"} <= {
        place.location.rpartition("month=")[2].strip("/") for place in state.published(glue, "visits").values()
    }


def test_what_is_delivered_in_such_a_month_is_left_alone():
    written = datetime(2026, 3, 1, tzinfo=UTC)
    landed = {
        Delivery(day, table): [File(f"landing/geo/{day}/{table}-late.parquet", 4, "tag", written)]
        for day in ("2019-01-31", "2019-02-01")
        for table in ("location_records", "ad_interactions", "establishments")
    }
    assert landing.outstanding(landed, {}, ZONE) == list(landed)
    wanted = landing.outstanding(landed, {}, ZONE, {"2019-01"})
    assert wanted == [one for one in landed if one.load_date == "2019-02-01" or one.table == "establishments"]


def test_another_zone_leaves_interactions_alone_whose_deliveries_went(lake):
    s3, glue = lake
    for name in ("establishments", "interactions"):
        s3.put_object(Bucket=LAKE, Key=f"landing/geo/2019-01-31/{name}.parquet", Body=b"here")
    there = landing.listing(s3, LAKE, TODAY)
    raw_locations.sweep(s3, glue, LAKE, TODAY, DAYS, dry_run=False)
    left = landing.listing(s3, LAKE, TODAY)
    assert [delivery.table for delivery in left] == ["establishments"]
    after = state.bronze(glue)
    elsewhere = "Europe/Madrid"
    interactions = Delivery("2019-01-31", "ad_interactions")
    # However far a sweep got with the files: nothing of the delivery is loaded, and what it has in bronze stays.
    assert interactions in landing.outstanding(there, after.loaded, elsewhere)
    for landed in (there, left):
        assert interactions not in landing.outstanding(landed, after.loaded, elsewhere, after.gone)
    assert folder("ad_interactions", "2019-01-31", "2019-01") in after.months("ad_interactions")["2019-01"]
