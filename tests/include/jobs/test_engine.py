"""All engines read and write the same."""

import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from include.jobs import engine, totals
from include.jobs.on_dask import OnDask
from tests.include.transforms.conftest import spark  # noqa: F401 - a fixture

SCHEMA = pa.schema(
    [("id", pa.int64()), ("day", pa.date32()), ("at", pa.timestamp("us")), ("price", pa.decimal128(18, 2))]
)


@pytest.fixture(params=engine.ENGINES)
def on(request):
    if request.param == "spark":
        request.getfixturevalue("spark")
    with engine.chosen(request.param) as chosen:
        if isinstance(chosen, OnDask):
            chosen.rows = 2  # several partitions, as of real tables
        yield chosen


@pytest.fixture
def place(tmp_path):
    return lambda name: f"{tmp_path}/{name}/"


@pytest.fixture
def sales(tmp_path):
    """Location of a file with sales of three days, in no order."""
    rows = pl.DataFrame({"id": [7, 1, 5, 3, 2, 6]}).with_columns(
        pl.date(2018, 1, pl.col("id") % 3 + 1).alias("sold_on"), pl.lit("1.10").cast(pl.Decimal(18, 2)).alias("price")
    )
    (tmp_path / "sales").mkdir()
    rows.write_parquet(tmp_path / "sales" / "a.parquet", row_group_size=2)
    return f"{tmp_path}/sales/"


def paths(location):
    """All files but Hadoop's checksums, which are only written on this machine's file system."""
    return sorted(file for file in Path(location).rglob("*.*") if file.is_file() and file.suffix != ".crc")


def collected(frame):
    # narwhals hands out the index of pandas too, where the rows were in several partitions.
    return pl.from_arrow(frame.collect("pyarrow").to_native()).drop("__index_level_0__", strict=False)


def test_days_are_one_sorted_file_each(on, place, sales):
    made = on.write_days(on.read([sales]), place("made"), "sold_on", ["id"])
    files = paths(place("made"))
    assert [file.parent.name for file in files] == ["day=2018-01-01", "day=2018-01-02", "day=2018-01-03"]
    assert all(file.suffix == ".parquet" for file in files)
    rows = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    assert [part["id"].to_list() for part in rows] == [[3, 6], [1, 7], [2, 5]]
    assert all(part.columns == ["id", "sold_on", "price"] for part in rows)
    assert sorted(collected(made)["id"]) == [1, 2, 3, 5, 6, 7]
    assert collected(made).columns == ["id", "sold_on", "price"]


def test_a_sorted_table_is_one_file(on, place, sales):
    on.write_sorted(on.read([sales]), place("made"), ["id"])
    (file,) = paths(place("made"))
    assert pl.read_parquet(file)["id"].to_list() == [1, 2, 3, 5, 6, 7]


def test_what_is_written_is_read_again(on, place, sales):
    rows = on.read([sales])
    on.write(rows.filter(nw.col("id") < 3), place("few"))
    on.write(rows.filter(nw.col("id") < 0), place("none"))
    assert sorted(collected(on.read([place("few")]))["id"]) == [1, 2]
    assert collected(on.read([place("none")])).height == 0


def test_columns_are_those_of_the_schema(on, tmp_path):
    row = {"id": [1], "at": [datetime(2018, 1, 2, 3)], "price": pl.Series(["2.50"]).cast(pl.Decimal(18, 2)), "new": [9]}
    for name, extra in (("old", {}), ("now", {"day": [date(2018, 1, 2)]})):
        (tmp_path / name / "v=1").mkdir(parents=True)
        pl.DataFrame({**row, **extra}).write_parquet(tmp_path / name / "v=1" / "a.parquet")
    rows = collected(on.read([f"{tmp_path}/{name}/v=1/" for name in ("old", "now")], SCHEMA))
    assert rows.columns == SCHEMA.names
    assert sorted(rows["day"].to_list(), key=str) == [date(2018, 1, 2), None]
    assert rows["at"].to_list() == [datetime(2018, 1, 2, 3)] * 2


def test_nothing_to_read_is_a_frame_of_the_schema(on):
    rows = on.read([], SCHEMA)
    assert collected(rows).height == 0
    assert rows.collect_schema()["at"] == nw.Datetime("us")
    assert rows.collect_schema()["price"] == nw.Decimal(18, 2)


