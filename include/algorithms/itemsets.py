"""Frequent item sets of baskets, by a depth-first miner in numba, with mlxtend's FP-growth as reference.

The miner is LCM's enumeration of frequent sets (LCMfreq): item sets are extended in one fixed order of the items, and
the supports of all extensions of a set are counted in one pass over the baskets that hold it ("occurrence deliver").
Every extension that can be extended again gets its own *conditional database*, the remainders of its baskets reduced
to the items that are still frequent in them.

Reference: T. Uno, M. Kiyomi, H. Arimura, "LCM ver. 2: Efficient Mining Algorithms for Frequent/Closed/Maximal
Itemsets", Proc. IEEE ICDM Workshop on Frequent Itemset Mining Implementations (FIMI), 2004.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from include.algorithms.outcome import InputError

#: More item sets than this are a wrong parameter, not a result: they would fill the machine's memory.
MAX_ITEM_SETS = 20_000_000

# Work is dealt to the threads in this many shares per thread, so that one slow share does not hold up the others.
_SHARES_PER_THREAD = 8


class Level(NamedTuple):
    """All frequent sets of one size.

    Attributes:
        items: (sets, size) item codes, ascending within a row, rows in lexicographic order.
        counts: (sets,) baskets that hold the whole set.
    """

    items: NDArray[np.int32]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class ItemSets:
    """Frequent item sets: `levels[k - 1]` holds those of k items. There is always a first level, perhaps empty.

    Attributes:
        transactions: number of baskets N; support = count / N.
        min_count: least count of a frequent set.
        levels: the sets by size; no level after the first is empty.
    """

    transactions: int
    min_count: int
    levels: tuple[Level, ...]

    def __len__(self) -> int:
        return sum(len(level.counts) for level in self.levels)

    @cached_property
    def _keys(self) -> tuple[NDArray[np.int64], ...]:
        """Per level the sorted keys (row of the set without its last item in the level below) · base + last item."""
        keys = [self.levels[0].items[:, 0].astype(np.int64)]
        for level in self.levels[1:]:
            keys.append(self._walk(level.items[:, :-1], keys) * self._base + level.items[:, -1])
        return tuple(keys)

    @property
    def _base(self) -> int:
        return int(self.levels[0].items.max(initial=0)) + 1

    def _walk(self, sets: NDArray[np.int32], keys: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        row = np.searchsorted(keys[0], sets[:, 0])
        for position in range(1, sets.shape[1]):
            row = np.searchsorted(keys[position], row * self._base + sets[:, position])
        return row

    def rows(self, sets: NDArray[np.int32]) -> NDArray[np.int64]:
        """The row of every given set in the level of its size.

        Every prefix of a frequent set is frequent, so the levels form a trie that is walked item by item.

        Args:
            sets: (n, k) item codes of frequent sets, ascending within a row.
        """
        return self._walk(sets, list(self._keys))


def min_count(support: float, transactions: int) -> int:
    """The least count that reaches a support: ⌈support · N⌉, at least 1, free of rounding (0.07 · 100 is 7, not 8)."""
    return max(1, math.ceil(round(support * transactions, 9)))


def mine(
    baskets: NDArray[np.integer],
    items: NDArray[np.integer],
    transactions: int,
    min_count: int,
    max_length: int | None = None,
    threads: int | None = None,
) -> ItemSets:
    """All item sets that at least `min_count` baskets hold.

    Args:
        baskets: (lines,) basket code ≥ 0 of every line.
        items: (lines,) item code ≥ 0 of every line. An item that is twice in a basket counts once.
        transactions: number of baskets N, including those that have no line here.
        min_count: least number of baskets, ≥ 1.
        max_length: most items in a set; None for no limit.
        threads: how many threads search; by default one per core. The result does not depend on it.

    Raises:
        InputError: there would be more than `MAX_ITEM_SETS` item sets.
    """
    singles, counts, pointers, ranks = _ranked_baskets(baskets, items, min_count)
    longest = int(np.diff(pointers).max(initial=0))
    depth = longest if max_length is None else min(max_length, longest)
    alone = Level(np.sort(singles)[:, None], counts[np.argsort(singles)])
    if depth < 2:
        return ItemSets(transactions, min_count, (alone,))

    database = _occurrences(pointers, ranks, len(singles))
    threads = threads or os.cpu_count() or 1
    shares = min(threads * _SHARES_PER_THREAD, len(singles))
    with ThreadPoolExecutor(threads) as pool:
        found = list(
            pool.map(lambda share: _search(share, shares, depth, min_count, MAX_ITEM_SETS, *database), range(shares))
        )
    if sum(len(sizes) for _, _, sizes in found) > MAX_ITEM_SETS:
        raise InputError(
            f"more than {MAX_ITEM_SETS:,} item sets occur in {min_count} or more of {transactions:,} baskets: "
            "raise min_support or lower max_length"
        )
    members, supports, sizes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ItemSets(transactions, min_count, (alone, *_levels(singles[members], supports, sizes)))


def mine_with_mlxtend(
    baskets: NDArray[np.integer],
    items: NDArray[np.integer],
    transactions: int,
    min_count: int,
    max_length: int | None = None,
) -> ItemSets:
    """The same item sets by `mlxtend.frequent_patterns.fpgrowth` on a sparse one-hot frame: the reference engine.

    Arguments and result are those of `mine`. mlxtend builds its tree node by node in Python and sums the frame
    densely, so it needs transactions × items bytes for a moment.
    """
    import pandas as pd
    from mlxtend.frequent_patterns import fpgrowth
    from scipy.sparse import csr_matrix

    nothing = Level(np.empty((0, 1), np.int32), np.empty(0, np.int64))
    if not len(items) or min_count > transactions:
        return ItemSets(transactions, min_count, (nothing,))
    codes, columns = np.unique(items, return_inverse=True)
    _, rows = np.unique(baskets, return_inverse=True)
    one_hot = csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(transactions, len(codes)))
    one_hot.sum_duplicates()
    # Half a basket below the count: whatever way mlxtend rounds support · N, it arrives at min_count.
    support = (min_count - 0.5) / transactions
    found = fpgrowth(pd.DataFrame.sparse.from_spmatrix(one_hot), min_support=support, max_len=max_length)
    sizes = found["itemsets"].map(len).to_numpy(dtype=np.int64)
    members = np.fromiter((item for itemset in found["itemsets"] for item in itemset), np.int64, sizes.sum())
    counts = np.rint(found["support"].to_numpy(dtype=float) * transactions).astype(np.int64)
    levels = _levels(codes[members].astype(np.int32), counts, sizes)
    return ItemSets(transactions, min_count, levels or (nothing,))


def warm() -> None:
    """Compile the kernels, so that a run finds them in numba's cache."""
    mine(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2]), transactions=2, min_count=1)


