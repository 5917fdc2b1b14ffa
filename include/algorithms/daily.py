"""Scores for the days of daily series, each from the days before it, many series at once.

Every function takes a block of series (series, days), each from its own first day on, filled up with NaN behind its
last, and returns arrays of the same shape. Days without a score (the first `WARM_UP`, and the filled ones) are NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WARM_UP = 28
"""Days from which the first level, weekdays and scale are taken."""

Block = NDArray[np.float64]

_LEVEL, _WEEKDAY, _SCALE = 0.1, 0.1, 0.03  # smoothing: share of each new day
_CLIP, _SCALE_CLIP = 2.5, 3.0  # in scales: how much of an error moves level and weekdays, and the scale itself
# The transform gives counts a deviation of about 1 whatever their size; less than this is chance.
_LEAST_SCALE = 0.8
_TRAILING = 56


class Scored(NamedTuple):
    """What is known of each day.

    Attributes:
        expected: units forecast from the days before.
        scale: the deviation that errors of the forecast have, in the unit the method compares in.
        score: error / scale, in the same unit; negative for fewer units than expected.
    """

    expected: Block
    scale: Block
    score: Block


def robust_holt_winters(units: Block) -> Scored:
    """Additive Holt-Winters with weekdays and without trend, made robust, on transformed counts.

    The counts are transformed by y = 2√(x + 3/8) (Anscombe 1948): their deviation then does not depend on their size.
    Level and weekday follow the errors clipped at 2.5 scales (Huber's ψ), and so an anomaly does not become the habit:
    S. Gelper, R. Fried, C. Croux, "Robust Forecasting with Exponential and Holt-Winters Smoothing", Journal of
    Forecasting 2010.
    The scale is the smoothed absolute error, clipped at 3 scales, times √(π/2), at least 0.8.

    Args:
        units: (series, days), 0 or more.

    Returns:
        `expected` in units, `scale` and `score` in the transformed unit.
    """
    y = 2 * np.sqrt(np.maximum(units, 0) + 0.375)
    expected, scales, score = np.full_like(y, np.nan), np.full_like(y, np.nan), np.full_like(y, np.nan)
    if y.shape[1] <= WARM_UP:
        return Scored(expected, scales, score)
    first = y[:, :WARM_UP]
    level = np.median(first, axis=1)
    weekday = np.stack([np.median(first[:, day::7], axis=1) for day in range(7)], axis=1) - level[:, None]
    habit = level[:, None] + np.tile(weekday, WARM_UP // 7)
    scale = np.maximum(1.4826 * np.median(np.abs(first - habit), axis=1), _LEAST_SCALE)
    for day in range(WARM_UP, y.shape[1]):
        forecast = level + weekday[:, day % 7]
        error = y[:, day] - forecast
        expected[:, day] = np.maximum(np.maximum(forecast, 0) ** 2 / 4 - 0.375, 0)
        scales[:, day] = scale
        score[:, day] = error / scale
        clipped = np.clip(error, -_CLIP * scale, _CLIP * scale)
        level = level + _LEVEL * clipped
        weekday[:, day % 7] += _WEEKDAY * clipped
        size = np.minimum(np.abs(error), _SCALE_CLIP * scale) * np.sqrt(np.pi / 2)
        scale = np.maximum(scale + _SCALE * (size - scale), _LEAST_SCALE)
    return Scored(expected, scales, score)


def trailing_deviation(units: Block) -> Scored:
    """The plain baseline: distance to the mean of the last 56 days, in their standard deviations.

    Args:
        units: (series, days).

    Returns:
        All in units; the scale is at least one unit.
    """
    expected, scale = np.full_like(units, np.nan), np.full_like(units, np.nan)
    for day in range(WARM_UP, units.shape[1]):
        window = units[:, max(day - _TRAILING, 0) : day]
        expected[:, day] = window.mean(axis=1)
        scale[:, day] = np.maximum(window.std(axis=1, ddof=1), 1.0)
    return Scored(expected, scale, (units - expected) / scale)


ENGINES = {"holt-winters": robust_holt_winters, "reference": trailing_deviation}
