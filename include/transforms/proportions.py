"""Confidence intervals of proportions, in expressions that every engine has."""

import narwhals as nw

Z_95 = 1.959963984540054
"""Quantile of the standard normal distribution for an interval of 95 %, both sides."""


def rate(successes: nw.Expr, trials: nw.Expr) -> nw.Expr:
    """The observed proportion; null without trials."""
    return nw.when(trials > 0).then(successes / trials)


def wilson(successes: nw.Expr, trials: nw.Expr, z: float = Z_95) -> tuple[nw.Expr, nw.Expr]:
    """Lower and upper end of the score interval of a proportion; null without trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209–212. It stays within 0 and 1 and holds its level for few trials and rare
    successes, where the textbook's p ± z·√(p(1 − p)/n) doesn't.

    Args:
        successes: From 0 to `trials`.
        trials: Whole numbers.
        z: Quantile of the standard normal distribution.
    """
    share = successes / trials
    spread = ((share * (1 - share) + z * z / 4 / trials) / trials).sqrt() * z
    centre, scale = share + z * z / 2 / trials, z * z / trials + 1
    low = nw.when(successes > 0).then((centre - spread) / scale).otherwise(nw.lit(0.0))
    high = nw.when(successes < trials).then((centre + spread) / scale).otherwise(nw.lit(1.0))
    return nw.when(trials > 0).then(low), nw.when(trials > 0).then(high)


def difference(
    successes: nw.Expr, trials: nw.Expr, other_successes: nw.Expr, other_trials: nw.Expr, z: float = Z_95
) -> tuple[nw.Expr, nw.Expr]:
    """Lower and upper end of the interval of the difference of two independent proportions; null without trials.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", Statistics in Medicine 17 (1998), 873–890, method 10: Wilson's intervals of both, put together.

    Args:
        successes: Of the first sample.
        trials: Of the first sample.
        other_successes: Of the second, which is subtracted.
        other_trials: Of the second.
        z: Quantile of the standard normal distribution.
    """
    one, other = successes / trials, other_successes / other_trials
    low, high = wilson(successes, trials, z)
    other_low, other_high = wilson(other_successes, other_trials, z)
    below = ((one - low) * (one - low) + (other_high - other) * (other_high - other)).sqrt()
    above = ((high - one) * (high - one) + (other - other_low) * (other - other_low)).sqrt()
    known = (trials > 0) & (other_trials > 0)
    return nw.when(known).then(one - other - below), nw.when(known).then(one - other + above)
