"""Models that score products for customers, from a sparse matrix of who bought what.

- EASE: H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
- ALS: Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
- Item-item: B. Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001; the
  shrinkage is R. Bell's and Y. Koren's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import polars as pl
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from include.algorithms.outcome import InputError

Model = Callable[[NDArray[np.intp], sp.csr_matrix], NDArray[np.float32]]
"""From customers' codes and their rows of the matrix to the scores of all its products, (customers, products)."""

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Purchases:
    """Who bought what.

    Attributes:
        customers: ids, sorted; a customer's code is the place in it.
        products: ids, sorted; likewise.
        matrix: (customers, products) of float32 ones, columns ascending within a row.
    """

    customers: pl.Series
    products: pl.Series
    matrix: sp.csr_matrix

    @classmethod
    def of(cls, pairs: pl.DataFrame, customers: pl.Series | None = None) -> Purchases:
        """The matrix of distinct pairs (columns customer_id, product_id).

        Args:
            pairs: one row per customer and product.
            customers: ids, sorted, of all customers, where some may have bought nothing.
        """
        customers = pairs["customer_id"].unique().sort() if customers is None else customers
        products = pairs["product_id"].unique().sort()
        empty = sp.csr_matrix((len(customers), len(products)), dtype=np.float32)
        purchases = cls(customers, products, empty)
        return cls(customers, products, purchases.rows(pairs))

    def rows(self, pairs: pl.DataFrame) -> sp.csr_matrix:
        """Other pairs of the same customers and products, as a matrix of the same shape."""
        codes = (
            pairs.join(_codes(self.customers, "customer_id", "row"), on="customer_id")
            .join(_codes(self.products, "product_id", "column"), on="product_id")
            .sort("row", "column")
        )
        ones = np.ones(len(codes), np.float32)
        shape = (len(self.customers), len(self.products))
        return sp.csr_matrix((ones, (codes["row"].to_numpy(), codes["column"].to_numpy())), shape)

    @cached_property
    def customers_per_product(self) -> NDArray[np.int64]:
        """(products,) how many customers bought each."""
        return np.bincount(self.matrix.indices, minlength=self.matrix.shape[1])


def _codes(ids: pl.Series, name: str, code: str) -> pl.DataFrame:
    return pl.DataFrame({name: ids, code: np.arange(len(ids), dtype=np.int32)})


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or its container's where that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if limit.exists() and (text := limit.read_text().strip()).isdigit():
            memory = min(memory, int(text))
    return memory


def ease_bytes(products: int) -> int:
    """Memory that EASE's matrix takes: float32, inverted in place."""
    return 4 * products**2


