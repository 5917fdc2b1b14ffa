"""What is published when runs come twice, late, and at once: on the local catalog, with files of our own."""

from datetime import date

import boto3
import pytest

from include.geo import landing, publish, state
from include.geo.landing import Delivery
from include.geo.tables import ANALYSED, ANALYSES, VISITS
from include.lakehouse.publish import PublishError, SupersededError
from include.tables import catalog, contract
from tests.geo_lake import LAKE, clear

ZONE, DAY = "America/Fortaleza", "2026-08-01"
KEY = f"landing/geo/{DAY}/locations.parquet"
JULY, AUGUST = "2026-07", "2026-08"


@pytest.fixture
def clients(stack):
    clear()
    yield boto3.client("s3"), boto3.client("glue")
    clear()


def planned(*keys: str, etag: str = "1", table: str = "location_records", known: str = "") -> dict:
    files = [{"key": key, "etag": etag, "bytes": 1} for key in keys]
    return {"zone": ZONE, "known": known, "deliveries": [{"load_date": DAY, "table": table, "files": files}]}


def built(version: str, *months: str, quarantine: bool = False, table: str = "location_records") -> dict:
    root = f"s3://{LAKE}/bronze/{table}/v={version}/"
    return {
        "deliveries": [
            {
                "load_date": DAY,
                "table": table,
                "months": {month: {"location": f"{root}month={month}/", "rows": 1} for month in months},
                "location": None,
                "quarantine": f"s3://{LAKE}/quarantine/v={version}/" if quarantine else None,
                "deliveries": f"s3://{LAKE}/deliveries/geo/v={version}/",
                "unknown": 0,
            }
        ]
    }


def load(
    clients, version: str, *months: str, keys: tuple[str, ...] = (KEY,), quarantine: bool = False, etag: str = "1"
) -> list[str]:
    report = built(version, *months, quarantine=quarantine)
    return publish.publish_bronze(*clients, LAKE, planned(*keys, etag=etag), report)


def put(s3, key: str, content: bytes) -> str:
    return s3.put_object(Bucket=LAKE, Key=key, Body=content)["ETag"].strip('"')


def made(s3, layer: str, names, version: str, months: dict[str, bytes]) -> dict:
    """A job's report, and the files of it."""
    tables = {}
    for name in names:
        location = f"s3://{LAKE}/{layer}/{name}/v={version}/"
        for month, content in months.items():
            key = f"{layer}/{name}/v={version}/month={month}/0.parquet"
            s3.put_object(Bucket=LAKE, Key=key, Body=content)
        tables[name] = {"location": location, "rows_out": len(months), "months": dict.fromkeys(months, 1)}
    return {"tables": tables}


def each(tables, months: list[str]) -> dict[str, list[str]]:
    return {table: list(months) for table in tables}


def places(clients, table: str) -> dict[str, str]:
    return {month: place.location for month, place in state.published(clients[1], table).items()}


def test_a_delivery_replaces_itself_with_what_was_rejected_of_it(clients):
    glue = clients[1]
    assert load(clients, "1", JULY, AUGUST, quarantine=True) == [f"{DAY} location_records"]
    rejects, records = contract.load("geo_rejects"), contract.load("location_records")
    assert list(catalog.partitions(glue, rejects)) == [("location_records", DAY)]
    load(clients, "2", AUGUST)
    assert catalog.partitions(glue, rejects) == {}
    (values,) = catalog.partitions(glue, records)
    assert values == (AUGUST, DAY)
    assert state.bronze(glue).months("location_records") == {
        AUGUST: [f"s3://{LAKE}/bronze/location_records/v=2/month={AUGUST}/"]
    }


def test_a_run_that_saw_fewer_files_leaves_the_delivery_to_the_other(clients):
    s3, glue = clients
    more = (KEY, KEY.replace(".", "_2."))
    (etag,) = {put(s3, key, b"1") for key in more}
    load(clients, "1", JULY, keys=more, etag=etag)
    assert load(clients, "2", JULY, etag=etag) == []
    assert set(state.bronze(glue).loaded[Delivery(DAY, "location_records")].files) == set(more)


def test_a_file_that_was_corrected_is_not_put_back_by_a_late_run(clients):
    s3, glue = clients
    old, new = put(s3, KEY, b"old"), put(s3, KEY, b"new")
    assert load(clients, "1", JULY, etag=old) == []  # nothing is there yet, and still it would be of old rows
    assert load(clients, "2", AUGUST, etag=new) == [f"{DAY} location_records"]
    assert load(clients, "1", JULY, etag=old) == []
    made = state.bronze(glue).loaded[Delivery(DAY, "location_records")]
    assert (made.files, list(made.months)) == ({KEY: new}, [AUGUST])


def test_interactions_are_not_rejected_again_by_a_run_that_knew_fewer_establishments(clients):
    s3, glue = clients
    key = KEY.replace("locations", "interactions")
    etag = put(s3, key, b"seen")
    knew = {}
    for day in ("none", DAY, "2026-08-02", "2026-08-03"):
        if day != "none":
            put(s3, f"landing/geo/{day}/establishments.parquet", day.encode())
        knew[day] = landing.known(landing.listing(s3, LAKE, date(2026, 12, 31)))

    def load(version: str, day: str) -> list[str]:
        of = planned(key, etag=etag, table="ad_interactions", known=knew[day])
        return publish.publish_bronze(*clients, LAKE, of, built(version, JULY, table="ad_interactions"))

    loaded = [f"{DAY} ad_interactions"]
    assert [load("1", "none"), load("2", "2026-08-02"), load("3", DAY), load("4", "none")] == [loaded, loaded, [], []]
    assert "v=2" in state.bronze(glue).months("ad_interactions")[JULY][0]
    assert load("5", "2026-08-02") == loaded  # another time zone, for example
    assert load("6", "2026-08-03") == loaded
    # Establishments were replaced: no earlier run has known these.
    put(s3, f"landing/geo/{DAY}/establishments.parquet", b"others")
    assert load("7", "2026-08-03") == loaded


