"""The same rows come out of every geo transform on Polars, on Dask and on Spark."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from local.data import city
from tests.include.transforms.city import Analyses, read
from tests.include.transforms.conftest import on_dask, on_polars

FIRST = ("locations", "visits", "stays", "touches", "attributed", "ctr")
OTHERS = (
    "visits_by_establishment",
    "attribution",
    "active_days",
    "lift",
    "people_compared",
    "published_ctr",
    "attractiveness",
    "interaction_profile",
    "visit_profile",
)
"""What is compared by `make test-long`: Dask plans for seconds, Spark compiles."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A few days on both sides of the end of a month."""
    made = city.generate(tmp_path_factory.mktemp("city"), 0.008, start=city.date(2026, 7, 29), days=6)
    return read(made)


@pytest.fixture(scope="module")
def polars(tables):
    return Analyses(on_polars(), tables).build().build_others().made


@pytest.fixture(scope="module")
def dask(tables):
    return Analyses(on_dask(), tables).build()


@pytest.fixture(scope="module")
def sparks(tables, spark):
    return Analyses(spark, tables).build()


@pytest.fixture(scope="module")
def all_of_dask(dask):
    return dask.build_others().made


@pytest.fixture(scope="module")
def all_of_spark(sparks):
    return sparks.build_others().made


def same(made: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert expected.height > 20
    # Dask has floats instead of whole numbers where some are missing.
    made = made.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
    keys = [name for name, dtype in expected.schema.items() if dtype != pl.Float64]
    assert_frame_equal(made.sort(keys), expected.sort(keys), rel_tol=1e-9, abs_tol=1e-9)


def test_every_analysis_is_compared(polars):
    assert polars.keys() == {*FIRST, *OTHERS, "interactions"}
    assert polars["attributed"]["through"].drop_nulls().n_unique() == 2
    assert set(polars["ctr"]["month"]) == {"2026-07", "2026-08", "all"}


@pytest.mark.long
@pytest.mark.parametrize("analysis", FIRST)
def test_dask_gives_what_polars_gives(dask, polars, analysis):
    same(dask.made[analysis], polars[analysis])


@pytest.mark.parametrize("analysis", FIRST)
def test_spark_gives_what_polars_gives(sparks, polars, analysis):
    same(sparks.made[analysis], polars[analysis])


@pytest.mark.long
@pytest.mark.parametrize("analysis", OTHERS)
def test_dask_gives_all_that_polars_gives(all_of_dask, polars, analysis):
    same(all_of_dask[analysis], polars[analysis])


@pytest.mark.long
@pytest.mark.parametrize("analysis", OTHERS)
def test_spark_gives_all_that_polars_gives(all_of_spark, polars, analysis):
    same(all_of_spark[analysis], polars[analysis])
