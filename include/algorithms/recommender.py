"""Products each customer is likely to buy next, and products that the same customers buy.

Feedback is implicit: a customer *bought* a product when a line with a positive quantity says so; how often and how much
does not count. Lines are left out for the first step they fail: `invalid_customer_id`, `invalid_product_id`,
`outside_period` (no date, or on or after the report date), `return` (the quantity is not above 0),
`category_not_allowed` (the product's latest group is not in `categories`, or is in `denied_categories`).

Engines: `ease` (closed form, quadratic in the products), `als` (latent factors, linear), `item-item` (cosine). `auto`
is EASE up to `ease_products` products where the machine's memory holds the matrix, ALS above.

Who gets what, in this order: the engine's products of positive score; for customers all of whose products are too rare
for the engine (`min_customers`), the item-item neighbours; what most customers bought. `source` names it.

Quality is measured on a time split: fitted on what was first bought before the cut-off, asked for the products that the
same customers bought for the first time after it, beside the popularity baseline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from include.algorithms import sale_lines, scoring
from include.algorithms.outcome import InputError, Outcome
from include.clients import contract

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

ENGINES = ("auto", "ease", "als", "item-item")
COLUMNS = ("customer_id", "product_id", "product_name", "product_group", "sale_date", "quantity")
POPULARITY = "popularity"
METRIC_AT = 10
"""Length of the lists that are measured, whatever length is asked for."""

_STEPS = ("invalid_customer_id", "invalid_product_id", "outside_period", "return", "category_not_allowed")
_CHUNK_BYTES = 64 * 2**20


class Parameters(contract.RecommenderParameters):
    """What the recommendations depend on besides the sales: the contract's parameters, and the groups that take part.

    Attributes:
        categories: the product groups that take part; None for all.
        denied_categories: product groups that do not take part; None for none.
    """

    categories: tuple[str, ...] | None = None
    denied_categories: tuple[str, ...] | None = None


RECOMMENDATIONS = pl.Schema(
    {
        "customer_id": pl.String,
        "position": pl.Int64,
        "product_id": pl.String,
        "product_name": pl.String,
        "score": pl.Float64,
        "source": pl.String,
    }
)
SIMILAR_PRODUCTS = pl.Schema(
    {
        "product_id": pl.String,
        "product_name": pl.String,
        "position": pl.Int64,
        "similar_id": pl.String,
        "similar_name": pl.String,
        "score": pl.Float64,
    }
)
METRICS = pl.Schema({"model": pl.String, "users": pl.Int64, "recall_at_10": pl.Float64, "ndcg_at_10": pl.Float64})


def run(sales: pl.DataFrame, parameters: Parameters, report_date: date, engine: str = ENGINES[0]) -> Outcome:
    """Recommendations for every customer and similar products for every product sold before the report date.

    Args:
        sales: the extract; needs the columns of `COLUMNS`.
        parameters: lengths, model and category parameters.
        report_date: the first day that does not count.
        engine: one of `ENGINES`.

    Returns:
        Tables `recommendations` (score: the model's, comparable within a customer and source; for popularity the share
        of customers who bought the product), `similar_products` (score: shrunk cosine) and `recommender_metrics`.

    Raises:
        InputError: a column is missing or unreadable, the engine is unknown, or its model does not fit into memory.
    """
    if engine not in ENGINES:
        raise InputError(f"recommender has no engine {engine!r}; it has {', '.join(ENGINES)}")
    lines, excluded = _judged(sales, parameters, report_date)
    kept = lines.filter(pl.col("reason").is_null())
    bought = first_purchases(kept)
    customers = lines.filter(pl.col("customer_id").is_not_null(), pl.col("sale_date") < pl.lit(report_date))
    purchases = scoring.Purchases.of(bought, customers["customer_id"].unique().sort())
    log.info(
        "%s customers, %s products, %s pairs of them",
        *(f"{n:,}" for n in (len(purchases.customers), len(purchases.products), len(bought))),
    )
    if not len(purchases.products):
        return _empty(excluded, "no customer bought a product: see the lines excluded by reason")

    # Of lines that customers bought: returns and stock corrections carry names such as "damaged".
    names = sale_lines.latest(kept, "product_id", ("product_name",))
    chosen = choose(engine, purchases, parameters)
    log.info("engine %s", chosen)
    neighbours = scoring.item_item(
        purchases.matrix, max(parameters.neighbours, parameters.similar), parameters.shrinkage
    )
    ranked = recommend(purchases, parameters, chosen, neighbours)
    recommendations = _recommendations(purchases, ranked, chosen, names)
    log.info("%s recommendations", f"{len(recommendations):,}")
    cutoff = sale_lines.months_before(report_date, parameters.test_months)
    metrics, split = evaluate(bought, cutoff, parameters, engine)
    sources = dict(recommendations.group_by("source").agg(pl.col("customer_id").n_unique()).sort("source").iter_rows())
    reason = None
    if recommendations.is_empty():
        reason = "there is no product that its possible customers have not bought already"
    elif not split["test_customers"]:
        reason = (
            f"quality was not measured: no customer bought before {cutoff} and something new after: set test_months"
        )
    return Outcome(
        tables={
            "recommendations": recommendations,
            "similar_products": _similar(purchases, neighbours, parameters.similar, names),
            "recommender_metrics": metrics,
        },
        excluded=excluded,
        facts={
            "engine": chosen,
            "customers": len(purchases.customers),
            "products": len(purchases.products),
            "pairs": len(bought),
            "customers_by_source": sources,
            "evaluation": split,
        },
        reason=reason,
    )


def warm() -> None:
    """Compiles the kernels into numba's cache."""
    scoring.warm()