def _ranked_baskets(
    baskets: NDArray[np.integer], items: NDArray[np.integer], min_count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Frequent items by ascending count, their counts, and the baskets reduced to them (pointers, ranks).

    Rare items come first, so that the many baskets of a common item are only ever searched for commoner ones.
    """
    base = int(items.max(initial=0)) + 1
    distinct = np.unique(baskets.astype(np.int64) * base + items)
    basket, item = np.divmod(distinct, base)
    counts = np.bincount(item, minlength=base)
    frequent = np.flatnonzero(counts >= min_count)
    frequent = frequent[np.argsort(counts[frequent], kind="stable")]
    rank = np.full(base, -1, np.int64)
    rank[frequent] = np.arange(len(frequent))
    kept = rank[item] >= 0
    ordered = np.sort(basket[kept] * base + rank[item[kept]])
    basket, ranks = np.divmod(ordered, base)
    pointers = np.append(np.flatnonzero(np.diff(basket, prepend=-1)), len(basket))
    return frequent.astype(np.int32), counts[frequent], pointers.astype(np.int64), ranks.astype(np.int32)


def _levels(members: NDArray[np.int32], counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> tuple[Level, ...]:
    """Item sets written one after the other, sorted into levels."""
    starts = np.cumsum(sizes) - sizes
    levels = []
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes == size)
        sets = np.sort(members[starts[chosen][:, None] + np.arange(size)], axis=1)
        order = np.lexsort(sets.T[::-1])
        levels.append(Level(sets[order], counts[chosen][order].astype(np.int64)))
    return tuple(levels)


@numba.njit(cache=True, nogil=True)
def _occurrences(pointers, ranks, n_items):  # noqa: ANN202
    """The whole database in the shape of a conditional one: for every item the remainders of its baskets after it.

    Returns:
        offsets (n_items + 1): occurrences offsets[i]:offsets[i + 1] belong to item i; items: the baskets;
        starts, ends: occurrence o is followed by items[starts[o]:ends[o]].
    """
    offsets = np.zeros(n_items + 1, np.int64)
    for item in ranks:
        offsets[item + 1] += 1
    for item in range(n_items):
        offsets[item + 1] += offsets[item]
    cursor = offsets[:-1].copy()
    starts = np.empty(len(ranks), np.int64)
    ends = np.empty(len(ranks), np.int64)
    for basket in range(len(pointers) - 1):
        for position in range(pointers[basket], pointers[basket + 1]):
            slot = cursor[ranks[position]]
            cursor[ranks[position]] = slot + 1
            starts[slot] = position + 1
            ends[slot] = pointers[basket + 1]
    return offsets, ranks, starts, ends


@numba.njit(cache=True, nogil=True)
def _condition(items, starts, ends, low, high, min_count, deeper, tally, seen):  # noqa: ANN202
    """The database conditional on the item whose occurrences are low:high.

    `items`, `starts` and `ends` are the database above. `deeper` tells whether the extensions will be extended again;
    if not, only they and their counts are needed. `tally` and `seen` are scratch of one place per item, `tally` all 0
    on entry and on return.

    Returns:
        extensions: frequent items after it, ascending; offsets: extension e has occurrences offsets[e]:offsets[e + 1]
        (their difference is its count); then items, starts, ends as above, empty where they are not needed.
    """
    n_seen = 0
    for occurrence in range(low, high):
        for position in range(starts[occurrence], ends[occurrence]):
            item = items[position]
            if tally[item] == 0:
                seen[n_seen] = item
                n_seen += 1
            tally[item] += 1
    n_frequent = 0
    for s in range(n_seen):
        if tally[seen[s]] >= min_count:
            n_frequent += 1
    extensions = np.empty(n_frequent, np.int32)
    n_frequent = 0
    for s in range(n_seen):
        if tally[seen[s]] >= min_count:
            extensions[n_frequent] = seen[s]
            n_frequent += 1
    extensions.sort()
    offsets = np.zeros(n_frequent + 1, np.int64)
    for e in range(n_frequent):
        offsets[e + 1] = offsets[e] + tally[extensions[e]]
    for s in range(n_seen):
        tally[seen[s]] = 0
    if not deeper or n_frequent < 2:
        return extensions, offsets, np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64)

    for e in range(n_frequent):
        tally[extensions[e]] = e + 1
    total = offsets[n_frequent]
    cursor = offsets[:-1].copy()
    child_items = np.empty(total, np.int32)
    child_starts = np.empty(total, np.int64)
    child_ends = np.empty(total, np.int64)
    written = 0
    for occurrence in range(low, high):
        begin = written
        for position in range(starts[occurrence], ends[occurrence]):
            if tally[items[position]] > 0:
                child_items[written] = items[position]
                written += 1
        for position in range(begin, written):
            e = tally[child_items[position]] - 1
            child_starts[cursor[e]] = position + 1
            child_ends[cursor[e]] = written
            cursor[e] += 1
    for e in range(n_frequent):
        tally[extensions[e]] = 0
    return extensions, offsets, child_items, child_starts, child_ends


@numba.njit(cache=True, nogil=True)
def _room(array, needed):  # noqa: ANN202
    """The array, or a copy of at least twice its length if `needed` places do not fit."""
    if needed <= len(array):
        return array
    larger = np.empty(max(needed, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


# The search keeps its own stack: numba's cache breaks on functions that call themselves.
@numba.njit(cache=True, nogil=True)
def _search(first, step, max_length, min_count, limit, offsets, items, starts, ends):  # noqa: ANN202
    """All frequent sets of ≥ 2 items whose rarest item is one of first, first + step, first + 2·step and so on.

    Returns:
        members: the sets' items one after the other; counts and sizes: one entry per set. The search stops soon after
        `limit` sets.
    """
    n_items = len(offsets) - 1
    tally = np.zeros(n_items, np.int32)
    seen = np.empty(n_items, np.int32)
    prefix = np.empty(max_length, np.int32)
    upcoming = np.zeros(max_length, np.int64)
    members = np.empty(1 << 12, np.int32)
    counts = np.empty(1 << 10, np.int64)
    sizes = np.empty(1 << 10, np.int64)
    n_members = 0
    n_sets = 0
    for root in range(first, n_items, step):
        stack = [(np.empty(0, np.int32), offsets, items, starts, ends)]
        depth = 0
        low = offsets[root]
        high = offsets[root + 1]
        prefix[0] = root
        while depth >= 0 and n_sets <= limit:
            # Here prefix[: depth + 1] is a new set with occurrences low:high of the database on top of the stack.
            _, _, above, above_starts, above_ends = stack[depth]
            child = _condition(
                above, above_starts, above_ends, low, high, min_count, depth + 2 < max_length, tally, seen
            )
            extensions, child_offsets, child_items, _, _ = child
            found = len(extensions)
            members = _room(members, n_members + found * (depth + 2))
            counts = _room(counts, n_sets + found)
            sizes = _room(sizes, n_sets + found)
            for e in range(found):
                for position in range(depth + 1):
                    members[n_members + position] = prefix[position]
                members[n_members + depth + 1] = extensions[e]
                n_members += depth + 2
                counts[n_sets] = child_offsets[e + 1] - child_offsets[e]
                sizes[n_sets] = depth + 2
                n_sets += 1
            if len(child_items) > 0:
                stack.append(child)
                depth += 1
                upcoming[depth] = 0
            # The next extension to go into; the last one has nothing after it.
            while depth > 0 and upcoming[depth] >= len(stack[depth][0]) - 1:
                stack.pop()
                depth -= 1
            if depth == 0:
                break
            e = upcoming[depth]
            upcoming[depth] = e + 1
            prefix[depth] = stack[depth][0][e]
            low = stack[depth][1][e]
            high = stack[depth][1][e + 1]
    return members[:n_members].copy(), counts[:n_sets].copy(), sizes[:n_sets].copy()
