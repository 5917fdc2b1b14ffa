from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import fisher_exact, hypergeom

from include.algorithms import itemsets, rules


def mined(baskets, min_count=1):
    flat = [(number, item) for number, basket in enumerate(baskets) for item in basket]
    numbers, items = np.array(flat, dtype=np.int64).reshape(-1, 2).T
    return itemsets.mine(numbers, items, len(baskets), min_count)


@pytest.fixture(scope="module")
def grocery_rules(groceries):
    def at(support):
        transactions = groceries[2]
        return rules.single_consequent(itemsets.mine(*groceries, itemsets.min_count(support, transactions)))

    return at


@pytest.mark.parametrize(
    ("support", "confidence", "number"),
    [(0.001, 0.8, 410), (0.001, 0.5, 5668), (0.006, 0.25, 463), (0.01, 0.5, 15), (0.005, 0.5, 120)],
)
def test_groceries_have_the_published_number_of_rules(grocery_rules, support, confidence, number):
    assert rules.strong(grocery_rules(support), min_confidence=confidence).height == number


def test_metrics_of_groceries_equal_mlxtend(groceries):
    found = itemsets.mine(*groceries, itemsets.min_count(0.002, groceries[2]))
    key = ["antecedent", "consequent"]
    mine, theirs = (
        engine(found).sort(key) for engine in (rules.single_consequent, rules.single_consequent_with_mlxtend)
    )
    assert mine.height > 10_000
    assert_frame_equal(mine, theirs, rel_tol=1e-11, abs_tol=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=20), st.integers(1, 3))
def test_metrics_of_random_baskets_equal_mlxtend(baskets, min_count):
    found = mined(baskets, min_count)
    key = ["antecedent", "consequent"]
    mine, theirs = (
        engine(found).sort(key) for engine in (rules.single_consequent, rules.single_consequent_with_mlxtend)
    )
    assert_frame_equal(mine, theirs, rel_tol=1e-11, abs_tol=1e-14)


def test_metrics_by_hand():
    # 10 baskets: bread in 4, butter in 5, both in 3.
    found = mined([[0, 1]] * 3 + [[0]] + [[1]] * 2 + [[2]] * 4)
    rule = (
        rules.single_consequent(found).filter(pl.col("antecedent") == [0], pl.col("consequent") == 1).row(0, named=True)
    )
    assert rule["transactions"] == 3
    expected = {
        "antecedent_support": 0.4,
        "consequent_support": 0.5,
        "support": 0.3,
        "confidence": 0.75,
        "lift": 1.5,
        "leverage": 0.1,
        "conviction": 2.0,
        "zhang": 0.1 / 0.18,
    }
    assert {name: rule[name] for name in expected} == pytest.approx(expected)
    assert rule["p_value"] == pytest.approx(fisher_exact([[3, 1], [2, 4]], alternative="greater").pvalue)


def test_a_certain_rule_has_infinite_conviction():
    found = rules.single_consequent(mined([[0, 1], [0, 1], [1]]))
    assert found.filter(pl.col("consequent") == 1)["conviction"].to_list() == [float("inf")]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_p_values_equal_the_hypergeometric_tail(data):
    transactions = data.draw(st.integers(1, 3000))
    a = data.draw(st.integers(1, transactions))
    c = data.draw(st.integers(1, transactions))
    both = data.draw(st.integers(max(0, a + c - transactions), min(a, c)))
    found = rules.fisher_p_values(np.array([both]), np.array([a]), np.array([c]), transactions)
    assert found[0] == pytest.approx(hypergeom.sf(both - 1, transactions, c, a), rel=1e-8, abs=1e-12)


def test_p_values_far_in_the_tail_keep_their_digits():
    found = rules.fisher_p_values(np.array([100]), np.array([500]), np.array([600]), 100_000)
    assert found[0] < 1e-100
    assert found[0] == pytest.approx(hypergeom.sf(99, 100_000, 600, 500), rel=1e-6)


def test_q_values_correct_for_all_rules_tested_also_those_not_kept(grocery_rules):
    tested = grocery_rules(0.005)
    p = tested["p_value"].to_numpy()
    order = np.argsort(p)
    ranked = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
    np.testing.assert_allclose(tested["q_value"], q, rtol=1e-12)
    kept = rules.strong(tested, min_confidence=0.5)
    assert_frame_equal(kept, tested.filter(pl.col("confidence") >= 0.5))


def test_independent_products_have_a_lift_of_one_however_it_is_rounded():
    # n(A)·n(C) = 7·21 = 3·49 = n(AC)·N.
    baskets = [[0, 1]] * 3 + [[0]] * 4 + [[1]] * 18 + [[2]] * 24
    found = rules.single_consequent(mined(baskets))
    assert rules.strong(found, min_lift=1.0).height == found.height == 2


def test_without_pairs_there_are_no_rules():
    for engine in (rules.single_consequent, rules.single_consequent_with_mlxtend):
        assert_frame_equal(engine(mined([[0], [1]])), rules.SCHEMA.to_frame())
