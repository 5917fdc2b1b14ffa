from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

from include.algorithms import gamma_gamma


@pytest.fixture(scope="module")
def repeaters(cdnow):
    return cdnow.filter(pl.col("x") > 0, pl.col("m") > 0)


@pytest.fixture(scope="module")
def fitted(repeaters):
    return gamma_gamma.fit(repeaters["x"], repeaters["m"])


def test_cdnow_gives_the_published_parameters(fitted, repeaters):
    assert repeaters.height == 946
    assert (fitted.p, fitted.q, fitted.gamma) == pytest.approx((6.25, 3.74, 15.44), abs=6e-3)
    assert fitted.log_likelihood == pytest.approx(-4055.92, abs=6e-3)


def test_fit_and_expectation_agree_with_lifetimes(fitted, repeaters):
    from lifetimes import GammaGammaFitter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = GammaGammaFitter().fit(repeaters["x"].to_numpy(), repeaters["m"].to_numpy())
    assert (fitted.p, fitted.q, fitted.gamma) == pytest.approx(tuple(reference.params_), rel=1e-3)
    x, m = np.array([0.0, 1.0, 7.0]), np.array([0.0, 20.0, 60.0])
    model = gamma_gamma.GammaGamma(*reference.params_)
    expected = reference.conditional_expected_average_profit(x, m)
    np.testing.assert_allclose(model.expected_average_value(x, m), expected, rtol=1e-12)


@pytest.mark.parametrize("parameters", [(6.0, 4.0, 15.0), (0.5, 1.2, 80.0), (40.0, 30.0, 20.0)])
def test_gradient_is_the_slope_of_the_likelihood(repeaters, parameters):
    likelihood = gamma_gamma.Likelihood(repeaters["x"].to_numpy(), repeaters["m"].to_numpy())
    _, gradient = likelihood(*parameters)
    for position, value in enumerate(parameters):
        step = np.zeros(3)
        step[position] = 1e-5 * value
        above, below = likelihood(*(parameters + step))[0], likelihood(*(parameters - step))[0]
        assert gradient[position] == pytest.approx((above - below) / (2e-5 * value), rel=1e-4, abs=1e-3)


def test_parameters_of_a_simulated_world_are_recovered():
    rng = np.random.default_rng(0)
    p, q, gamma = 6.0, 4.0, 50.0
    x = rng.integers(1, 12, 40_000)
    mean = rng.gamma(p * x, 1 / (rng.gamma(q, 1 / gamma, len(x)) * x))
    found = gamma_gamma.fit(x, mean)
    assert (found.p, found.q, found.gamma) == pytest.approx((p, q, gamma), rel=0.05)
    assert found.population_mean == pytest.approx(p * gamma / (q - 1), rel=0.02)


def test_expectation_goes_from_population_to_own_mean_with_experience(fitted):
    found = fitted.expected_average_value([0, 1, 10, 1000], [0.0, 100.0, 100.0, 100.0])
    assert found[0] == pytest.approx(fitted.population_mean)
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(100.0, rel=0.01)


def test_the_unit_of_money_does_not_matter(repeaters, fitted):
    cents = gamma_gamma.fit(repeaters["x"], repeaters["m"] * 100)
    assert (cents.p, cents.q, cents.gamma / 100) == pytest.approx((fitted.p, fitted.q, fitted.gamma), rel=1e-5)


def test_the_population_mean_is_infinite_where_the_distribution_has_none():
    assert gamma_gamma.GammaGamma(2.0, 0.9, 10.0).population_mean == np.inf


@pytest.mark.parametrize(
    ("x", "m", "message"),
    [
        ([], [], "1 or more"),
        ([1], [1.0, 2.0], "same length"),
        ([0, 1], [1.0, 2.0], "leave customers without repeat purchase out"),
        ([1, 1], [1.0, 0.0], "above 0"),
        ([1, 1], [1.0, np.inf], "above 0"),
    ],
)
def test_data_against_the_definitions_are_refused(x, m, message):
    with pytest.raises(ValueError, match=message):
        gamma_gamma.fit(x, m)
