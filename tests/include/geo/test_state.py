import pytest

from include.geo import state
from include.geo.landing import Delivery, Loaded
from include.geo.state import Bronze, StateError
from include.tables.catalog import Place

ZONE = "America/Fortaleza"
RECORDS, SEEN, PLACES = "location_records", "ad_interactions", "establishments"


def loaded(months=None, location=None, etag="1") -> Loaded:
    return Loaded({"key": etag}, ZONE, "", 0, months or {}, location)


def at(*months: str, version: str = "1") -> dict[str, tuple[str, int]]:
    return {month: (f"s3://lake/bronze/v={version}/month={month}/", 10) for month in months}


@pytest.fixture
def bronze():
    return Bronze(
        {
            Delivery("2026-08-01", PLACES): loaded(location="s3://lake/places/1/"),
            Delivery("2026-08-01", RECORDS): loaded(at("2026-06", "2026-07")),
            Delivery("2026-08-01", SEEN): loaded(at("2026-07")),
            Delivery("2026-09-01", RECORDS): loaded(at("2026-07", "2026-08", version="2")),
        }
    )


def with_(bronze: Bronze, day: str, table: str, made: Loaded) -> Bronze:
    return Bronze(dict(sorted({**bronze.loaded, Delivery(day, table): made}.items())), bronze.gone)


def test_months_have_the_rows_of_all_deliveries(bronze):
    assert list(bronze.months(RECORDS)) == ["2026-06", "2026-07", "2026-08"]
    assert [len(locations) for locations in bronze.months(RECORDS).values()] == [1, 2, 1]
    assert bronze.rows(RECORDS, ["2026-07", "2026-08"]) == 30


def test_the_latest_establishments_with_rows_count(bronze):
    rejected = with_(bronze, "2026-09-01", PLACES, loaded())
    assert state.require_establishments(rejected) == "s3://lake/places/1/"
    newer = with_(bronze, "2026-09-01", PLACES, loaded(location="s3://lake/places/2/"))
    assert state.require_establishments(newer) == "s3://lake/places/2/"


def test_without_establishments_the_fix_is_told():
    with pytest.raises(StateError, match=r"put establishments\.parquet below landing/geo/<day>/"):
        state.require_establishments(Bronze({}))


def published(bronze: Bronze) -> dict[str, Place]:
    return {month: Place("s3://lake/silver/", {"snapshot": digest}) for month, digest in bronze.digests(ZONE).items()}


def test_a_late_delivery_touches_its_months_only(bronze):
    before = published(bronze)
    assert state.behind(bronze.digests(ZONE), before) == []
    late = with_(bronze, "2026-09-02", RECORDS, loaded(at("2026-07", "2026-09", version="3")))
    assert state.behind(late.digests(ZONE), before) == ["2026-07", "2026-09"]


def test_other_establishments_touch_all_months_the_same_ones_none(bronze):
    before = published(bronze)
    same = with_(bronze, "2026-09-01", PLACES, loaded(location="s3://lake/places/2/"))
    assert state.behind(same.digests(ZONE), before) == []
    other = with_(bronze, "2026-09-01", PLACES, loaded(location="s3://lake/places/2/", etag="2"))
    assert state.behind(other.digests(ZONE), before) == ["2026-06", "2026-07", "2026-08"]


def test_another_time_zone_touches_all_months(bronze):
    assert len(state.behind(bronze.digests("Europe/Madrid"), published(bronze))) == 3


def test_the_lake_s_time_zone_is_that_of_its_latest_records(bronze):
    assert Bronze({}).zone is None
    assert bronze.zone == ZONE
    # Of deliveries that were deleted for their age, records stay in the zone of before.
    moved = with_(bronze, "2026-09-01", RECORDS, loaded(at("2026-08"))._replace(zone="Europe/Madrid"))
    places = with_(moved, "2026-09-02", PLACES, loaded(location="s3://lake/places/2/"))
    assert places.zone == "Europe/Madrid"


def test_months_whose_records_have_gone_are_left_as_they_are(bronze):
    gone = bronze._replace(gone=frozenset({"2026-06"}))
    assert list(gone.digests(ZONE)) == list(gone.months(RECORDS)) == ["2026-07", "2026-08"]
    assert gone.months(SEEN) == bronze.months(SEEN)