def test_totals(on, sales):
    rows = on.read([sales])
    assert totals.of(rows, ["price"]) == (6, {"price": str(Decimal("6.60"))})
    assert totals.of(rows.filter(nw.col("id") < 0), ["price"]) == (0, {"price": "0.00"})
    assert totals.by(rows, "sold_on") == {"2018-01-01": 2, "2018-01-02": 2, "2018-01-03": 2}


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("VITRINE_ENGINE", "pandas")
    with pytest.raises(ValueError, match="--engine pandas: it must be polars, dask or spark"), engine.chosen():
        pass
    monkeypatch.setenv("VITRINE_ENGINE", "dask")
    with engine.chosen() as chosen:
        assert chosen.name == "dask"
    with engine.chosen("polars") as chosen:
        assert chosen.name == "polars"
    monkeypatch.delenv("VITRINE_ENGINE")
    with engine.chosen() as chosen:
        assert chosen.name == "polars"


@pytest.mark.parametrize(("name", "library"), [("dask", "dask"), ("dask", "distributed"), ("polars", "polars")])
def test_an_engine_that_is_not_installed_is_named_with_what_helps(monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)  # As import has it for what can't be imported.
    wanted = rf"--engine {name}: {library} is not installed: .*GeoModules .*make \.venv/\.tests-installed"
    with pytest.raises(ModuleNotFoundError, match=wanted), engine.chosen(name, "tcp://127.0.0.1:1"):
        pass


def test_hours_are_one_sorted_file_each(on, place):
    rows = pa.table(
        {
            "id": pa.array([4, 1, 3, 2], pa.int64()),
            "begin": pa.array([datetime(2026, 3, 1, 10, 0, 0, number) for number in range(4)], pa.timestamp("us")),
            "dt": pa.array([date(2026, 3, 1)] * 4),
            "hour": pa.array(["09", "09", "10", "10"]),
        }
    )
    on.write_hours(on.take(rows), place("made"), ["id"])
    files = paths(place("made"))
    assert [file.parent.name for file in files] == ["at=2026-03-01T09", "at=2026-03-01T10"]
    made = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    assert [part["id"].to_list() for part in made] == [[1, 4], [2, 3]]
    assert all(part.columns == rows.column_names for part in made)
    assert made[0]["begin"].to_list() == [datetime(2026, 3, 1, 10, 0, 0, 1), datetime(2026, 3, 1, 10)]


@pytest.fixture
def visits(tmp_path):
    """Location of a file with visits of two months and of both, in no order; of some it is not known how many."""
    numbers = [8, 3, 6, 1, 7, 2, 5, 4]
    rows = pl.DataFrame(
        {
            "place": [f"gym {number % 4}" for number in numbers],
            "visits": [None if number == 5 else number for number in numbers],
            "share": [number / 8 for number in numbers],
            "day": [date(2026, 7, number) for number in numbers],
            "month": [("2026-07", "all", "2026-08")[number % 3] for number in numbers],
        }
    )
    (tmp_path / "visits").mkdir()
    rows.write_parquet(tmp_path / "visits" / "a.parquet", row_group_size=3)
    return f"{tmp_path}/visits/"


def test_months_are_one_sorted_file_each(on, place, visits):
    rows = on.read([visits])
    on.write_months(rows, place("made"), ["place", "day"])
    on.write_months(rows.filter(nw.col("visits") > 99), place("none"), ["place", "day"])
    files = paths(place("made"))
    assert [file.parent.name for file in files] == ["month=2026-07", "month=2026-08", "month=all"]
    made = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    assert [part.schema for part in made] == [pl.read_parquet_schema(f"{visits}a.parquet")] * 3
    assert [part["visits"].to_list() for part in made] == [[6, 3], [8, None, 2], [4, 1, 7]]
    assert paths(place("none")) == []


def test_equal_rows_give_equal_bytes(on, place, visits):
    rows = on.read([visits])
    for name, order in (("one", rows), ("other", rows.sort("share"))):
        on.write_months(order, place(f"{name}-months"), ["place", "day"])
        on.write_days(order, place(f"{name}-days"), "day", ["place"])
        on.write_sorted(order, place(f"{name}-sorted"), ["day"])
    for kind in ("months", "days", "sorted"):
        ones, others = ([file.read_bytes() for file in paths(place(f"{name}-{kind}"))] for name in ("one", "other"))
        assert ones == others


def test_a_row_without_a_month_is_an_error(on, place, visits):
    rows = on.read([visits]).with_columns(nw.when(nw.col("visits") > 1).then(nw.col("month")).alias("month"))
    with pytest.raises(Exception, match="month is missing in some rows"):
        on.write_months(rows, place("made"), ["place", "day"])


def test_what_is_kept_outlives_its_files(on, visits):
    rows = on.persist(on.read([visits]).filter(nw.col("visits") > 2))
    assert collected(rows)["visits"].sum() == 3 + 4 + 6 + 7 + 8
    Path(visits, "a.parquet").unlink()
    assert sorted(collected(rows.select("share", "visits"))["visits"]) == [3, 4, 6, 7, 8]
