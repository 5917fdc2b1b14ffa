"""From the past of customers (`rfm.summary`) to what they are worth: two engines with the same definitions.

`grouped` fits our BG/NBD and Gamma-Gamma models and predicts once per distinct past; `with_lifetimes` is the package
lifetimes from fit to value, as reference. Both return one row per customer, in the order given,

- p_alive: probability of not having dropped out;
- expected_purchases: over the horizon;
- expected_average_value: money of a purchase. Without repeat purchase it is the population mean. Where that is infinite
  (q ≤ 1) it is the mean of all repeat purchases. Where all repeat customers spend the same it is what they spend:
  Gamma-Gamma has no maximum there;
- clv: Σ over months of purchases expected in the month · expected_average_value / (1 + discount_rate)^month;

and the fitted parameters. A month has 30 days, as in lifetimes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from include.algorithms import bgnbd, gamma_gamma
from include.algorithms.bgnbd import ConvergenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAYS_PER_MONTH = 30

_HISTORY = ("frequency", "recency", "age")

_log = logging.getLogger(__name__)


def grouped(customers: pl.DataFrame, months: int, discount_rate: float) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Predictions by our models.

    Args:
        customers: frequency, recency, age (days), monetary; somebody bought again.
        months: horizon.
        discount_rate: per month.

    Returns:
        The predictions and the models' parameters as JSON values.

    Raises:
        ConvergenceError: a model could not be fitted.
    """
    purchases = bgnbd.fit(*customers.select(_HISTORY))
    _log.info("BG/NBD %s", purchases)
    repeaters = customers.filter(pl.col("frequency") > 0)
    if _all_equal(repeaters["monetary"]):
        money = None
        values = np.full(customers.height, repeaters["monetary"][0])
    else:
        money = gamma_gamma.fit(repeaters["frequency"], repeaters["monetary"])
        _log.info("Gamma-Gamma %s", money)
        values = _finite(money.expected_average_value(customers["frequency"], customers["monetary"]), repeaters)

    pasts = customers.select(_HISTORY).unique(maintain_order=True)
    pasts = pasts.with_columns(
        p_alive=pl.Series(purchases.probability_alive(*pasts)),
        expected_purchases=pl.Series(purchases.expected_purchases(months * DAYS_PER_MONTH, *pasts)),
        discounted_purchases=pl.Series(_discounted_purchases(purchases, pasts, months, discount_rate)),
    )
    predicted = customers.select(_HISTORY).join(pasts, on=_HISTORY, how="left", maintain_order="left")
    value = pl.Series(values)
    return (
        predicted.select(
            "p_alive",
            "expected_purchases",
            expected_average_value=value,
            clv=pl.col("discounted_purchases") * value,
        ),
        {"bgnbd": vars(purchases), "gamma_gamma": vars(money) if money else None, **_independence(repeaters)},
    )


