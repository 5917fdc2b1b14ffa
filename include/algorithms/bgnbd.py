"""The BG/NBD model of repeat purchases: customers buy at a rate of their own until, after some purchase, they drop out.

While alive a customer buys as a Poisson process of rate λ ~ Gamma(r, α); after each repeat purchase the customer drops
out with probability p ~ Beta(a, b). What is known of a customer is x repeat purchases, the time t_x of the last, and
the age T, all counted from the first purchase.

References:
    P. S. Fader, B. G. S. Hardie, K. L. Lee, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD
    Model", Marketing Science 24 (2), 2005: likelihood (6), expected purchases (10).
    P. S. Fader, B. G. S. Hardie, K. L. Lee, "Computing P(alive) Using the BG/NBD Model", 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, hyp2f1, psi

Floats = NDArray[np.float64]

# Bounds of the logarithms of the parameters, time scaled to a greatest age of 1. Where customers do not differ, the
# likelihood rises for ever towards a simpler model (r, α → ∞: one rate for all); here it has all but arrived.
_BOUND = 12.0
# Starts on the same scale. The likelihood of ordinary data has one maximum; the others are for flat or odd data.
_STARTS = ((1.0, 1.0, 1.0, 1.0), (0.3, 0.1, 0.5, 2.0), (3.0, 1.0, 0.1, 3.0), (10.0, 1.0, 1.0, 10.0))
# Greatest projected gradient of the mean log-likelihood that counts as a maximum.
_GRADIENT = 1e-5
# With more patterns than this the search starts from the maximum of a sample of as many customers' patterns.
_SAMPLE = 10_000


class ConvergenceError(RuntimeError):
    """No maximum of the likelihood was found."""


@dataclass(frozen=True)
class BGNBD:
    """A BG/NBD model; times are in the unit of the data it was fitted on.

    Attributes:
        r, alpha: shape and rate (in time units) of the gamma distribution of the purchase rate.
        a, b: parameters of the beta distribution of the drop-out probability.
        log_likelihood: of the data it was fitted on.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")

    def probability_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """P(not dropped out | x, t_x, T); 1 without repeat purchase, as one drops out only after those.

        Args:
            frequency: (n,) x.
            recency: (n,) t_x.
            age: (n,) T.
        """
        x, t_x, T = (np.asarray(values, dtype=float) for values in (frequency, recency, age))
        log_odds = (self.r + x) * np.log((self.alpha + T) / (self.alpha + t_x)) + np.log(
            self.a / (self.b + np.maximum(x, 1) - 1)
        )
        return np.where(x == 0, 1.0, expit(-log_odds))

    def expected_purchases(self, horizon: float, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """E(purchases in the next `horizon` | x, t_x, T), equation (10).

        The hypergeometric function is taken in Euler's form, with c = a+b+x−1
        ₂F₁(r+x, b+x; c; z) = (1−z)^(a−1−r−x) · ₂F₁(a+b−1−r, a−1; c; z):
        its first two arguments do not grow with x, so that loyal customers do not overflow it.

        Args:
            horizon: time from the end of the observation, in the unit of the model.
            frequency: (n,) x.
            recency: (n,) t_x.
            age: (n,) T.
        """
        x, T = np.asarray(frequency, dtype=float), np.asarray(age, dtype=float)
        # At a = 1 the formula is 0/0 with a finite limit.
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6
        c = a + self.b + x - 1
        z = horizon / (self.alpha + T + horizon)
        series = (1 - z) ** (a - 1) * hyp2f1(a + self.b - 1 - self.r, a - 1, c, z)
        for failed in np.argwhere(np.isnan(series)).ravel():
            series[failed] = _negative_binomial_mean(self.r + x[failed], z[failed], self.b + x[failed], c[failed])
        unconditional = c / (a - 1) * (1 - series)
        return unconditional * self.probability_alive(frequency, recency, age)


def _negative_binomial_mean(size: float, z: float, b: float, c: float) -> float:
    """(1 − z)^size · ₂F₁(size, b; c; z) as the mean of (b)_n / (c)_n over n ~ NegativeBinomial(size, 1 − z).

    Slow, but all terms are positive: it also holds where parameters in the thousands defeat `scipy.special.hyp2f1`.
    """
    mean = size * z / (1 - z)
    n = np.arange(int(mean + 12 * np.sqrt(mean / (1 - z)) + 60 / (1 - z) + 50))
    log_mass = gammaln(size + n) - gammaln(size) - gammaln(n + 1) + n * np.log(z) + size * np.log1p(-z)
    return float(np.exp(log_mass + gammaln(b + n) - gammaln(b) - gammaln(c + n) + gammaln(c)).sum())


class Likelihood:
    """The log-likelihood of the BG/NBD model and its gradient, on distinct (x, t_x, T) with weights.

    Everything that depends on x alone is computed once per distinct x, and logarithms of times once per distinct time;
    per pattern remain one exponential and one logarithm.
    """

    def __init__(self, frequency: Floats, recency: Floats, age: Floats, weights: Floats) -> None:
        repeat = frequency > 0
        self.customers = float(weights.sum())
        self._x, x_of = np.unique(frequency, return_inverse=True)
        self._by_x = np.bincount(x_of, weights)
        self._once_age, once_of = np.unique(age[~repeat], return_inverse=True)
        self._once = np.bincount(once_of, weights[~repeat], minlength=len(self._once_age))
        times, time_of = np.unique(np.concatenate([recency[repeat], age[repeat]]), return_inverse=True)
        self._times = times
        self._last, self._end = np.split(time_of, 2)
        self._repeat_x = frequency[repeat]
        self._x_of = x_of[repeat]
        self._weights = weights[repeat]

    def __call__(self, r: float, alpha: float, a: float, b: float) -> tuple[float, Floats]:
        """Log-likelihood and its derivatives by r, α, a and b."""
        x, n_x, N = self._x, self._by_x, self.customers
        several = x > 0
        value: Any = n_x @ (gammaln(r + x) - gammaln(r)) + N * r * np.log(alpha)
        value += n_x[several] @ (gammaln(a + b) + gammaln(b + x[several]) - gammaln(b) - gammaln(a + b + x[several]))
        by_r = n_x @ (psi(r + x) - psi(r)) + N * np.log(alpha)
        by_alpha: Any = N * r / alpha
        by_a = n_x[several] @ (psi(a + b) - psi(a + b + x[several]))
        by_b = n_x[several] @ (psi(a + b) + psi(b + x[several]) - psi(b) - psi(a + b + x[several]))

        # Customers without repeat purchase: they cannot have dropped out.
        log_once = np.log(alpha + self._once_age)
        value -= r * (self._once @ log_once)
        by_r -= self._once @ log_once
        by_alpha -= r * (self._once @ (1 / (alpha + self._once_age)))

        # The others are alive (first branch) or dropped out at their last purchase (second).
        log_time, inverse_time = np.log(alpha + self._times), 1 / (alpha + self._times)
        log_last, log_end = log_time[self._last], log_time[self._end]
        rate = r + self._repeat_x
        odds = np.log(a / (b + np.maximum(x, 1) - 1))[self._x_of] + rate * (log_end - log_last)
        dropped = expit(odds)
        # log(1 + e^odds), from the probability where it is exact, from the odds where it would be log 0.
        softplus = np.maximum(odds, 0) + np.log1p(np.exp(-np.abs(odds)))
        value += self._weights @ (softplus - rate * log_end)
        weighted = self._weights * dropped
        by_r += weighted @ (log_end - log_last) - self._weights @ log_end
        inverse_end = inverse_time[self._end]
        by_alpha += (weighted * rate) @ (inverse_end - inverse_time[self._last]) - (self._weights * rate) @ inverse_end
        by_x = np.bincount(self._x_of, weighted, minlength=len(x))
        by_a += weighted.sum() / a
        by_b -= by_x @ (1 / (b + np.maximum(x, 1) - 1))
        return float(value), np.array([by_r, by_alpha, by_a, by_b])


def fit(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> BGNBD:
    """The model of greatest likelihood.

    Args:
        frequency: (n,) repeat purchases x, whole numbers ≥ 0.
        recency: (n,) time t_x of the last purchase since the first, 0 where x = 0.
        age: (n,) time T since the first purchase, ≥ t_x.

    Raises:
        ValueError: the data contradict these definitions, or nobody bought again.
        ConvergenceError: no start led to a maximum.
    """
    x, t_x, T = (np.asarray(values, dtype=float) for values in (frequency, recency, age))
    _check(x, t_x, T)
    patterns = pl.DataFrame({"x": x, "t_x": t_x, "T": T}).group_by("x", "t_x", "T").len("weight").sort("x", "t_x", "T")
    x, t_x, T, weights = (patterns[column].to_numpy().astype(float) for column in patterns.columns)
    scale = 1 / T.max()
    starts: list[Any] = [np.log(start) for start in _STARTS]
    if len(x) > 4 * _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(x), _SAMPLE, replace=False)
        sample = Likelihood(x[chosen], t_x[chosen] * scale, T[chosen] * scale, weights[chosen])
        best = _maximum(sample, starts)
        starts = starts if best is None else [best.x, *starts]
    likelihood = Likelihood(x, t_x * scale, T * scale, weights)
    best = _maximum(likelihood, starts)
    if best is None:
        raise ConvergenceError(
            f"the BG/NBD model did not converge on {int(likelihood.customers)} customers: take a longer history"
        )
    r, alpha, a, b = np.exp(best.x)
    # A density of x purchase times gains the factor scale^x when time is measured in the data's unit again.
    log_likelihood = -best.fun * likelihood.customers + np.log(scale) * (weights @ x)
    return BGNBD(float(r), float(alpha / scale), float(a), float(b), float(log_likelihood))


def _maximum(likelihood: Likelihood, starts: list[Any]) -> Any:
    """The result from the first start that leads to a maximum, None if none does."""

    def objective(logarithms: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logarithms)
        value, gradient = likelihood(*parameters)
        return -value / likelihood.customers, -gradient * parameters / likelihood.customers

    for start in starts:
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-_BOUND, _BOUND)] * 4,
            options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-7},
        )
        # At a bound only the part of the gradient that leads inwards matters.
        step = found.x - np.clip(found.x - found.jac, -_BOUND, _BOUND)
        if np.isfinite(found.fun) and np.abs(step).max() < _GRADIENT:
            return found
    return None


def _check(x: Floats, t_x: Floats, T: Floats) -> None:
    if not len(x) == len(t_x) == len(T):
        raise ValueError("frequency, recency and age differ in length")
    for wrong, message in (
        (not (np.isfinite(x).all() and np.isfinite(t_x).all() and np.isfinite(T).all()), "there are values not finite"),
        ((x < 0).any() or (x != np.floor(x)).any(), "frequency must be whole numbers of 0 or more"),
        ((t_x < 0).any() or (t_x > T).any(), "recency must be between 0 and age"),
        ((t_x[x == 0] != 0).any(), "recency must be 0 where frequency is 0"),
        (not (x > 0).any(), "nobody bought again: the model cannot be fitted"),
    ):
        if wrong:
            raise ValueError(message)
