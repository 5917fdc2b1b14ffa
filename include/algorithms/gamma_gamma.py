"""The Gamma-Gamma model of money per purchase: each customer has a mean of their own, drawn from a common distribution.

The money of a purchase is Gamma(p, ν) with ν ~ Gamma(q, γ) per customer, independent of how often one buys. Known of a
customer are x purchases and their mean m.

Reference: P. S. Fader, B. G. S. Hardie, "The Gamma-Gamma Model of Monetary Value", 2013: likelihood (1a), conditional
expectation (5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, psi

from include.algorithms.bgnbd import ConvergenceError

Floats = NDArray[np.float64]

# As for the BG/NBD model: bounds of the logarithms, money scaled to a mean of 1; p → ∞ where one customer's purchases
# do not vary, q → ∞ where customers do not differ.
_BOUND = 12.0
_STARTS = ((2.0, 4.0, 2.0), (1.0, 2.0, 1.0), (10.0, 10.0, 1.0), (0.5, 1.5, 1.0), (100.0, 100.0, 1.0))
_GRADIENT = 1e-5


@dataclass(frozen=True)
class GammaGamma:
    """A Gamma-Gamma model; money is in the unit of the data it was fitted on.

    Attributes:
        p: shape of the money of one customer's purchases.
        q, gamma: shape and rate (money) of the distribution of ν over customers.
        log_likelihood: of the data it was fitted on.
    """

    p: float
    q: float
    gamma: float
    log_likelihood: float = float("nan")

    @property
    def population_mean(self) -> float:
        """Expected money per purchase of a customer nothing is known of; infinite where q ≤ 1."""
        return self.p * self.gamma / (self.q - 1) if self.q > 1 else math.inf

    def expected_average_value(self, frequency: ArrayLike, monetary: ArrayLike) -> Floats:
        """E(mean money per purchase | x, m), equation (5): population mean and own mean, weighted; x = 0: the former.

        Args:
            frequency: (n,) x.
            monetary: (n,) m, of any value where x = 0.
        """
        x, m = np.asarray(frequency, dtype=float), np.asarray(monetary, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = self.p * (self.gamma + x * m) / (self.p * x + self.q - 1)
        return np.where(x == 0, self.population_mean, expected)


class Likelihood:
    """The log-likelihood of the Gamma-Gamma model and its gradient; gamma functions once per distinct x."""

    def __init__(self, frequency: Floats, monetary: Floats) -> None:
        self.customers = len(frequency)
        self._x, x_of = np.unique(frequency, return_inverse=True)
        self._n = np.bincount(x_of).astype(float)
        self._frequency = frequency
        self._total = frequency * monetary
        self._log_m = np.log(monetary).sum()
        self._x_log_m = frequency @ np.log(monetary)

    def __call__(self, p: float, q: float, gamma: float) -> tuple[float, Floats]:
        """Log-likelihood and its derivatives by p, q and γ."""
        N, x, n = self.customers, self._x, self._n
        px = p * x
        log_sum = np.log(gamma + self._total)
        x_log_sum = self._frequency @ log_sum
        all_log_sum = log_sum.sum()
        inverse = 1 / (gamma + self._total)
        value = (
            n @ (gammaln(px + q) - gammaln(px) + px * np.log(x))
            + N * (q * np.log(gamma) - gammaln(q))
            + p * self._x_log_m
            - self._log_m
            - p * x_log_sum
            - q * all_log_sum
        )
        by_p = n @ (x * (psi(px + q) - psi(px) + np.log(x))) + self._x_log_m - x_log_sum
        by_q = n @ psi(px + q) + N * (np.log(gamma) - psi(q)) - all_log_sum
        by_gamma = N * q / gamma - p * (self._frequency @ inverse) - q * inverse.sum()
        return float(value), np.array([by_p, by_q, by_gamma])


def fit(frequency: ArrayLike, monetary: ArrayLike) -> GammaGamma:
    """The model of greatest likelihood.

    Args:
        frequency: (n,) purchases x behind the mean, whole numbers ≥ 1: customers with repeat purchases only.
        monetary: (n,) mean money m of these purchases, > 0.

    Raises:
        ValueError: the data contradict these definitions.
        ConvergenceError: no start led to a maximum; the likelihood has none where all means are equal.
    """
    x, m = np.asarray(frequency, dtype=float), np.asarray(monetary, dtype=float)
    if len(x) != len(m) or not len(x):
        raise ValueError("frequency and monetary need the same length, 1 or more")
    if not ((x >= 1).all() and (x == np.floor(x)).all()):
        raise ValueError("frequency must be whole numbers of 1 or more: leave customers without repeat purchase out")
    if not ((m > 0).all() and np.isfinite(m).all()):
        raise ValueError("monetary must be above 0")
    unit = m.mean()
    likelihood = Likelihood(x, m / unit)

    def objective(logarithms: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logarithms)
        value, gradient = likelihood(*parameters)
        return -value / likelihood.customers, -gradient * parameters / likelihood.customers

    for start in _STARTS:
        found = minimize(
            objective,
            np.log(start),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-_BOUND, _BOUND)] * 3,
            options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-7},
        )
        step = found.x - np.clip(found.x - found.jac, -_BOUND, _BOUND)
        if np.isfinite(found.fun) and np.abs(step).max() < _GRADIENT:
            p, q, gamma = (float(value) for value in np.exp(found.x))
            log_likelihood = -found.fun * likelihood.customers - likelihood.customers * np.log(unit)
            return GammaGamma(p, q, gamma * float(unit), float(log_likelihood))
    raise ConvergenceError(f"the Gamma-Gamma model did not converge on {len(x)} customers: look for garbled amounts")
