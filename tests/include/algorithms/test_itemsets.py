from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.algorithms import itemsets
from include.algorithms.outcome import InputError


def lines(baskets):
    flat = [(number, item) for number, basket in enumerate(baskets) for item in basket]
    numbers, items = np.array(flat, dtype=np.int64).reshape(-1, 2).T
    return numbers, items


def as_dict(found):
    return {
        tuple(row): int(n) for level in found.levels for row, n in zip(level.items.tolist(), level.counts, strict=True)
    }


def by_counting(baskets, min_count, max_length):
    """All frequent sets by looking at every subset of every basket."""
    counts = {}
    for basket in baskets:
        items = sorted(set(basket))
        for size in range(1, min(len(items), max_length or len(items)) + 1):
            for chosen in combinations(items, size):
                counts[chosen] = counts.get(chosen, 0) + 1
    return {chosen: n for chosen, n in counts.items() if n >= min_count}


def same(one, other):
    assert len(one.levels) == len(other.levels)
    for mine, theirs in zip(one.levels, other.levels, strict=True):
        np.testing.assert_array_equal(mine.items, theirs.items)
        np.testing.assert_array_equal(mine.counts, theirs.counts)


baskets_of_few_items = st.lists(st.lists(st.integers(0, 8), max_size=8), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(baskets_of_few_items, st.integers(1, 5), st.sampled_from([None, 1, 2, 3]), st.sampled_from([1, 3]))
def test_finds_what_counting_every_subset_finds(baskets, min_count, max_length, threads):
    found = itemsets.mine(*lines(baskets), len(baskets), min_count, max_length, threads)
    assert as_dict(found) == by_counting(baskets, min_count, max_length)


@settings(max_examples=40, deadline=None)
@given(baskets_of_few_items, st.integers(1, 5), st.sampled_from([None, 2, 3]))
def test_equals_mlxtend_on_random_baskets(baskets, min_count, max_length):
    arguments = (*lines(baskets), len(baskets), min_count, max_length)
    same(itemsets.mine(*arguments), itemsets.mine_with_mlxtend(*arguments))


@pytest.mark.parametrize("max_length", [None, 2])
def test_groceries_have_the_published_item_sets(groceries, max_length):
    baskets, items, transactions = groceries
    arguments = (baskets, items, transactions, itemsets.min_count(0.001, transactions), max_length)
    found = itemsets.mine(*arguments)
    if max_length is None:
        assert len(found) == 13_492
    same(found, itemsets.mine_with_mlxtend(*arguments))


def test_an_item_twice_in_a_basket_counts_once():
    found = itemsets.mine(*lines([[1, 1, 2], [2, 1, 2]]), 2, 1)
    assert as_dict(found) == {(1,): 2, (2,): 2, (1, 2): 2}


def test_deep_sets_need_no_recursion():
    size = 12
    found = itemsets.mine(*lines([range(size)] * 3), 3, 3)
    assert len(found) == 2**size - 1
    assert found.levels[-1].items.tolist() == [list(range(size))]


@pytest.mark.parametrize("engine", [itemsets.mine, itemsets.mine_with_mlxtend])
def test_without_lines_there_is_one_empty_level(engine):
    found = engine(*lines([]), 0, 1)
    assert len(found) == 0
    assert found.levels[0].items.shape == (0, 1)


def test_rows_finds_every_set_in_its_level(groceries):
    found = itemsets.mine(*groceries, 20)
    for level in found.levels:
        shuffled = np.random.default_rng(0).permutation(len(level.counts))
        np.testing.assert_array_equal(found.rows(level.items[shuffled]), shuffled)


def test_too_many_item_sets_are_refused_before_memory_is_full(monkeypatch):
    monkeypatch.setattr(itemsets, "MAX_ITEM_SETS", 1000)
    with pytest.raises(InputError, match="raise min_support or lower max_length"):
        itemsets.mine(*lines([range(20)]), 1, 1)


@pytest.mark.parametrize(
    ("support", "transactions", "count"), [(0.07, 100, 7), (0.001, 9835, 10), (5e-5, 100, 1), (1.0, 3, 3), (0.5, 0, 1)]
)
def test_min_count_is_the_ceiling_without_rounding_errors(support, transactions, count):
    assert itemsets.min_count(support, transactions) == count
