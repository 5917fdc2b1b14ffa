from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import narwhals as nw
import polars as pl
import pytest

from include.transforms.local_time import END, FIRST, day_number, minute_number, to_local, to_utc
from tests.include.transforms.conftest import on_dask

# Summer time in São Paulo began on 2017-10-15 at 00:00 (no such hour) and ended on 2018-02-18 at 00:00 (23 h twice).
DOUBTFUL = [
    datetime(2017, 10, 14, 23, 59, 59, 999_999),
    datetime(2017, 10, 15, 0, 0),
    datetime(2017, 10, 15, 0, 59, 59),
    datetime(2017, 10, 15, 1, 0),
    datetime(2018, 2, 17, 22, 59, 59),
    datetime(2018, 2, 17, 23, 0),
    datetime(2018, 2, 17, 23, 59, 59),
    datetime(2018, 2, 18, 0, 0),
]


def as_python_has_it(wall_time: datetime, zone: str) -> datetime:
    """UTC by the standard library, with fold=0."""
    return wall_time.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC")).replace(tzinfo=None)


def test_doubtful_hours_are_read_as_python_reads_them(engine):
    wall_times = [*DOUBTFUL, None, FIRST, END - timedelta(microseconds=1)]
    rows = engine.take(pl.DataFrame({"at": wall_times}, schema={"at": pl.Datetime("us")}))
    utc = engine.give(rows.select("at", to_utc(nw.col("at"), "America/Sao_Paulo").alias("utc")))
    assert dict(utc.rows()) == {at: at and as_python_has_it(at, "America/Sao_Paulo") for at in wall_times}


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Europe/Lisbon", "Africa/Casablanca", "Asia/Kolkata", "UTC"])
def test_every_hour_of_all_the_years_is_pythons(zone):
    hours = pl.DataFrame({"at": pl.datetime_range(FIRST, END, "97m", closed="left", eager=True)})
    utc = nw.from_native(hours).with_columns(to_utc(nw.col("at"), zone).alias("utc")).to_native()
    assert utc["utc"].to_list() == [as_python_has_it(at, zone) for at in utc["at"]]


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Europe/Lisbon", "America/Fortaleza", "Asia/Kolkata"])
def test_wall_times_of_all_the_years_are_pythons(zone):
    hours = pl.DataFrame({"at": pl.datetime_range(FIRST, END, "97m", closed="left", eager=True)})
    local = nw.from_native(hours).with_columns(to_local(nw.col("at"), zone).alias("local")).to_native()
    expected = [at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in local["at"]]
    assert local["local"].to_list() == expected


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "America/Fortaleza"])
def test_wall_times_are_the_same_on_each_engine(engine, zone):
    check_wall_times(engine, zone)


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "America/Fortaleza"])
def test_wall_times_are_the_same_on_dask(zone):
    check_wall_times(on_dask(), zone)


def check_wall_times(engine, zone):
    instants = [as_python_has_it(at, "America/Sao_Paulo") + timedelta(minutes=m) for at in DOUBTFUL for m in (0, 60)]
    rows = engine.take(pl.DataFrame({"at": instants}, schema={"at": pl.Datetime("us")}))
    local = engine.give(rows.select("at", to_local(nw.col("at"), zone).alias("local")))
    assert set(local.rows()) == {
        (at, at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for at in instants
    }


def test_minutes_are_counted():
    at = [datetime(1, 1, 1, 0, 1, 59), datetime(2026, 2, 28, 23, 59, 59, 999_999)]
    rows = nw.from_native(pl.DataFrame({"at": at})).select(minute_number(nw.col("at"))).to_native()
    assert rows["at"].to_list() == [(moment - datetime(1, 1, 1)) // timedelta(minutes=1) + 1440 for moment in at]


def test_an_unknown_zone_is_an_error():
    with pytest.raises(ZoneInfoNotFoundError, match="Sao_Pedro"):
        to_utc(nw.col("at"), "America/Sao_Pedro")


def test_days_are_counted_as_python_counts_them(engine):
    days = [date(2016, 2, 29), date(2000, 12, 31), date(2001, 1, 1), date(2100, 3, 1), None]
    rows = engine.take(pl.DataFrame({"day": days}, schema={"day": pl.Date}))
    numbers = engine.give(rows.select("day", day_number(nw.col("day")).alias("number")))
    assert dict(numbers.rows()) == {day: day and day.toordinal() for day in days}
