"""Association rules with one product on the right-hand side, their metrics and their significance.

With counts n(X) of the N transactions that hold X, s(X) = n(X) / N:

- confidence(A → C) = s(AC) / s(A); lift = confidence / s(C); leverage = s(AC) − s(A)·s(C);
  conviction = (1 − s(C)) / (1 − confidence), infinite at confidence 1.
  P.-N. Tan, V. Kumar, J. Srivastava, "Selecting the right objective measure for association analysis",
  Information Systems 29 (4), 2004.
- zhang = leverage / max(s(AC)·(1 − s(A)), s(A)·(s(C) − s(AC))), from −1 (repel) to 1 (attract), 0 where undefined.
  T. Zhang, "Association Rules", PAKDD 2000.
- p_value: probability of at least n(AC) common baskets if A and C were independent and n(A), n(C) fixed, that is
  the hypergeometric upper tail, Fisher's exact test one-sided.
- q_value: the p-value adjusted for the false discovery rate over *all* rules tested, before any filter.
  Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate", J. R. Statist. Soc. B 57 (1), 1995.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from include.algorithms.itemsets import ItemSets

#: Columns of a table of rules; items are the codes of the item sets.
SCHEMA = pl.Schema(
    {
        "antecedent": pl.List(pl.Int32()),
        "consequent": pl.Int32(),
        "transactions": pl.Int64(),
        "antecedent_support": pl.Float64(),
        "consequent_support": pl.Float64(),
        "support": pl.Float64(),
        "confidence": pl.Float64(),
        "lift": pl.Float64(),
        "leverage": pl.Float64(),
        "conviction": pl.Float64(),
        "zhang": pl.Float64(),
        "p_value": pl.Float64(),
        "q_value": pl.Float64(),
    }
)

#: A metric this close below its threshold reaches it: independent products have lift 1, whichever way it is rounded.
_TOLERANCE = 1e-9


def single_consequent(itemsets: ItemSets) -> pl.DataFrame:
    """All rules (item set without one item → that item) with their metrics.

    Args:
        itemsets: frequent item sets.

    Returns:
        `SCHEMA`, one row per frequent set of ≥ 2 items and item of it.
    """
    parts = []
    n_singles = itemsets.levels[0].counts
    for level, above in zip(itemsets.levels[1:], itemsets.levels, strict=False):
        for position in range(level.items.shape[1]):
            antecedent = np.delete(level.items, position, axis=1)
            consequent = level.items[:, position]
            n_antecedent = above.counts[itemsets.rows(antecedent)]
            n_consequent = n_singles[itemsets.rows(consequent[:, None])]
            parts.append(_measured(antecedent, consequent, level.counts, n_antecedent, n_consequent, itemsets))
    return _corrected(parts)


def single_consequent_with_mlxtend(itemsets: ItemSets) -> pl.DataFrame:
    """The same rules with the metrics of `mlxtend.frequent_patterns.association_rules`: the reference engine.

    mlxtend makes the rules of every partition of a set in Python; those with one consequent are kept. It has no test
    of significance: p-values and q-values are computed as for the other engine.
    """
    import pandas as pd
    from mlxtend.frequent_patterns import association_rules

    if len(itemsets.levels) < 2:
        return SCHEMA.to_frame()
    sets = pd.DataFrame(
        {
            "support": np.concatenate([level.counts for level in itemsets.levels]) / itemsets.transactions,
            "itemsets": [frozenset(row) for level in itemsets.levels for row in level.items.tolist()],
        }
    )
    found = association_rules(sets, num_itemsets=itemsets.transactions, metric="support", min_threshold=0.0)
    found = found[found["consequents"].map(len) == 1]
    supports = ("antecedent support", "consequent support", "support")
    n_antecedent, n_consequent, n_both = (
        np.rint(found[column].to_numpy(dtype=float) * itemsets.transactions).astype(np.int64) for column in supports
    )
    columns = {
        "antecedent": [sorted(antecedent) for antecedent in found["antecedents"]],
        "consequent": [next(iter(consequent)) for consequent in found["consequents"]],
        "transactions": n_both,
        **{
            name: found[name.replace("_", " ")].to_numpy(dtype=float)
            for name in ("antecedent_support", "consequent_support", "support", "confidence", "lift", "leverage")
        },
        "conviction": found["conviction"].to_numpy(dtype=float),
        "zhang": found["zhangs_metric"].to_numpy(dtype=float),
        "p_value": fisher_p_values(n_both, n_antecedent, n_consequent, itemsets.transactions),
    }
    schema = {name: dtype for name, dtype in SCHEMA.items() if name != "q_value"}
    return _corrected([pl.DataFrame(columns, schema=schema)])


def strong(rules: pl.DataFrame, min_lift: float = 0.0, min_confidence: float = 0.0) -> pl.DataFrame:
    """The rules that reach both thresholds (to a relative 1e-9, so that rounding decides nothing)."""
    return rules.filter(
        pl.col("lift") >= min_lift * (1 - _TOLERANCE), pl.col("confidence") >= min_confidence * (1 - _TOLERANCE)
    )


def fisher_p_values(
    n_both: NDArray[np.int64], n_antecedent: NDArray[np.int64], n_consequent: NDArray[np.int64], transactions: int
) -> NDArray[np.float64]:
    """One-sided p-values of the association of antecedent and consequent (Fisher's exact test, alternative "greater").

    Args:
        n_both: (rules,) baskets that hold both.
        n_antecedent: (rules,) baskets that hold the antecedent.
        n_consequent: (rules,) baskets that hold the consequent.
        transactions: all baskets.
    """
    log_factorials = gammaln(np.arange(1, transactions + 2, dtype=float))
    return _upper_tails(
        n_both.astype(np.int64), n_antecedent.astype(np.int64), n_consequent.astype(np.int64), log_factorials
    )


def warm() -> None:
    """Compile the kernel, so that a run finds it in numba's cache."""
    fisher_p_values(np.array([1]), np.array([1]), np.array([1]), 2)


def _measured(
    antecedent: NDArray[np.int32],
    consequent: NDArray[np.int32],
    n_both: NDArray[np.int64],
    n_antecedent: NDArray[np.int64],
    n_consequent: NDArray[np.int64],
    itemsets: ItemSets,
) -> pl.DataFrame:
    N = itemsets.transactions
    both, a, c = n_both / N, n_antecedent / N, n_consequent / N
    confidence = n_both / n_antecedent
    leverage = both - a * c
    certain = n_both == n_antecedent
    conviction = np.where(certain, np.inf, (1 - c) / np.where(certain, 1, 1 - confidence))
    bound = np.maximum(both * (1 - a), a * (c - both))
    return pl.DataFrame(
        {
            "antecedent": pl.Series(antecedent, dtype=pl.Array(pl.Int32, antecedent.shape[1])).cast(pl.List(pl.Int32)),
            "consequent": consequent,
            "transactions": n_both,
            "antecedent_support": a,
            "consequent_support": c,
            "support": both,
            "confidence": confidence,
            "lift": confidence / c,
            "leverage": leverage,
            "conviction": conviction,
            "zhang": np.where(bound == 0, 0.0, leverage / np.where(bound == 0, 1, bound)),
            "p_value": fisher_p_values(n_both, n_antecedent, n_consequent, N),
        }
    )


def _corrected(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts in one table with the q-values over all of them."""
    if not any(part.height for part in parts):
        return SCHEMA.to_frame()
    rules = pl.concat(parts)
    q_values = false_discovery_control(rules["p_value"].to_numpy(), method="bh")
    return rules.with_columns(q_value=pl.Series(q_values)).select(SCHEMA.names()).cast(SCHEMA)


# scipy.stats.hypergeom.sf loops over its arguments in Python: about 0.1 ms a rule.
@numba.njit(cache=True, nogil=True)
def _upper_tails(n_both, n_antecedent, n_consequent, log_factorials):  # noqa: ANN202
    """P(X ≥ n_both) for X hypergeometric; the tail without the mode is summed outwards, where its terms fall."""
    N = len(log_factorials) - 1
    tails = np.empty(len(n_both), np.float64)
    for rule in range(len(n_both)):
        k, a, c = n_both[rule], n_antecedent[rule], n_consequent[rule]
        upper = k * N > a * c
        if not upper:
            k -= 1  # The lower tail P(X ≤ n_both − 1), taken from 1.
        if k < max(0, a + c - N):
            tails[rule] = 1.0
            continue
        log_first = (
            log_factorials[c]
            - log_factorials[k]
            - log_factorials[c - k]
            + log_factorials[N - c]
            - log_factorials[a - k]
            - log_factorials[N - c - a + k]
            - log_factorials[N]
            + log_factorials[a]
            + log_factorials[N - a]
        )
        term = 1.0
        total = 1.0
        while term > 1e-17 * total:
            if upper:
                term *= (c - k) * (a - k) / ((k + 1.0) * (N - c - a + k + 1.0))
                k += 1
            else:
                term *= k * (N - c - a + k) / ((c - k + 1.0) * (a - k + 1.0))
                k -= 1
            total += term
        tail = np.exp(log_first) * total
        tails[rule] = min(1.0, tail) if upper else max(0.0, 1.0 - tail)
    return tails