def with_lifetimes(customers: pl.DataFrame, months: int, discount_rate: float) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The same predictions by the package lifetimes; arguments, result and errors are those of `grouped`."""
    from lifetimes import BetaGeoFitter, GammaGammaFitter
    from lifetimes.utils import _customer_lifetime_value

    data = customers.select(*_HISTORY, "monetary").to_pandas()
    repeaters = customers.filter(pl.col("frequency") > 0)
    history = [data[column] for column in _HISTORY]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Overflows on the way to a maximum, and of hyp2f1.
        purchases = _fitted_by_lifetimes(BetaGeoFitter, *history)
        if _all_equal(repeaters["monetary"]):
            money = None
            values = np.full(len(data), repeaters["monetary"][0])
        else:
            money = _fitted_by_lifetimes(
                GammaGammaFitter, *repeaters.select("frequency", "monetary").to_pandas().to_numpy().T
            )
            average = money.conditional_expected_average_profit(data["frequency"], data["monetary"])
            values = _finite(average.to_numpy(), repeaters)
        expected = purchases.predict(months * DAYS_PER_MONTH, *history)
        # What customers for whom every purchase is worth 1 are worth.
        discounted = _customer_lifetime_value(
            purchases, *history, monetary_value=1.0, time=months, discount_rate=discount_rate, freq="D"
        )
        predicted = pl.DataFrame(
            {
                "p_alive": purchases.conditional_probability_alive(*history),
                "expected_purchases": np.asarray(expected),
                "expected_average_value": values,
                "clv": np.asarray(discounted) * values,
            }
        )
    if failed := predicted.filter(~pl.all_horizontal(pl.all().is_finite())).height:
        raise ConvergenceError(f"lifetimes has no finite prediction for {failed} customers: use the engine grouped")
    # lifetimes keeps the negative mean of the log-likelihood, that of BG/NBD with time scaled to a greatest age of 1.
    log_likelihood = (
        -purchases._negative_log_likelihood_ * len(data) - np.log(data["age"].max()) * data["frequency"].sum()
    )
    fitted: dict[str, Any] = {
        "bgnbd": _parameters(purchases, ("r", "alpha", "a", "b"), log_likelihood),
        "gamma_gamma": None,
    }
    if money is not None:
        log_likelihood = -money._negative_log_likelihood_ * repeaters.height
        fitted["gamma_gamma"] = _parameters(money, ("p", "q", "gamma"), log_likelihood)
    return predicted, {**fitted, **_independence(repeaters)}


def _discounted_purchases(
    model: bgnbd.BGNBD, pasts: pl.DataFrame, months: int, discount_rate: float
) -> NDArray[np.float64]:
    """Σ over the months of the purchases expected in the month / (1 + discount_rate)^month."""
    if discount_rate == 0:  # The sum telescopes.
        return model.expected_purchases(months * DAYS_PER_MONTH, *pasts)
    total = before = np.zeros(pasts.height)
    for month in range(1, months + 1):
        until = model.expected_purchases(month * DAYS_PER_MONTH, *pasts)
        total = total + (until - before) / (1 + discount_rate) ** month
        before = until
    return total


def _all_equal(values: pl.Series) -> bool:
    spread = np.ptp(values.to_numpy())
    return bool(spread <= 1e-9 * values.to_numpy().max())


def _finite(values: NDArray[np.float64], repeaters: pl.DataFrame) -> NDArray[np.float64]:
    """The values, with the mean of all repeat purchases where the model has no finite positive expectation."""
    mean = np.average(repeaters["monetary"], weights=repeaters["frequency"])
    return np.where(np.isfinite(values) & (values > 0), values, mean)


def _independence(repeaters: pl.DataFrame) -> dict[str, float]:
    """Correlation of frequency and money, which Gamma-Gamma assumes to be near 0; absent where one does not vary."""
    correlation = repeaters.select(pl.corr("frequency", "monetary")).item()
    if correlation is None or not math.isfinite(correlation):
        return {}
    return {"correlation_frequency_monetary": correlation}


def _fitted_by_lifetimes(fitter: Any, *data: Any) -> Any:
    """The model fitted by lifetimes, with the finest tolerance that its search reaches.

    It asks for a gradient of 1e-7, which on a flat likelihood drowns in rounding.
    """
    from lifetimes.utils import ConvergenceError as NotConverged

    for tolerance in (1e-7, 1e-6, 1e-5):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # It prints what failed.
                return fitter().fit(*data, gtol=tolerance)
        except (NotConverged, np.linalg.LinAlgError) as error:
            _log.info("%s did not reach a gradient of %g: %s", fitter.__name__, tolerance, type(error).__name__)
    raise ConvergenceError(f"lifetimes' {fitter.__name__} did not converge: use the engine grouped")


def _parameters(fitted: Any, names: tuple[str, ...], log_likelihood: float) -> dict[str, float]:
    values = [float(value) for value in fitted.params_]
    return {**dict(zip(names, values, strict=True)), "log_likelihood": float(log_likelihood)}
