import gzip
import io
import json
import random
import sys

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.jobs import offer_reference
from include.jobs.offer_reference import InputsError, build, reference
from include.streams import establishments
from include.streams.establishments import ReferenceDataError
from local.data import city_world

BUCKET = "lake-of-the-offers"


def place(which, **values):
    return {
        "establishment_id": which,
        "name": f"Café {which}",
        "category": "cafés",
        "latitude": -3.73,
        "longitude": -38.52,
    } | values


def ad(name, campaign, establishment):
    return {"ad_id": name, "campaign_id": campaign, "establishment_id": establishment}


def rate(campaign, establishment, views, clicks, month="all"):
    """A row as gold has it: the bound by Wilson's formula, in plain arithmetic."""
    z, share = 1.959963984540054, clicks / views
    centre, spread = share + z**2 / 2 / views, z * ((share * (1 - share) + z**2 / 4 / views) / views) ** 0.5
    low = (centre - spread) / (1 + z**2 / views) if clicks else 0.0
    return {"campaign_id": campaign, "establishment_id": establishment, "month": month, "views": views, "low": low}


PLACES = [place("e2"), place("e1"), place("e3"), place("e4", name=None)]
ADS = [
    *(ad("a2", "many views", "e1"), ad("a1", "many views", "e1"), ad("a0", "one lucky click", "e1")),
    *(ad("b1", "unseen", "e2"), ad("b0", "suppressed", "e2")),
    *(ad("d1", "good in July", "e4"), ad("d0", "better in all", "e4"), ad("x", "lost", "e9")),
]
RATES = [
    rate("many views", "e1", 4_000, 120),
    rate("one lucky click", "e1", 1, 1),
    {"campaign_id": "suppressed", "establishment_id": "e2", "month": "all", "views": None, "low": None},
    rate("good in July", "e4", 500, 400, "2026-07"),
    rate("good in July", "e4", 1_000, 20),
    rate("better in all", "e4", 1_000, 30),
]


def lines(data):
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]


def test_the_best_ad_is_of_the_campaign_whose_rate_is_surely_high():
    data, counts = reference(PLACES, ADS, RATES)
    best = {one.establishment_id: one.ad for one in establishments.parse(data)}
    assert {name: (one.ad_id, one.campaign_id) for name, one in best.items()} == {
        "e1": ("a1", "many views"),
        "e2": ("b0", "suppressed"),
        "e4": ("d0", "better in all"),
    }
    # By hand: p = 0.03, n = 4000.
    assert best["e1"].ctr_low == pytest.approx(0.025147, abs=1e-6)
    assert best["e2"].ctr_low == 0.0
    assert counts == {
        "establishments": 3,
        "ads": 7,
        "with_rate": 4,
        "without_ads": 1,
        "unknown": 1,
        "without_name": 1,
    }
    assert [one["name"] for one in lines(data)] == ["Café e1", "Café e2", "e4"]


def test_a_rate_counts_from_the_floor_on():
    rates = [rate("one lucky click", "e1", 99, 50), rate("many views", "e1", 100, 3)]
    (first, _, _) = establishments.parse(reference(PLACES, ADS, rates)[0])
    assert first.ad.campaign_id == "many views"
    (first, _, _) = establishments.parse(reference(PLACES, ADS, rates, floor=99)[0])
    assert first.ad.campaign_id == "one lucky click"


def test_the_same_rows_are_the_same_bytes_in_any_order():
    data, _ = reference(PLACES, ADS, RATES)
    for seed in range(5):
        shuffled = [random.Random(seed).sample(rows, len(rows)) for rows in (PLACES, ADS, RATES)]
        assert reference(*shuffled)[0] == data
    # What engines differ in.
    off = [row | {"low": row["low"] and row["low"] * (1 + 1e-15)} for row in RATES]
    assert reference(PLACES, ADS, off)[0] == data


def test_what_the_function_could_not_read_is_not_written():
    with pytest.raises(ReferenceDataError, match="establishment_id is 'e1' again"):
        reference([*PLACES, place("e1")], ADS, RATES)
    with pytest.raises(ReferenceDataError, match="no establishment with an ad"):
        reference(PLACES, [], RATES)
    with pytest.raises(ReferenceDataError, match="latitude"):
        reference([place("e1", latitude=91.0)], ADS, RATES)


# ------------------------------------------------------------------------------------------------------------- the job


@pytest.fixture
def s3(stack):
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