def ease(matrix: sp.csr_matrix, regularization: float) -> Model:
    """EASE: the weights B, with a zero diagonal, that minimise ‖X − XB‖² + λ‖B‖².

    With G = XᵀX and P = (G + λI)⁻¹: B = −P / diag(P), by columns. The Gram matrix is filled in blocks and inverted in
    place by its Cholesky factor, so the memory is one float32 matrix of products × products.

    Args:
        matrix: (customers, products) of ones.
        regularization: λ.
    """
    products = matrix.shape[1]
    transposed = matrix.T.tocsr()
    gram = np.empty((products, products), np.float32)
    step = max(_BLOCK_BYTES // (4 * max(products, 1)), 1)
    for start in range(0, products, step):
        gram[start : start + step] = (transposed[start : start + step] @ matrix).toarray()
    gram[np.diag_indices(products)] += regularization
    # The matrix is symmetric: its transpose is the Fortran order that LAPACK overwrites, its lower triangle our upper.
    factor, failed = scipy.linalg.lapack.spotrf(gram.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise InputError(f"EASE found no inverse: raise ease_regularization (it is {regularization:g})")
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    weights = inverse.T
    _mirror(weights)
    weights /= -np.diagonal(weights).copy()
    np.fill_diagonal(weights, 0)
    return lambda customers, rows: rows @ weights


@numba.njit(cache=True)
def _mirror(square: NDArray[np.float32]) -> None:
    """Copies the upper triangle to the lower one."""
    for row in range(square.shape[0]):
        for column in range(row):
            square[row, column] = square[column, row]


def als(
    matrix: sp.csr_matrix, factors: int, confidence: float, regularization: float, iterations: int, seed: int
) -> Model:
    """Implicit ALS: factors that minimise Σ c(u,i)·(p(u,i) − x(u)·y(i))² + λ(Σ‖x‖² + Σ‖y‖²), p = 1 where bought.

    A fixed λ suits one size of data only: it takes λ off every singular value (exactly so for c = 1), and those of the
    noise grow with the data. So λ is given in units of `noise_level`.

    Args:
        matrix: (customers, products) of ones.
        factors: length of x and y.
        confidence: c of a bought pair; 1 of every other.
        regularization: λ / noise_level(matrix).
        iterations: alternations.
        seed: of the start values.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:  # The library of OpenMP is the system's, not the wheel's.
        raise InputError(f"engine als: the package implicit cannot be loaded ({error}): install libgomp1") from error

    # Its threads each call BLAS: BLAS with threads of its own would slow them down several times.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            alpha=confidence,
            regularization=regularization * noise_level(matrix),
            iterations=iterations,
            random_state=seed,
        )
        model.fit(matrix, show_progress=False)
    x, y = np.asarray(model.user_factors), np.asarray(model.item_factors)
    return lambda customers, rows: x[customers] @ y.T


def noise_level(matrix: sp.csr_matrix) -> float:
    """The largest singular value that independent purchases as frequent as these would have, about.

    For a random matrix of density d it is √d·(√rows + √columns): the mean number of purchases per product and per
    customer, a square root each (S. Geman, "A Limit Theorem for the Norm of Random Matrices", 1980).
    """
    rows, columns = matrix.shape
    return float(np.sqrt(matrix.nnz / columns) + np.sqrt(matrix.nnz / rows))


@dataclass(frozen=True)
class ItemItem:
    """The most similar products of each product.

    Attributes:
        products: (products, k) codes, most similar first; -1 where there are no more.
        scores: (products, k) similarities.
    """

    products: NDArray[np.int32]
    scores: NDArray[np.float32]

    def model(self, neighbours: int) -> Model:
        """Scores a product by the sum of its similarities to those of its `neighbours` nearest that were bought."""
        rows, places = np.nonzero(self.products[:, :neighbours] >= 0)
        shape = (len(self.products), len(self.products))
        weights = sp.csr_matrix((self.scores[rows, places], (self.products[rows, places], rows)), shape)
        return lambda customers, bought: (bought @ weights).toarray()


def item_item(matrix: sp.csr_matrix, neighbours: int, shrinkage: float) -> ItemItem:
    """Cosine similarity of products by their customers, shrunk: n(i,j) / (√(n(i)·n(j)) + shrinkage).

    Args:
        matrix: (customers, products) of ones.
        neighbours: k, how many to keep per product.
        shrinkage: in customers.
    """
    products = matrix.shape[1]
    transposed = matrix.T.tocsr()
    roots = np.sqrt(np.diff(transposed.indptr)).astype(np.float32)
    step = max(_BLOCK_BYTES // (4 * max(products, 1)), 1)
    codes = np.full((products, neighbours), -1, np.int32)
    scores = np.zeros((products, neighbours), np.float32)
    for start in range(0, products, step):
        block = np.arange(start, min(start + step, products), dtype=np.int32)
        common = (transposed[block] @ matrix).toarray()
        common /= roots[block, None] * roots + np.float32(shrinkage)
        itself = np.arange(len(block) + 1, dtype=np.int32)
        codes[block], scores[block] = top_k(common, itself, block, True, neighbours)
    return ItemItem(codes, scores)


@numba.njit(cache=True)
def top_k(
    scores: NDArray[np.float32], indptr: NDArray[np.int32], indices: NDArray[np.int32], exclude: bool, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k greatest positive scores of each row, the smaller column first among equals.

    Args:
        scores: (rows, columns); overwritten where columns are excluded.
        indptr: with `indices`, the rows' own columns in CSR form.
        indices: see `indptr`.
        exclude: whether a row's own columns are left out.
        k: how many.

    Returns:
        Columns (rows, k), -1 where there are no more, and their scores.
    """
    rows, columns = scores.shape
    best = np.full((rows, k), -1, np.int32)
    values = np.zeros((rows, k), np.float32)
    for row in range(rows):
        if exclude:
            for place in range(indptr[row], indptr[row + 1]):
                scores[row, indices[place]] = 0
        found = 0
        for column in range(columns):
            score = scores[row, column]
            if score > 0 and (found < k or score > values[row, k - 1]):
                place = min(found, k - 1)
                while place > 0 and values[row, place - 1] < score:
                    best[row, place] = best[row, place - 1]
                    values[row, place] = values[row, place - 1]
                    place -= 1
                best[row, place] = column
                values[row, place] = score
                found = min(found + 1, k)
    return best, values


@numba.njit(cache=True)
def fill_up(
    products: NDArray[np.int32],
    scores: NDArray[np.float32],
    tiers: NDArray[np.int8],
    tier: int,
    order: NDArray[np.int32],
    share: NDArray[np.float32],
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    exclude: bool,
) -> None:
    """Fills the free places (-1) of each row with the first products of `order` that the row neither has nor excludes.

    Args:
        products: (rows, k) codes; changed.
        scores: (rows, k); changed to `share` of the product.
        tiers: (rows, k); changed to `tier`.
        tier: what the filled places come from.
        order: product codes, best first.
        share: (products,) score of each.
        indptr: with `indices`, what each row has bought, in CSR form.
        indices: see `indptr`.
        exclude: whether what was bought is left out.
    """
    rows, k = products.shape
    taken = np.full(len(share), -1, np.int64)
    for row in range(rows):
        place = 0
        while place < k and products[row, place] >= 0:
            taken[products[row, place]] = row
            place += 1
        if place == k:
            continue
        if exclude:
            for i in range(indptr[row], indptr[row + 1]):
                taken[indices[i]] = row
        for product in order:
            if place == k:
                break
            if taken[product] != row:
                products[row, place] = product
                scores[row, place] = share[product]
                tiers[row, place] = tier
                place += 1


class Metrics(NamedTuple):
    """Means over the users who have something to find."""

    users: int
    recall: float
    ndcg: float


def metrics(ranked: NDArray[np.int32], relevant: sp.csr_matrix) -> Metrics:
    """Recall@k and NDCG@k with binary relevance.

    Args:
        ranked: (users, k) product codes, best first; -1 for none.
        relevant: (users, products), non-zero where the product is to be found; users without any are left out.
    """
    k = ranked.shape[1]
    sizes = np.diff(relevant.indptr)
    users = np.flatnonzero(sizes)
    hits = np.zeros((len(users), k), bool)
    for row, user in enumerate(users):
        hits[row] = np.isin(ranked[user], relevant.indices[relevant.indptr[user] : relevant.indptr[user + 1]])
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(sizes[users], k) - 1]
    return Metrics(len(users), float(np.mean(hits.sum(1) / sizes[users])), float(np.mean(hits @ discount / ideal)))


def warm() -> None:
    """Compiles the kernels into numba's cache, for the types they are called with."""
    rng = np.random.default_rng(0)
    matrix = sp.csr_matrix((rng.random((8, 6)) < 0.5).astype(np.float32))
    ease(matrix, 1.0)
    neighbours = item_item(matrix, 2, 1.0)
    order = np.arange(6, dtype=np.int32)
    fill_up(
        neighbours.products, neighbours.scores, np.zeros((6, 2), np.int8), 2,
        order, np.ones(6, np.float32), matrix.indptr, matrix.indices, True,
    )  # fmt: skip
