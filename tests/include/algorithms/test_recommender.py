from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from include.algorithms import recommender, scoring
from include.algorithms.outcome import InputError
from include.algorithms.recommender import ENGINES, Parameters, run

REPORT_DATE = date(2024, 7, 1)
TABLES = {
    "recommendations": recommender.RECOMMENDATIONS,
    "similar_products": recommender.SIMILAR_PRODUCTS,
    "recommender_metrics": recommender.METRICS,
}


def skip_without_openmp(engine):
    if engine == "als":
        reason = "the package implicit needs the system's OpenMP (Debian: libgomp1)"
        pytest.importorskip("implicit.cpu.als", reason=reason, exc_type=ImportError)


def lines(rows):
    """Sale lines from (customer, product, day of 2024) rows."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "product_id": [row[1] for row in rows],
            "product_name": [f"name of {row[1]}" for row in rows],
            "product_group": ["toys"] * len(rows),
            "sale_date": [datetime(2024, 1, 1) + timedelta(row[2]) for row in rows],
            "quantity": [1.0] * len(rows),
        },
        schema_overrides={"customer_id": pl.String, "product_id": pl.String, "sale_date": pl.Datetime("us")},
    )


def tastes(customers=120, products=24, seed=0):
    """Customers of three tastes, who buy products of theirs over half a year, and some popular product."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        own = np.flatnonzero(np.arange(products) % 3 == customer % 3)
        for product in rng.choice(own, 6, replace=False):
            rows.append((f"c{customer:03}", f"p{product:02}", int(rng.integers(0, 181))))
        rows.append((f"c{customer:03}", f"p{rng.integers(0, 3):02}", int(rng.integers(0, 181))))
    return lines(rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_customer_gets_products_of_their_taste_that_they_have_not_bought(engine):
    skip_without_openmp(engine)
    sales = tastes()
    small = Parameters(
        per_customer=2, min_customers=1, als_factors=8, als_regularization=0.2, shrinkage=1, neighbours=7
    )
    outcome = run(sales, small, REPORT_DATE, engine)
    table = outcome.tables["recommendations"]
    assert table["customer_id"].n_unique() == 120
    assert table.group_by("customer_id").len()["len"].unique().to_list() == [2]
    assert table.join(sales, on=["customer_id", "product_id"], how="inner").is_empty()
    same_taste = table.select(
        (pl.col("product_id").str.slice(1).cast(pl.Int64) % 3)
        == (pl.col("customer_id").str.slice(1).cast(pl.Int64) % 3)
    )
    assert same_taste.to_series().mean() > 0.9
    metrics = {row["model"]: row for row in outcome.tables["recommender_metrics"].iter_rows(named=True)}
    chosen = "ease" if engine == "auto" else engine
    assert list(metrics) == [chosen, "popularity"]
    assert metrics[chosen]["ndcg_at_10"] > metrics["popularity"]["ndcg_at_10"]
    similar = outcome.tables["similar_products"].filter(pl.col("position") <= 3)
    same = similar.select(
        (pl.col("product_id").str.slice(1).cast(pl.Int64) - pl.col("similar_id").str.slice(1).cast(pl.Int64)) % 3 == 0
    )
    assert same.to_series().mean() > 0.8
    assert {name: table.schema for name, table in outcome.tables.items()} == TABLES


@pytest.mark.parametrize("engine", ["ease", "als"])
def test_the_order_of_the_lines_does_not_matter(engine):
    skip_without_openmp(engine)
    sales = tastes()
    shuffled = sales.sample(fraction=1, shuffle=True, seed=5)
    one, other = (run(frame, Parameters(als_factors=8), REPORT_DATE, engine) for frame in (sales, shuffled))
    for name in TABLES:
        assert one.tables[name].equals(other.tables[name]), name


def test_scores_computed_in_chunks_are_the_same(monkeypatch):
    sales = tastes()
    whole = run(sales, Parameters(), REPORT_DATE, "ease").tables["recommendations"]
    monkeypatch.setattr(recommender, "_CHUNK_BYTES", 4 * 24 * 7)
    assert run(sales, Parameters(), REPORT_DATE, "ease").tables["recommendations"].equals(whole)


def test_bought_products_return_when_they_may():
    sales = tastes()
    table = run(sales, Parameters(exclude_bought=False), REPORT_DATE, "item-item").tables["recommendations"]
    assert not table.join(sales, on=["customer_id", "product_id"], how="inner").is_empty()


def test_cold_customers_get_neighbours_then_what_is_popular():
    sales = pl.concat(
        [
            tastes(),
            # r1 and r2 share a rare product; r1 has bought nothing else, r2 also p05.
            lines([("r1", "rare", 5), ("r2", "rare", 6), ("r2", "p05", 7)]),
            # Only ever returned something: no purchase, but a customer.
            lines([("cold", "p01", 9)]).with_columns(quantity=pl.lit(-1.0)),
        ]
    )
    outcome = run(sales, Parameters(per_customer=3, min_customers=3), REPORT_DATE, "ease")
    table = outcome.tables["recommendations"]
    cold = table.filter(pl.col("customer_id") == "cold")
    counts = sales.filter(pl.col("quantity") > 0).group_by("product_id").agg(n=pl.col("customer_id").n_unique())
    popular = counts.sort("n", "product_id", descending=[True, False]).head(3)["product_id"]
    assert cold["source"].to_list() == ["popularity"] * 3
    assert cold["product_id"].to_list() == popular.to_list()
    assert cold["score"][0] == pytest.approx(counts["n"].max() / 123)
    r1 = table.filter(pl.col("customer_id") == "r1")
    assert r1.select("product_id", "source").row(0) == ("p05", "item-item")
    assert r1["source"].to_list()[1:] == ["popularity"] * 2
    assert outcome.facts["customers_by_source"] == {"ease": 121, "item-item": 1, "popularity": 2}


def test_lines_left_out_are_counted_by_their_first_reason():
    sales = pl.concat(
        [
            tastes(),
            lines([("", "p01", 0), ("c001", None, 0), ("c001", "p01", 400), ("c001", "p02", 3)]).with_columns(
                quantity=pl.Series([1.0, 1, 1, 0])
            ),
            lines([("c001", "service", 3), ("c001", "ungrouped", 3)]).with_columns(
                product_group=pl.Series(["services", None], dtype=pl.String)
            ),
        ]
    )
    outcome = run(sales, Parameters(categories=("toys",)), REPORT_DATE)
    assert outcome.excluded == {
        "invalid_customer_id": 1,
        "invalid_product_id": 1,
        "outside_period": 1,
        "return": 1,
        "category_not_allowed": 2,
    }
    denied = run(sales, Parameters(denied_categories=("services",)), REPORT_DATE)
    assert denied.excluded["category_not_allowed"] == 1
    for table in (outcome.tables["recommendations"], outcome.tables["similar_products"]):
        assert not set(table["product_id"]) & {"service", "ungrouped"}


def test_a_product_is_named_as_it_was_last_sold():
    sales = pl.concat(
        [
            tastes(),
            lines([("c001", "p03", 181)]).with_columns(product_name=pl.lit("new name")),
            lines([("c001", "p03", 181.5)]).with_columns(product_name=pl.lit("damaged"), quantity=pl.lit(-1.0)),
        ]
    )
    table = run(sales, Parameters(), REPORT_DATE).tables["similar_products"]
    assert table.filter(pl.col("similar_id") == "p03")["similar_name"].unique().to_list() == ["new name"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("sales", "reason"),
    [
        (lines([]), "no customer bought a product"),
        (lines([("c", "p", 1)]).with_columns(quantity=pl.lit(-1.0)), "no customer bought a product"),
        (lines([("c1", "p", 1), ("c2", "p", 2)]), "no product that its possible customers have not bought"),
        (lines([("c1", "p", 1), ("c1", "q", 2)]), "no product that its possible customers have not bought"),
        (lines([(f"c{i}", f"p{j}", 1) for i in range(4) for j in range(3)]), "have not bought already"),
        (lines([("c1", "p", 1), ("c2", "q", 2)]), "quality was not measured"),
    ],
)
def test_what_gives_nothing_says_why(sales, reason, engine):
    outcome = run(sales, Parameters(), REPORT_DATE, engine)
    assert reason in outcome.reason
    assert {name: table.schema for name, table in outcome.tables.items()} == TABLES


def test_auto_is_ease_up_to_its_products_and_its_memory(monkeypatch):
    purchases = scoring.Purchases.of(recommender.first_purchases(tastes()))
    assert recommender.choose("auto", purchases, Parameters(ease_products=24)) == "ease"
    assert recommender.choose("auto", purchases, Parameters(ease_products=23)) == "als"
    monkeypatch.setattr(scoring, "memory_bytes", lambda: 4 * 24**2)
    assert recommender.choose("auto", purchases, Parameters()) == "als"
    with pytest.raises(InputError, match="use --engine als"):
        recommender.choose("ease", purchases, Parameters())


def test_an_unknown_engine_is_named():
    with pytest.raises(InputError, match="no engine 'svd'; it has auto, ease, als, item-item"):
        run(tastes(), Parameters(), REPORT_DATE, "svd")


def test_the_evaluation_asks_only_for_new_products_of_known_customers():
    bought = recommender.first_purchases(
        lines(
            [
                *[("a", "p1", 1), ("a", "p2", 100), ("a", "new", 100)],  # p2 is to be found; nobody could know "new"
                *[("b", "p2", 1), ("b", "p1", 2), ("b", "p1", 100)],  # bought p1 before already
                ("c", "p1", 100),  # a customer of the test only
            ]
        )
    )
    _, split = recommender.evaluate(bought, date(2024, 3, 1), Parameters(min_customers=1), "ease")
    assert (split["test_customers"], split["test_pairs"], split["train_pairs"]) == (1, 1, 3)


@pytest.mark.parametrize(
    ("engine", "ndcg", "recall"), [("ease", 0.110, 0.057), ("als", 0.109, 0.056), ("item-item", 0.102, 0.054)]
)
def test_published_quality_on_online_retail(online_retail, engine, ndcg, recall):
    skip_without_openmp(engine)
    sold = online_retail.filter(pl.col("customer_id").is_not_null(), pl.col("quantity") > 0)
    bought = recommender.first_purchases(sold)
    table, split = recommender.evaluate(bought, date(2011, 10, 1), Parameters(min_customers=1), engine)
    model, baseline = table.iter_rows(named=True)
    assert (model["users"], split["train_customers"], split["train_products"]) == (1753, 3616, 3508)
    assert model["ndcg_at_10"] == pytest.approx(ndcg, abs=0.0015)
    assert model["recall_at_10"] == pytest.approx(recall, abs=0.0015)
    assert baseline["ndcg_at_10"] == pytest.approx(0.0441, abs=0.0002)
