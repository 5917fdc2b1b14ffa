from __future__ import annotations

import warnings

import numpy as np
import pytest

from include.algorithms import bgnbd

HISTORY = ("x", "t_x", "T")


@pytest.fixture(scope="module")
def fitted(cdnow):
    return bgnbd.fit(*cdnow.select(HISTORY))


@pytest.fixture(scope="module")
def lifetimes_on_cdnow(cdnow):
    from lifetimes import BetaGeoFitter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return BetaGeoFitter().fit(*cdnow.select(HISTORY).to_pandas().to_numpy().T)


def simulated(age, model, seed=0):
    """x and t_x of customers of the given ages in a BG/NBD world, with continuous times."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, len(age))
    dropout = rng.beta(model.a, model.b, len(age))
    x, t_x = np.zeros(len(age)), np.zeros(len(age))
    alive = np.arange(len(age))
    while len(alive):
        upcoming = t_x[alive] + rng.exponential(1 / rate[alive])
        bought = upcoming < age[alive]
        alive = alive[bought]
        t_x[alive] = upcoming[bought]
        x[alive] += 1
        alive = alive[rng.random(len(alive)) >= dropout[alive]]
    return x, t_x


def test_cdnow_gives_the_published_parameters(fitted, cdnow):
    assert cdnow.height == 2357
    found = (fitted.r, fitted.alpha, fitted.a, fitted.b)
    assert found == pytest.approx((0.2426, 4.4136, 0.7929, 2.4259), abs=6e-5)
    assert fitted.log_likelihood == pytest.approx(-9582.4292, abs=5e-4)


def test_fit_agrees_with_lifetimes(fitted, lifetimes_on_cdnow):
    found = (fitted.r, fitted.alpha, fitted.a, fitted.b)
    assert found == pytest.approx(tuple(lifetimes_on_cdnow.params_), rel=1e-4)


@pytest.mark.parametrize("horizon", [1.0, 39.0, 520.0])
def test_predictions_equal_lifetimes_at_the_same_parameters(lifetimes_on_cdnow, cdnow, horizon):
    model = bgnbd.BGNBD(*lifetimes_on_cdnow.params_)
    x, t_x, T = (cdnow[column].to_numpy() for column in HISTORY)
    expected = lifetimes_on_cdnow.conditional_expected_number_of_purchases_up_to_time(horizon, x, t_x, T)
    np.testing.assert_allclose(model.expected_purchases(horizon, x, t_x, T), expected, rtol=1e-8)
    alive = lifetimes_on_cdnow.conditional_probability_alive(x, t_x, T)
    np.testing.assert_allclose(model.probability_alive(x, t_x, T), alive, rtol=1e-12)


@pytest.mark.parametrize("parameters", [(0.24, 4.4, 0.8, 2.4), (3.0, 0.5, 0.05, 9.0), (0.9, 70.0, 0.01, 50.0)])
def test_gradient_is_the_slope_of_the_likelihood(cdnow, parameters):
    x, t_x, T = (cdnow[column].to_numpy() for column in HISTORY)
    likelihood = bgnbd.Likelihood(x, t_x, T, np.ones(len(x)))
    _, gradient = likelihood(*parameters)
    for position, value in enumerate(parameters):
        step = np.zeros(4)
        step[position] = 1e-5 * value
        above, below = likelihood(*(parameters + step))[0], likelihood(*(parameters - step))[0]
        assert gradient[position] == pytest.approx((above - below) / (2e-5 * value), rel=1e-4, abs=1e-3)


def test_likelihood_of_patterns_with_weights_is_that_of_the_customers(cdnow):
    columns = [cdnow[column].to_numpy() for column in HISTORY]
    patterns, weights = np.unique(np.column_stack(columns), axis=0, return_counts=True)
    assert len(patterns) < cdnow.height
    one = bgnbd.Likelihood(*columns, np.ones(cdnow.height))(0.3, 4.0, 0.7, 2.0)
    other = bgnbd.Likelihood(*patterns.T, weights.astype(float))(0.3, 4.0, 0.7, 2.0)
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-9)


def test_parameters_of_a_simulated_world_are_recovered():
    truth = bgnbd.BGNBD(0.6, 5.0, 0.9, 2.5)
    age = np.random.default_rng(0).uniform(10, 60, 60_000)  # Patterns enough for a search that starts from a sample.
    found = bgnbd.fit(*simulated(age, truth), age)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((truth.r, truth.alpha, truth.a, truth.b), rel=0.06)


def test_a_newcomer_is_expected_to_buy_what_newcomers_of_a_simulated_world_buy():
    model = bgnbd.BGNBD(0.6, 5.0, 0.9, 2.5)
    bought, _ = simulated(np.full(200_000, 30.0), model)
    assert model.expected_purchases(30.0, [0.0], [0.0], [0.0])[0] == pytest.approx(bought.mean(), rel=0.02)


def test_both_ways_to_the_hypergeometric_function_agree():
    model = bgnbd.BGNBD(0.6, 50.0, 0.9, 2.5)
    x, T, horizon = 7.0, 300.0, 360.0
    c, z = model.a + model.b + x - 1, horizon / (model.alpha + T + horizon)
    by_sum = bgnbd._negative_binomial_mean(model.r + x, z, model.b + x, c)
    expected = c / (model.a - 1) * (1 - by_sum) * model.probability_alive([x], [300.0], [T])
    assert model.expected_purchases(horizon, [x], [300.0], [T]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("a", [1.0, 0.5, 3.0])
def test_predictions_stay_finite_for_the_most_loyal_and_at_a_of_one(a):
    model = bgnbd.BGNBD(0.5, 10.0, a, 2.0)
    x = np.array([0.0, 5.0, 300.0, 5000.0])
    expected = model.expected_purchases(360.0, x, np.where(x > 0, 365.0, 0.0), np.full(4, 365.0))
    assert np.isfinite(expected).all()
    assert (np.diff(expected) > 0).all()


def test_no_drop_out_at_all_is_a_limit_not_a_failure():
    rng = np.random.default_rng(3)
    rate = rng.gamma(2.0, 1 / 20.0, 2000)
    x = rng.poisson(rate * 52.0).astype(float)
    t_x = np.where(x > 0, 52.0 * rng.beta(np.maximum(x, 1), 1), 0.0)
    found = bgnbd.fit(x, t_x, np.full(2000, 52.0))
    assert found.a / (found.a + found.b) < 0.01
    assert found.r / found.alpha == pytest.approx(0.1, rel=0.1)


def test_customers_who_are_all_alike_can_be_fitted():
    found = bgnbd.fit(np.full(50, 4.0), np.full(50, 80.0), np.full(50, 100.0))
    expected = found.expected_purchases(100.0, [4.0], [80.0], [100.0])
    assert 0 < expected[0] < 10


@pytest.mark.parametrize(
    ("x", "t_x", "T", "message"),
    [
        ([0.0], [0.0], [10.0], "nobody bought again"),
        ([1.5], [5.0], [10.0], "whole numbers"),
        ([1.0], [11.0], [10.0], "between 0 and age"),
        ([0.0, 1.0], [5.0, 5.0], [10.0, 10.0], "recency must be 0"),
        ([1.0], [np.nan], [10.0], "not finite"),
        ([1.0, 2.0], [5.0], [10.0], "differ in length"),
    ],
)
def test_data_against_the_definitions_are_refused(x, t_x, T, message):
    with pytest.raises(ValueError, match=message):
        bgnbd.fit(x, t_x, T)
