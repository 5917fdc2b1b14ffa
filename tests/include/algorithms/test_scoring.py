import numpy as np
import pytest
import scipy.sparse as sp

from include.algorithms import scoring


@pytest.fixture
def matrix():
    rng = np.random.default_rng(3)
    dense = (rng.random((60, 17)) < rng.uniform(0.1, 0.6, 17)).astype(np.float32)
    dense[:, 0] = 0  # a product that nobody bought
    return sp.csr_matrix(dense)


def test_ease_is_the_published_closed_form(matrix):
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    inverse = np.linalg.inv(gram + 20 * np.eye(17))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    scores = scoring.ease(matrix, 20)(np.arange(60), matrix)
    np.testing.assert_allclose(scores, matrix @ weights, atol=1e-5)


def test_ease_fills_its_matrix_in_blocks(matrix, monkeypatch):
    whole = scoring.ease(matrix, 20)(np.arange(60), matrix)
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 4 * 17 * 5)
    np.testing.assert_array_equal(scoring.ease(matrix, 20)(np.arange(60), matrix), whole)


def test_item_item_is_the_shrunk_cosine(matrix, monkeypatch):
    monkeypatch.setattr(scoring, "_BLOCK_BYTES", 4 * 17 * 5)
    found = scoring.item_item(matrix, 4, shrinkage=3)
    dense = matrix.toarray()
    counts = dense.sum(0)
    similarity = dense.T @ dense / (np.sqrt(np.outer(counts, counts)) + 3)
    np.fill_diagonal(similarity, 0)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.products[1:], order[1:])
    np.testing.assert_allclose(found.scores, np.take_along_axis(similarity, order, 1), rtol=1e-6)
    assert (found.products[0] == -1).all()

    nearest = np.zeros_like(similarity)
    np.put_along_axis(nearest, order[:, :2], np.take_along_axis(similarity, order[:, :2], 1), 1)
    np.testing.assert_allclose(found.model(2)(np.arange(60), matrix), dense @ nearest.T, rtol=1e-5)


def test_als_is_reproducible_and_scores_what_was_bought_higher(matrix):
    reason = "the package implicit needs the system's OpenMP (Debian: libgomp1)"
    pytest.importorskip("implicit.cpu.als", reason=reason, exc_type=ImportError)
    scores = [scoring.als(matrix, 8, 10.0, 0.01, 10, seed=1)(np.arange(60), matrix) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    bought = matrix.toarray() > 0
    assert scores[0][bought].mean() > 0.8 > 0.2 > scores[0][~bought].mean()


def test_the_noise_level_is_the_largest_singular_value_of_chance():
    rng = np.random.default_rng(5)
    chance = (rng.random((800, 300)) < 0.05).astype(float)
    largest = np.linalg.svd(chance - chance.mean(), compute_uv=False)[0]
    assert scoring.noise_level(sp.csr_matrix(chance)) == pytest.approx(largest, rel=0.06)


def test_top_k_leaves_out_what_is_excluded_and_not_positive_and_prefers_the_smaller_of_equals():
    scores = np.array([[1, 3, 3, 2, 0, -1], [0, 0, 0, 0, 0, 5]], np.float32)
    own = sp.csr_matrix(np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], np.float32))
    columns, values = scoring.top_k(scores.copy(), own.indptr, own.indices, True, 4)
    np.testing.assert_array_equal(columns, [[1, 2, 0, -1], [-1] * 4])
    np.testing.assert_array_equal(values, [[3, 3, 1, 0], [0] * 4])
    columns, _ = scoring.top_k(scores.copy(), own.indptr, own.indices, False, 2)
    np.testing.assert_array_equal(columns, [[1, 2], [5, -1]])


def test_top_k_equals_a_stable_sort():
    scores = np.random.default_rng(0).integers(-3, 10, (200, 40)).astype(np.float32)
    none = sp.csr_matrix(scores.shape, dtype=np.float32)
    columns, values = scoring.top_k(scores.copy(), none.indptr, none.indices, True, 10)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    best = np.take_along_axis(scores, order, 1)
    np.testing.assert_array_equal(columns, np.where(best > 0, order, -1))
    np.testing.assert_array_equal(values, np.maximum(best, 0))


def test_metrics_by_hand():
    ranked = np.array([[0, 1, 2], [3, -1, -1], [0, 1, 2]], np.int32)
    relevant = sp.csr_matrix(np.array([[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], np.float32))
    found = scoring.metrics(ranked, relevant)
    assert found.users == 2
    assert found.recall == pytest.approx((1 / 2 + 1) / 2)
    best = 1 + 1 / np.log2(3)
    assert found.ndcg == pytest.approx((1 / np.log2(3) / best + 1) / 2)


def test_memory_is_what_the_machine_has_at_most():
    assert 2**28 < scoring.memory_bytes() < 2**50
    assert scoring.ease_bytes(15_000) == 900_000_000
