"""Intervals against the examples of the papers and against other code."""

import narwhals as nw
import polars as pl
import pytest
from scipy.stats import binomtest

from include.transforms.proportions import difference, wilson

# Table II of Newcombe (1998), method 10: successes and trials of both samples, and the interval of the difference.
NEWCOMBE = {
    (56, 70, 48, 80): (0.0524, 0.3339),
    (9, 10, 3, 10): (0.1705, 0.8090),
    (6, 7, 2, 7): (0.0582, 0.8062),
    (5, 56, 0, 29): (-0.0381, 0.1926),
    (0, 10, 0, 20): (-0.1611, 0.2775),
    (0, 10, 0, 10): (-0.2775, 0.2775),
    (10, 10, 0, 20): (0.6791, 1.0000),
    (10, 10, 0, 10): (0.6075, 1.0000),
}


def intervals(columns, rows, make):
    frame = nw.from_native(pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int64), orient="row").lazy())
    low, high = make(*(nw.col(column) for column in columns))
    return frame.select(low.alias("low"), high.alias("high")).collect().rows()


def test_wilsons_interval_is_scipys():
    samples = [(s, n) for n in (1, 5, 40, 1_000_003) for s in {0, 1, n // 3, n - 1, n}]
    found = intervals(("s", "n"), samples, wilson)
    for (s, n), made in zip(samples, found, strict=True):
        known = binomtest(s, n).proportion_ci(method="wilson")
        assert made == pytest.approx((known.low, known.high), abs=1e-12)
        assert 0 <= made[0] <= s / n <= made[1] <= 1


def test_newcombes_interval_is_the_papers():
    found = intervals(("s1", "n1", "s2", "n2"), list(NEWCOMBE), difference)
    for made, known in zip(found, NEWCOMBE.values(), strict=True):
        assert made == pytest.approx(known, abs=0.00005001)


def test_without_trials_there_is_no_interval():
    assert intervals(("s", "n"), [(0, 0)], wilson) == [(None, None)]
    assert intervals(("s1", "n1", "s2", "n2"), [(1, 2, 0, 0), (0, 0, 1, 2)], difference) == [(None, None)] * 2
