from datetime import UTC, date, datetime

import boto3
import pytest

from include.geo import landing
from include.geo.landing import Delivery, Loaded
from include.tables.versions import File

LAKE = "lake-of-the-geo-landing"
DAY, LATER = "2026-08-01", "2026-09-01"
ZONE = "America/Fortaleza"


def file(name: str, day: str = DAY, etag: str = "1") -> File:
    return File(f"landing/geo/{day}/{name}", 10, etag, datetime(2026, 8, 1, tzinfo=UTC))


def loaded(*files: File, zone: str = ZONE, known: str = "", unknown: int = 0) -> Loaded:
    return Loaded({one.key: one.etag for one in files}, zone, known, unknown, {}, None)


def deliveries(*files: File) -> landing.Landed:
    names = {"locations": "location_records", "interactions": "ad_interactions"}
    found: landing.Landed = {}
    for one in files:
        _, _, day, name = one.key.split("/")
        prefix = name.partition(".")[0].partition("_")[0]
        found.setdefault(Delivery(day, names.get(prefix, prefix)), []).append(one)
    return found


@pytest.fixture(scope="module")
def s3(stack):
    client = boto3.client("s3")
    client.create_bucket(Bucket=LAKE)
    return client


def test_files_are_deliveries_by_their_name_and_folder(s3, caplog):
    names = {
        "2026-08-01/locations.parquet": Delivery(DAY, "location_records"),
        "2026-08-01/locations_2.part-1.parquet": Delivery(DAY, "location_records"),
        "2026-08-01/interactions.parquet": Delivery(DAY, "ad_interactions"),
        "2026-08-01/locationsofshops.parquet": Delivery(DAY, "unknown"),
        "2026-08-01/locations.csv": Delivery(DAY, "unknown"),
        "2026-08-01/locations[1].parquet": Delivery(DAY, "unknown"),
        "2026-08-02/establishments.parquet": None,  # after the day
        "2026-08/locations.parquet": None,
        "2026-02-30/locations.parquet": None,  # no day
        "0000-00-00/locations.parquet": None,
        "2026-08-01/more/locations.parquet": None,
    }
    for name in names:
        s3.put_object(Bucket=LAKE, Key=f"landing/geo/{name}", Body=b"1")
    found = landing.listing(s3, LAKE, date(2026, 8, 1))
    keys = {one.key.removeprefix("landing/geo/"): delivery for delivery, files in found.items() for one in files}
    assert keys == {name: delivery for name, delivery in names.items() if delivery}
    assert "2026-02-30/locations.parquet is no delivery, as 2026-02-30 is no day" in caplog.text


def test_a_delivery_is_outstanding_until_bronze_is_made_of_all_its_files():
    first, second = file("locations.parquet"), file("locations_2.parquet")
    delivery = Delivery(DAY, "location_records")
    landed = deliveries(first, second)
    assert landing.outstanding(landed, {}, ZONE) == [delivery]
    assert landing.outstanding(landed, {delivery: loaded(first)}, ZONE) == [delivery]
    assert landing.outstanding(landed, {delivery: loaded(first, second)}, ZONE) == []
    changed = file("locations_2.parquet", etag="2")
    assert landing.outstanding(landed, {delivery: loaded(first, changed)}, ZONE) == [delivery]


def test_a_run_that_sees_less_than_another_loads_nothing():
    first, second = file("locations.parquet"), file("locations_2.parquet")
    there = {Delivery(DAY, "location_records"): loaded(first, second)}
    assert landing.outstanding(deliveries(first), there, ZONE) == []


def test_another_time_zone_loads_records_again_and_nothing_else():
    records, places = file("locations.parquet"), file("establishments.parquet")
    landed = deliveries(records, places)
    there = {delivery: loaded(*files) for delivery, files in landed.items()}
    assert landing.outstanding(landed, there, "Europe/Madrid") == [Delivery(DAY, "location_records")]


def test_unknown_establishments_are_looked_for_again_when_more_have_landed():
    seen, places = file("interactions.parquet"), file("establishments.parquet")
    landed = deliveries(seen, places)
    delivery, known = Delivery(DAY, "ad_interactions"), landing.known(landed)
    there = {Delivery(DAY, "establishments"): loaded(places)}
    unknown = {**there, delivery: loaded(seen, known=known, unknown=3)}
    assert landing.outstanding(landed, unknown, ZONE) == []
    more = landed | deliveries(file("establishments.parquet", LATER))
    new = Delivery(LATER, "establishments")
    assert landing.outstanding(more, unknown, ZONE) == [delivery, new]
    sound = {**there, delivery: loaded(seen, known=known)}
    assert landing.outstanding(more, sound, ZONE) == [new]


def test_what_people_did_in_months_that_were_let_go_is_not_loaded_again():
    names = ("locations", "interactions", "campaigns", "misnamed")
    landed = deliveries(*(file(f"{name}.parquet") for name in names))
    assert landing.outstanding(landed, {}, ZONE, {"2026-08"}) == [Delivery(DAY, "campaigns")]
    assert len(landing.outstanding(landed, {}, ZONE, {"2026-07"})) == 4


def test_what_bronze_was_made_of_survives_the_catalog():
    made = Loaded({"a": "1"}, ZONE, "k", 2, {"2026-07": ("s3://lake/bronze/x/", 5)}, None)
    assert Loaded.read(made.noted()) == made
    moved = made._replace(files={"b": "1"})
    assert made.content == moved.content != made._replace(files={"a": "2"}).content