def test_rows_are_not_lost_with_a_file(clients):
    load(clients, "1", JULY, keys=(KEY, "landing/geo/2026-08-01/locations_gone.parquet"))
    with pytest.raises(PublishError, match=r"locations_gone.*put it back"):
        load(clients, "2", JULY)


def test_months_are_switched_where_bytes_have_changed(clients):
    s3, glue = clients
    load(clients, "1", JULY, AUGUST)
    digests = state.bronze(glue).digests(ZONE)
    first = made(s3, "silver", VISITS, "1", {JULY: b"a", AUGUST: b"b"})
    changed = publish.publish_visits(*clients, LAKE, ZONE, first, digests)
    assert changed == each(VISITS, [JULY, AUGUST])
    assert state.behind(digests, state.published(glue, state.ANCHOR)) == []
    again = made(s3, "silver", VISITS, "2", {JULY: b"a", AUGUST: b"c"})
    assert publish.publish_visits(*clients, LAKE, ZONE, again, digests) == each(VISITS, [AUGUST])
    assert places(clients, "visits") == {
        JULY: f"s3://{LAKE}/silver/visits/v=1/month={JULY}/",
        AUGUST: f"s3://{LAKE}/silver/visits/v=2/month={AUGUST}/",
    }


def test_months_that_changed_meanwhile_are_left_and_those_without_records_dropped(clients):
    s3, glue = clients
    load(clients, "1", JULY, AUGUST)
    digests = state.bronze(glue).digests(ZONE)
    report = made(s3, "silver", VISITS, "1", {JULY: b"a", AUGUST: b"b"})
    publish.publish_visits(*clients, LAKE, ZONE, report, digests)
    load(clients, "2", AUGUST)
    other = made(s3, "silver", VISITS, "2", {JULY: b"x", AUGUST: b"x"})
    assert publish.publish_visits(*clients, LAKE, ZONE, other, digests) == each(VISITS, [JULY])
    assert places(clients, "visits") == {AUGUST: f"s3://{LAKE}/silver/visits/v=1/month={AUGUST}/"}


def analyses(s3, version: str, months: dict[str, bytes]) -> list[dict]:
    return [{"analysis": analysis, **made(s3, "gold", names, version, months)} for analysis, names in ANALYSES.items()]


def test_analyses_are_published_by_what_they_were_made_of(clients):
    s3, glue = clients
    load(clients, "1", JULY)
    wanted = state.analysed(glue, state.bronze(glue), ZONE)
    assert not state.is_current(glue, wanted)
    reports = analyses(s3, "1", {JULY: b"a", "all": b"b"})
    changed = publish.publish_analyses(*clients, LAKE, ZONE, reports, wanted.digest)
    assert changed == each(ANALYSED, [JULY, "all"])
    assert state.is_current(glue, wanted)
    fewer = analyses(s3, "2", {"all": b"b"})
    assert publish.publish_analyses(*clients, LAKE, ZONE, fewer, wanted.digest) == each(ANALYSED, [JULY])
    assert places(clients, "campaign_ctr") == {"all": f"s3://{LAKE}/gold/campaign_ctr/v=1/month=all/"}


def test_when_no_row_is_left_what_was_made_of_them_goes(clients):
    s3, glue = clients
    load(clients, "1", JULY)
    report = made(s3, "silver", VISITS, "1", {JULY: b"a"})
    publish.publish_visits(*clients, LAKE, ZONE, report, state.bronze(glue).digests(ZONE))
    before = state.analysed(glue, state.bronze(glue), ZONE)
    publish.publish_analyses(*clients, LAKE, ZONE, analyses(s3, "1", {JULY: b"a", "all": b"b"}), before.digest)
    load(clients, "2")
    bronze = state.bronze(glue)
    assert state.left_over(glue, bronze, "visits") == [JULY]
    assert publish.publish_visits(*clients, LAKE, ZONE, publish.NO_VISITS, {}) == each(VISITS, [JULY])
    assert state.left_over(glue, bronze, "visits") == []
    wanted = state.analysed(glue, bronze, ZONE)
    assert not state.is_empty(glue, wanted)
    changed = publish.publish_analyses(*clients, LAKE, ZONE, analyses(s3, "2", {}), wanted.digest)
    assert changed == each(ANALYSED, [JULY, "all"])
    assert state.is_empty(glue, wanted)


def test_an_overtaken_run_leaves_the_analyses_to_the_other(clients):
    s3, glue = clients
    load(clients, "1", JULY)
    wanted = state.analysed(glue, state.bronze(glue), ZONE)
    digests = state.bronze(glue).digests(ZONE)
    report = made(s3, "silver", VISITS, "1", {JULY: b"a"})
    publish.publish_visits(*clients, LAKE, ZONE, report, digests)
    with pytest.raises(SupersededError, match="the run that did publishes"):
        publish.publish_analyses(*clients, LAKE, ZONE, analyses(s3, "1", {"all": b"b"}), wanted.digest)
