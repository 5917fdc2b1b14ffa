import io
from datetime import date, timedelta

import boto3
import polars as pl
import pytest

from local import geo
from local.aws import settings
from local.data import city
from local.lakehouse import LandError
from local.stack import LAKE, running

FIRST = date(2025, 7, 30)


@pytest.fixture(autouse=True)
def endpoint(stack, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.Settings(stack.state, running(stack.state).port))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return city.generate(tmp_path_factory.mktemp("city"), 0.002, start=FIRST, days=4, establishments=100)


def landed(key: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(boto3.client("s3").get_object(Bucket=LAKE, Key=key)["Body"].read()))


@pytest.mark.parametrize(
    ("by", "days"), [("month", ["2025-08-01", "2025-09-01"]), ("day", [str(FIRST + timedelta(n)) for n in range(1, 5)])]
)
def test_a_city_lands_whole_in_deliveries_that_come_after_their_last_day(made, by, days):
    keys = geo.land(made.directory, by)
    names = ["establishments", "campaigns", "locations", "interactions"]
    wanted = [f"landing/geo/{day}/{name}.parquet" for day in days for name in (names if day == days[0] else names[2:])]
    assert keys == wanted
    for table in city.TABLES:
        parts = [landed(key) for key in keys if key.endswith(f"/{table}.parquet")]
        assert pl.concat(parts).sort(pl.all()).equals(pl.read_parquet(made.file(table)).sort(pl.all()))
    for day in days:
        moments = landed(f"landing/geo/{day}/locations.parquet")["moment"].dt.offset_by("-3h").dt.date()
        first = date.fromisoformat(day) - timedelta(1)
        assert moments.max() <= first
        assert moments.min() >= (first.replace(day=1) if by == "month" else first)
    assert boto3.client("s3").head_object(Bucket=LAKE, Key=geo.BASEMAP)["ContentLength"] > 1000


def test_a_folder_without_a_city_is_told(tmp_path):
    with pytest.raises(LandError, match=r"has no establishments\.parquet: `python -m local\.data\.city"):
        geo.land(tmp_path)


def test_a_scale_of_no_records_is_told(tmp_path):
    with pytest.raises(LandError, match="scale is 0"):
        geo.generate(tmp_path, 0)