def _judged(sales: pl.DataFrame, parameters: Parameters, report_date: date) -> tuple[pl.DataFrame, dict[str, int]]:
    """The lines with their product's latest group and the reason why they are left out (null: they are not)."""
    lines = sale_lines.clean(sales, COLUMNS)
    in_period = pl.col("sale_date") < pl.lit(report_date)
    known = lines.filter(pl.col("product_id").is_not_null(), in_period)
    groups = sale_lines.latest(known, "product_id", ("product_group",))
    lines = lines.drop("product_group").join(groups, on="product_id", how="left", maintain_order="left")
    conditions = (
        pl.col("customer_id").is_not_null(),
        pl.col("product_id").is_not_null(),
        in_period,
        pl.col("quantity") > 0,
        sale_lines.in_categories(parameters.categories, parameters.denied_categories),
    )
    lines = lines.with_columns(sale_lines.first_failing(zip(_STEPS, conditions, strict=True)))
    return lines, sale_lines.counts_by_reason(lines, _STEPS)


def first_purchases(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and product bought: customer_id, product_id and `first`, the moment it was first bought."""
    pairs = lines.group_by("customer_id", "product_id").agg(first=pl.col("sale_date").min())
    return pairs.sort("customer_id", "product_id")


def choose(engine: str, purchases: scoring.Purchases, parameters: Parameters) -> str:
    """The engine that `auto` stands for, or the engine itself when its model fits into memory.

    Raises:
        InputError: EASE was asked for, and this machine cannot hold its matrix.
    """
    products = int((purchases.customers_per_product >= parameters.min_customers).sum())
    need, have = scoring.ease_bytes(products), scoring.memory_bytes()
    fits = need <= have / 2
    if engine == "auto":
        return "ease" if products <= parameters.ease_products and fits else "als"
    if engine == "ease" and not fits:
        raise InputError(
            f"EASE on {products:,} products needs {need / 2**30:.1f} GiB, half of this machine's memory is "
            f"{have / 2**31:.1f} GiB: use --engine als, or raise min_customers"
        )
    return engine


@dataclass(frozen=True)
class Ranked:
    """The best products per customer.

    Attributes:
        products: (customers, k) product codes, best first; -1 where there are no more.
        scores: (customers, k) float32.
        tiers: (customers, k) what the place comes from: 0 the engine, 1 item-item, 2 popularity.
    """

    products: NDArray[np.int32]
    scores: NDArray[np.float32]
    tiers: NDArray[np.int8]


def recommend(
    purchases: scoring.Purchases, parameters: Parameters, engine: str, neighbours: scoring.ItemItem | None = None
) -> Ranked:
    """Ranks products for every customer with an engine other than auto.

    Scores are computed for as many customers at a time as 64 MiB hold. Of equal scores the smaller product id is first.

    Args:
        purchases: who bought what.
        parameters: of the models; `per_customer` and `exclude_bought`.
        engine: ease, als, item-item or popularity.
        neighbours: the item-item model of the same purchases, where the caller has it.
    """
    k, matrix = parameters.per_customer, purchases.matrix
    ranked = Ranked(
        np.full((matrix.shape[0], k), -1, np.int32),
        np.zeros((matrix.shape[0], k), np.float32),
        np.zeros((matrix.shape[0], k), np.int8),
    )
    counts = purchases.customers_per_product
    if engine != POPULARITY:
        if engine == "item-item":
            neighbours = neighbours or scoring.item_item(matrix, parameters.neighbours, parameters.shrinkage)
            learnt = np.arange(matrix.shape[1], dtype=np.int32)
            model: scoring.Model | None = neighbours.model(parameters.neighbours)
        else:
            learnt = np.flatnonzero(counts >= parameters.min_customers).astype(np.int32)
            model = _fit(engine, matrix[:, learnt], parameters) if len(learnt) else None
        known = np.diff(matrix[:, learnt].indptr) > 0
        if model:
            _rank(ranked, 0, np.flatnonzero(known), matrix, learnt, model, parameters.exclude_bought)
        left = np.flatnonzero(~known & (np.diff(matrix.indptr) > 0))
        if len(left):
            neighbours = neighbours or scoring.item_item(matrix, parameters.neighbours, parameters.shrinkage)
            everything = np.arange(matrix.shape[1], dtype=np.int32)
            fallback = neighbours.model(parameters.neighbours)
            _rank(ranked, 1, left, matrix, everything, fallback, parameters.exclude_bought)
    order = np.argsort(-counts, kind="stable").astype(np.int32)
    share = (counts / max(matrix.shape[0], 1)).astype(np.float32)
    scoring.fill_up(
        ranked.products, ranked.scores, ranked.tiers, 2, order, share,
        matrix.indptr, matrix.indices, parameters.exclude_bought,
    )  # fmt: skip
    return ranked


def _fit(engine: str, matrix: Any, parameters: Parameters) -> scoring.Model:
    if engine == "ease":
        return scoring.ease(matrix, parameters.ease_regularization)
    return scoring.als(
        matrix,
        parameters.als_factors,
        parameters.als_confidence,
        parameters.als_regularization,
        parameters.als_iterations,
        parameters.seed,
    )


def _rank(
    ranked: Ranked,
    tier: int,
    rows: NDArray[np.intp],
    matrix: Any,
    learnt: NDArray[np.int32],
    model: scoring.Model,
    exclude: bool,
) -> None:
    """Fills the rows' places with the model's products of positive score; `learnt` are the codes of its columns."""
    seen = matrix[:, learnt]
    size = max(_CHUNK_BYTES // (4 * len(learnt)), 1)
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        part = seen[chunk]
        scores = np.ascontiguousarray(model(chunk, part), np.float32)
        codes, best = scoring.top_k(scores, part.indptr, part.indices, exclude, ranked.products.shape[1])
        ranked.products[chunk] = np.where(codes >= 0, learnt[codes], -1)
        ranked.scores[chunk] = best
        ranked.tiers[chunk] = tier


def evaluate(
    bought: pl.DataFrame, cutoff: date, parameters: Parameters, engine: str
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Recall@10 and NDCG@10 on a time split, the engine (with its fallbacks) beside the popularity baseline.

    Trained on the pairs first bought before the cut-off. Tested are the customers of the training who afterwards bought
    products of the training for the first time: those products R are to be found. Recall@10 = found / |R|. NDCG@10 =
    Σ 1/log2(1 + place) over the found, divided by its greatest possible value, with min(10, |R|) found first
    (Järvelin & Kekäläinen 2002, binary relevance). Both are means over the customers tested.

    Args:
        bought: pairs as `first_purchases` gives them.
        cutoff: first day of the test.
        parameters: of the models; lists have ten places whatever `per_customer` is, and never hold what was bought.
        engine: one of `ENGINES`.

    Returns:
        The table of metrics, one row per model, and facts on the split. Without customers to test the metrics are null.
    """
    before = pl.col("first") < pl.lit(cutoff)
    train = scoring.Purchases.of(bought.filter(before))
    test = bought.filter(
        ~before,
        pl.col("customer_id").is_in(train.customers.implode()),
        pl.col("product_id").is_in(train.products.implode()),
    )
    facts = {
        "cutoff": cutoff.isoformat(),
        "train_customers": len(train.customers),
        "train_products": len(train.products),
        "train_pairs": train.matrix.nnz,
        "test_customers": test["customer_id"].n_unique(),
        "test_pairs": len(test),
    }
    if test.is_empty():
        chosen = choose(engine, train, parameters)
        return pl.DataFrame([(chosen, 0, None, None), (POPULARITY, 0, None, None)], schema=METRICS, orient="row"), facts
    parameters = parameters.model_copy(update={"per_customer": METRIC_AT, "exclude_bought": True})
    relevant = train.rows(test)
    rows = []
    for model in (choose(engine, train, parameters), POPULARITY):
        found = scoring.metrics(recommend(train, parameters, model).products, relevant)
        rows.append((model, found.users, found.recall, found.ndcg))
        log.info("%s: Recall@10 %.4f, NDCG@10 %.4f, %d customers", model, found.recall, found.ndcg, found.users)
    return pl.DataFrame(rows, schema=METRICS, orient="row"), facts


def _recommendations(purchases: scoring.Purchases, ranked: Ranked, engine: str, names: pl.DataFrame) -> pl.DataFrame:
    rows, places = np.nonzero(ranked.products >= 0)
    products = purchases.products.gather(ranked.products[rows, places])
    sources = pl.Series([engine, "item-item", POPULARITY], dtype=pl.String).gather(ranked.tiers[rows, places])
    table = pl.DataFrame(
        {
            "customer_id": purchases.customers.gather(rows),
            "position": places + 1,
            "product_id": products,
            "score": ranked.scores[rows, places],
            "source": sources,
        }
    )
    table = table.join(names, on="product_id", how="left", maintain_order="left")
    return table.select(RECOMMENDATIONS.names()).cast(RECOMMENDATIONS)


def _similar(purchases: scoring.Purchases, neighbours: scoring.ItemItem, k: int, names: pl.DataFrame) -> pl.DataFrame:
    rows, places = np.nonzero(neighbours.products[:, :k] >= 0)
    table = pl.DataFrame(
        {
            "product_id": purchases.products.gather(rows),
            "position": places + 1,
            "similar_id": purchases.products.gather(neighbours.products[rows, places]),
            "score": neighbours.scores[rows, places],
        }
    )
    similar = names.rename({"product_id": "similar_id", "product_name": "similar_name"})
    table = table.join(names, on="product_id", how="left", maintain_order="left")
    table = table.join(similar, on="similar_id", how="left", maintain_order="left")
    return table.select(SIMILAR_PRODUCTS.names()).cast(SIMILAR_PRODUCTS)


def _empty(excluded: dict[str, int], reason: str) -> Outcome:
    schemas = {
        "recommendations": RECOMMENDATIONS,
        "similar_products": SIMILAR_PRODUCTS,
        "recommender_metrics": METRICS,
    }
    return Outcome({name: pl.DataFrame(schema=schema) for name, schema in schemas.items()}, excluded, reason=reason)