def publish(s3, prefix, rows):
    """A version of a table as gold has it; its prefix."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}00000.parquet", Body=buffer.getvalue())
    return f"s3://{BUCKET}/{prefix}"


def published(s3):
    """The tables of the generated city, with rates of every other campaign."""
    city = city_world.build(1, 60, 100)
    campaigns = sorted(set(city.campaigns.select("campaign_id", "establishment_id").iter_rows()))
    rates = [rate(*one, 1_000, number % 50) for number, one in enumerate(campaigns) if number % 2]
    july = [rate(*one, 1_000, 900, "2026-07") for one in campaigns]
    return city, {
        "establishments": [publish(s3, "bronze/establishments/v=1/", city.establishments.to_dicts())],
        "campaigns": [publish(s3, "bronze/campaigns/v=1/", city.campaigns.to_dicts())],
        "campaign_ctr": [
            publish(s3, "gold/campaign_ctr/v=1/month=2026-07/", july),
            publish(s3, "gold/campaign_ctr/v=1/month=all/", rates),
        ],
        "location_records": [f"s3://{BUCKET}/bronze/location_records/v=1/"],
    }


def run(s3, monkeypatch, tables, **more):
    inputs = {"tables": tables, "zone": "UTC", **more}
    s3.put_object(Bucket=BUCKET, Key="runs/1/inputs.json", Body=json.dumps(inputs))
    given = {"inputs": f"s3://{BUCKET}/runs/1/inputs.json", "report": f"s3://{BUCKET}/runs/1/report.json"}
    words = [word for name, value in {**given, "lake": BUCKET}.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["offer_reference.py", *words, "--version", "1", "--engine", "polars"])
    offer_reference.main()
    return json.load(s3.get_object(Bucket=BUCKET, Key="runs/1/report.json")["Body"])


def test_the_job_writes_what_the_function_reads_and_only_if_it_changed(s3, monkeypatch):
    city, tables = published(s3)
    report = run(s3, monkeypatch, tables)
    assert report["uri"] == f"s3://{BUCKET}/reference/establishments.jsonl.gz"
    assert report["changed"]
    assert (report["ads"], report["unknown"], report["without_name"]) == (len(city.campaigns), 0, 0)
    assert report["establishments"] + report["without_ads"] == len(city.establishments)
    stored = s3.get_object(Bucket=BUCKET, Key="reference/establishments.jsonl.gz")
    data = stored["Body"].read()
    assert report["bytes"] == len(data)
    found = establishments.parse(data)
    assert {one.establishment_id for one in found} == set(city.campaigns["establishment_id"])
    assert any(one.ad.ctr_low > 0 for one in found)
    assert all(one.ad.ctr_low < 0.5 for one in found)  # July's are not the whole period's.

    assert not run(s3, monkeypatch, tables)["changed"]
    again = s3.get_object(Bucket=BUCKET, Key="reference/establishments.jsonl.gz")
    assert (again["LastModified"], again["Body"].read()) == (stored["LastModified"], data)


def test_without_a_table_the_old_file_stays(s3):
    _, tables = published(s3)
    build(s3, tables, BUCKET)
    before = s3.get_object(Bucket=BUCKET, Key=offer_reference.KEY)["Body"].read()
    given = {name: where for name, where in tables.items() if name != "campaign_ctr"}
    with pytest.raises(InputsError, match="--inputs lacks campaign_ctr"):
        build(s3, given, BUCKET)
    with pytest.raises(InputsError, match="no Parquet file of campaign_ctr below"):
        build(s3, {**given, "campaign_ctr": [f"s3://{BUCKET}/gold/campaign_ctr/v=2/"]}, BUCKET)
    for table in ("campaigns", "establishments"):
        assert build(s3, {**tables, table: []}, BUCKET) == {
            "changed": False,
            "left": f"no {table} have been delivered yet",
        }
    assert s3.get_object(Bucket=BUCKET, Key=offer_reference.KEY)["Body"].read() == before


def test_on_the_first_day_ads_have_no_rates(s3):
    city, tables = published(s3)
    report = build(s3, {**tables, "campaign_ctr": []}, BUCKET)
    assert (report["changed"], report["ads"], report["with_rate"]) == (True, len(city.campaigns), 0)
    data = s3.get_object(Bucket=BUCKET, Key=offer_reference.KEY)["Body"].read()
    assert {one.ad.ctr_low for one in establishments.parse(data)} == {0.0}


def test_of_two_runs_the_one_with_older_tables_leaves_the_file_to_the_other(s3, monkeypatch):
    _, tables = published(s3)
    note = f"s3://{BUCKET}/runs/published.json"

    def write(newest: str) -> dict:
        s3.put_object(Bucket=BUCKET, Key="runs/published.json", Body=json.dumps({"inputs": newest}))
        return run(s3, monkeypatch, tables, latest=note)

    older = write(f"s3://{BUCKET}/runs/2/inputs.json")
    assert older == {"changed": False, "left": "a newer run writes it"}
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=offer_reference.KEY)
    assert write(f"s3://{BUCKET}/runs/1/inputs.json")["changed"]
