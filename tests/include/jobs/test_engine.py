"""Both engines read and write the same."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from include.jobs import engine, totals
from tests.include.transforms.conftest import spark  # noqa: F401 - a fixture

SCHEMA = pa.schema(
    [("id", pa.int64()), ("day", pa.date32()), ("at", pa.timestamp("us")), ("price", pa.decimal128(18, 2))]
)


@pytest.fixture(params=engine.ENGINES)
def on(request):
    if request.param == "spark":
        request.getfixturevalue("spark")
    with engine.chosen(request.param) as chosen:
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
    rows.write_parquet(tmp_path / "sales" / "a.parquet")
    return f"{tmp_path}/sales/"


def paths(location):
    """All files but Hadoop's checksums, which are only written on this machine's file system."""
    return sorted(file for file in Path(location).rglob("*.*") if file.is_file() and file.suffix != ".crc")


def collected(frame):
    return pl.from_arrow(frame.collect("pyarrow").to_native())


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
    monkeypatch.setenv("VITRINE_ENGINE", "dask")
    with pytest.raises(ValueError, match="--engine dask: it must be polars or spark"), engine.chosen():
        pass
    with engine.chosen("polars") as chosen:
        assert chosen.name == "polars"
    monkeypatch.delenv("VITRINE_ENGINE")
    with engine.chosen() as chosen:
        assert chosen.name == "polars"


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
