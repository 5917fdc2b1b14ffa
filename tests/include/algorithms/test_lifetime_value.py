from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.algorithms import lifetime_value


@pytest.fixture(scope="module")
def customers(cdnow):
    """The CDNOW customers in days."""
    bought_again = cdnow.filter((pl.col("x") == 0) | (pl.col("m") > 0))
    return bought_again.select(
        frequency=pl.col("x").cast(pl.Int64),
        recency=pl.col("t_x") * 7,
        age=pl.col("T") * 7,
        monetary=pl.col("m").fill_null(0.0),
    )


@pytest.mark.parametrize("discount_rate", [0.0, 0.02])
def test_engines_agree_on_cdnow(customers, discount_rate):
    one, other = (
        engine(customers, 12, discount_rate) for engine in (lifetime_value.grouped, lifetime_value.with_lifetimes)
    )
    assert_frame_equal(one[0], other[0], rel_tol=1e-3)
    for model in ("bgnbd", "gamma_gamma"):
        assert one[1][model] == pytest.approx(other[1][model], rel=1e-3)
        assert one[1][model]["log_likelihood"] == pytest.approx(other[1][model]["log_likelihood"], rel=1e-9)
    assert one[1]["correlation_frequency_monetary"] == other[1]["correlation_frequency_monetary"]


def test_discount_lowers_the_value_and_nothing_else(customers):
    plain, discounted = (lifetime_value.grouped(customers, 12, rate)[0] for rate in (0.0, 0.05))
    assert (discounted["clv"] < plain["clv"]).all()
    assert (discounted["clv"] > plain["clv"] / 1.05**12).all()
    assert_frame_equal(plain.drop("clv"), discounted.drop("clv"))


def test_customers_of_one_past_have_one_prediction_in_the_order_given(customers):
    some = customers.sample(500, seed=1)
    predicted, _ = lifetime_value.grouped(pl.concat([customers, some]), 12, 0.0)
    key = ["frequency", "recency", "age", "monetary"]
    joined = pl.concat([customers, some]).hstack(predicted)
    assert joined.group_by(key).agg(pl.col("clv").n_unique())["clv"].max() == 1
    assert (joined.filter(pl.col("frequency") == 0)["p_alive"] == 1.0).all()


def test_a_longer_horizon_is_worth_more(customers):
    short, long = (lifetime_value.grouped(customers, months, 0.0)[0]["clv"] for months in (6, 12))
    assert (short < long).all()
    assert (long < 2 * short + 1e-9).all()  # Customers drop out.


@pytest.mark.parametrize("engine", [lifetime_value.grouped, lifetime_value.with_lifetimes])
@pytest.mark.parametrize("number", [1, 40])
def test_customers_who_are_all_alike_go_on_as_they_did(engine, number):
    past = {"frequency": 3, "recency": 150.0, "age": 200.0, "monetary": 10.0}
    predicted, fitted = engine(pl.DataFrame([past] * number), 12, 0.0)
    assert fitted["gamma_gamma"] is None
    assert predicted["expected_average_value"].unique().to_list() == [10.0]
    assert predicted["expected_purchases"].to_list() == pytest.approx([360 * 3 / 200] * number, rel=1e-4)


def test_a_search_that_fails_says_so(customers, monkeypatch):
    from include.algorithms import bgnbd

    monkeypatch.setattr(bgnbd, "_GRADIENT", 0.0)  # No gradient is that small.
    with pytest.raises(lifetime_value.ConvergenceError, match="BG/NBD model did not converge on"):
        lifetime_value.grouped(customers, 12, 0.0)
