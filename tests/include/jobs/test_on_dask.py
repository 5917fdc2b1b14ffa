"""What is Dask's own: partitions, types, and the scheduler that it is told of."""

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from include.jobs import engine, on_dask

pytest.importorskip("distributed", reason="Dask is not installed: dependency group dask")


@pytest.fixture
def on():
    with engine.chosen("dask") as chosen:
        yield chosen


def test_partitions_are_row_groups_put_together_and_not_split(on, tmp_path):
    for number, (rows, group) in enumerate([(4, 4), (4, 2), (0, 1), (1, 1), (9, 9)]):
        pl.DataFrame({"n": range(rows)}, schema={"n": pl.Int64}).write_parquet(
            tmp_path / f"{number}.parquet", row_group_size=group
        )
    on.rows = 6
    rows = on.read([f"{tmp_path}/"]).to_native()
    assert rows.map_partitions(len, meta=("n", int)).compute().tolist() == [6, 3, 9]
    assert rows["n"].sum().compute() == 6 + 6 + 0 + 36


def test_whole_numbers_stay_whole_where_some_are_missing(on):
    ids = on.take(pa.table({"id": [1, 2, 3]}))
    found = on.take(pa.table({"id": [1, 3], "visits": pa.array([2**60 + 1, None], pa.int64())}))
    joined = ids.join(found, on="id", how="left").sort("id")
    assert joined.collect_schema()["visits"] == nw.Int64
    assert joined.collect("pyarrow").to_native()["visits"].to_pylist() == [2**60 + 1, None, None]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere"])
def test_a_scheduler_that_is_not_there_is_named(address, monkeypatch):
    monkeypatch.setattr(on_dask, "CONNECT_SECONDS", 0.5)
    reason = f"--dask-scheduler {address}: no scheduler answers"
    with pytest.raises(ConnectionError, match=reason), engine.chosen("dask", address):
        pass
