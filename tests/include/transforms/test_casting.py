from datetime import date, datetime
from decimal import Decimal

import narwhals as nw
import polars as pl
import pytest

from include.transforms import casting


def read(engine, kind, values, dtype=pl.String):
    rows = engine.take(pl.DataFrame({"id": range(len(values)), "raw": pl.Series(values, dtype=dtype)}))
    value = kind.read(nw.col("raw"), rows.collect_schema()["raw"])
    made = engine.give(rows.select("id", value.alias("value")))
    return made.sort("id")["value"].to_list()


MONEY = {
    "12.90": Decimal("12.90"),
    " 5 ": Decimal("5.00"),
    "-0.5": Decimal("-0.50"),
    "7.1000": Decimal("7.10"),
    "9999999999999999.99": Decimal("9999999999999999.99"),
    **dict.fromkeys(["12,90", "1.005", "abc", "1e3", "99999999999999999", "NaN", ".5", ""]),
}
INTEGERS = {"7": 7, " -12 ": -12, "007": 7, **dict.fromkeys(["1.0", "one", "", "9" * 19])}
NUMBERS = {"-23.5": -23.5, "1e-3": 0.001, "4": 4.0, **dict.fromkeys(["NaN", "inf", "1,5", "x", "1e999"])}
ZIPS = {"1037": "01037", " 01037": "01037", "99999": "99999", **dict.fromkeys(["123456", "0103A", "-1", ""])}
TIMES = {
    "2017-10-02 10:56:33": datetime(2017, 10, 2, 10, 56, 33),
    " 2017-10-02T10:56:33.123 ": datetime(2017, 10, 2, 10, 56, 33),
    "2016-02-29": datetime(2016, 2, 29),
    "2000-02-29 00:00:00": datetime(2000, 2, 29),
    **dict.fromkeys(["2017-02-29", "1900-02-29", "2018-02-30 10:00:00", "2018-13-01", "2018-04-31", "31/12/2017"]),
    **dict.fromkeys(["2018-01-01 24:00:00", "2018-01-01 10:60:00", "2018-01-01 10:00", "", "today"]),
}


@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        (casting.MONEY, MONEY),
        (casting.INTEGER, INTEGERS),
        (casting.NUMBER, NUMBERS),
        (casting.ZIP_PREFIX, ZIPS),
        (casting.WALL_TIME, TIMES),
        (casting.LOWERCASE, {" São PAULO ": "são paulo", "  ": None, "": None}),
    ],
    ids=["money", "integer", "number", "zip", "wall time", "lower case"],
)
def test_text_is_read_or_null(engine, kind, cases):
    assert dict(zip(cases, read(engine, kind, list(cases)), strict=True)) == cases


def test_floats_are_rounded_to_the_nearest_cent(engine):
    floats = [109.9, 0.1 + 0.2, 1e16, float("nan"), float("inf"), None, -3.995]
    rounded = [Decimal("109.90"), Decimal("0.30"), None, None, None, None]
    assert read(engine, casting.MONEY, floats, pl.Float64)[:6] == rounded


@pytest.mark.parametrize("cents", range(0, 100_000, 7919))
def test_every_cent_survives_a_float(cents):
    amounts = pl.DataFrame({"raw": [(cents + step) / 100 for step in range(7919)]})
    made = amounts.select(
        nw.to_native(nw.from_native(amounts).select(casting.MONEY.read(nw.col("raw"), nw.Float64())))["raw"]
    )
    assert made["raw"].to_list() == [Decimal(cents + step) / 100 for step in range(7919)]


def test_floats_are_integers_when_whole(engine):
    floats = [55.0, 55.5, float("nan"), None, 1e300]
    assert read(engine, casting.INTEGER, floats, pl.Float64) == [55, None, None, None, None]


def test_numbers_are_zip_prefixes(engine):
    assert read(engine, casting.ZIP_PREFIX, [1037, 99999, 123456, -1, None], pl.Int64) == [
        "01037",
        "99999",
        *[None] * 3,
    ]


def test_days_are_midnights(engine):
    assert read(engine, casting.WALL_TIME, [date(2018, 1, 2), None], pl.Date) == [datetime(2018, 1, 2), None]


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        (casting.MONEY, nw.Boolean(), "money can't be read from a column of type Boolean"),
        (
            casting.MONEY,
            nw.Decimal(18, 4),
            r"money can't be read from a column of type Decimal\(precision=18, scale=4\)",
        ),
        (casting.TEXT, nw.Float64(), "text can't be read"),
        (casting.WALL_TIME, nw.Int64(), "a timestamp can't be read"),
        (casting.WALL_TIME, nw.Datetime("us", "UTC"), "time zone UTC; bronze holds wall times"),
        (casting.INTEGER, nw.Date(), "an integer can't be read"),
        (casting.NUMBER, nw.Date(), "a number can't be read"),
        (casting.ZIP_PREFIX, nw.Float64(), "a zip prefix can't be read"),
    ],
)
def test_other_types_are_errors(kind, dtype, message):
    with pytest.raises(TypeError, match=message):
        kind.read(nw.col("raw"), dtype)
