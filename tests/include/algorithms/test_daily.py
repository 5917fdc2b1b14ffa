import numpy as np
import pytest

from include.algorithms import daily


def retail(series=200, days=365, seed=1):
    """Daily counts with weekdays, a slow season and overdispersion; one day in a hundred is made an anomaly."""
    rng = np.random.default_rng(seed)
    time = np.arange(days)
    season = 1 + 0.3 * np.sin(time / 58 + rng.uniform(0, 6, (series, 1)))
    weekday = np.exp(rng.normal(0, 0.4, (series, 7)))[:, time % 7]
    mean = np.exp(rng.normal(2.5, 1, (series, 1))) * weekday * season
    units = rng.poisson(rng.gamma(8, mean / 8)).astype(float)
    planted = rng.random(units.shape) < 0.01
    factor = np.where(rng.random(units.shape) < 0.7, rng.uniform(2, 5, units.shape), rng.uniform(0, 0.3, units.shape))
    return np.where(planted, np.round(units * factor), units), planted


def average_precision(planted, score):
    hit = planted[np.argsort(-score)]
    return float(np.mean((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit]))


def test_robust_holt_winters_finds_planted_days_better_than_the_baseline():
    units, planted = retail()
    precision = {
        name: average_precision(planted[:, 60:].ravel(), np.abs(score(units).score[:, 60:]).ravel())
        for name, score in daily.ENGINES.items()
    }
    assert precision["holt-winters"] > precision["reference"] + 0.08 > 0.35


@pytest.mark.parametrize("score", daily.ENGINES.values())
def test_a_score_depends_on_earlier_days_only(score):
    units, _ = retail(series=5, days=120)
    changed = units.copy()
    changed[:, 100:] = 10_000
    for before, after in zip(score(units), score(changed), strict=True):
        np.testing.assert_array_equal(before[:, :100], after[:, :100])
    assert (score(changed).score[:, 100] > 10).all()


@pytest.mark.parametrize("score", daily.ENGINES.values())
def test_series_side_by_side_are_scored_alone(score):
    units, _ = retail(series=2, days=100)
    block = np.full((2, 120), np.nan)
    block[0, :100] = units[0]
    block[1, :100] = units[1]
    np.testing.assert_allclose(score(block).score[0, :100], score(units[:1]).score[0])
    assert np.isnan(score(block).score[:, 100:]).all()


@pytest.mark.parametrize("score", daily.ENGINES.values())
def test_constant_short_and_empty_series(score):
    assert np.isnan(score(np.ones((1, daily.WARM_UP))).score).all()
    assert score(np.zeros((0, 50))).score.shape == (0, 50)
    constant = score(np.full((1, 60), 7.0))
    np.testing.assert_allclose(constant.expected[0, 28:], 7.0)
    np.testing.assert_allclose(constant.score[0, 28:], 0, atol=1e-9)
    assert (constant.scale[0, 28:] > 0).all()


def test_weekdays_are_learnt_and_an_anomaly_does_not_become_the_habit():
    week = np.array([10, 12, 14, 16, 30, 60, 0.0])
    units = np.tile(week, 20)[None]
    units[0, 70] = 2000
    scored = daily.robust_holt_winters(units)
    np.testing.assert_allclose(scored.expected[0, 28:70], np.tile(week, 6), atol=1e-6)
    assert scored.score[0, 70] > 20
    np.testing.assert_allclose(scored.expected[0, 71:84], np.tile(week, 20)[71:84], atol=5)
