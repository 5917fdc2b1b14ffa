from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.algorithms import basket, rules
from include.algorithms.outcome import InputError

REPORT_DATE = date(2024, 3, 1)


def sales(*baskets, **columns):
    """One line per product letter of each basket, quantity 1; group g + letter, name in upper case."""
    rows = [
        {
            "product_id": product,
            "product_name": product.upper(),
            "product_group": f"g{product}",
            "sale_date": datetime(2024, 2, 1),
            "quantity": 1.0,
            "order_id": f"o{number}",
        }
        | columns
        for number, products in enumerate(baskets, start=1)
        for product in products
    ]
    schema = dict.fromkeys(("product_id", "product_name", "product_group", "order_id"), pl.String)
    return pl.DataFrame(rows, schema={**schema, "sale_date": pl.Datetime("us"), "quantity": pl.Float64}).select(
        basket.COLUMNS
    )


def run(lines, engine="lcm", **parameters):
    return basket.run(lines, basket.Parameters(**parameters), REPORT_DATE, engine)


def reasons(outcome):
    return dict(outcome.tables["mba_excluded"].select("product_id", "reason").iter_rows())


@pytest.fixture(scope="module")
def varied():
    """Many baskets of 30 products, in which some pairs are planted."""
    import numpy as np

    rng = np.random.default_rng(5)
    letters = [f"p{number:02}" for number in range(30)]
    rows = []
    for _ in range(600):
        chosen = set(rng.choice(letters, rng.integers(1, 6), p=np.arange(30, 0, -1) / 465))
        if "p03" in chosen:
            chosen.add("p25")
        rows.append(sorted(chosen))
    return sales(*rows)


def test_rules_carry_ids_names_groups_and_metrics():
    table = run(sales("ab", "ab", "a", "b", "c")).tables["mba_rules"]
    assert table.height == 2
    rule = table.row(0, named=True)
    assert (rule["antecedent"], rule["antecedent_name"], rule["antecedent_group"]) == ("a", "A", "ga")
    assert (rule["consequent"], rule["consequent_name"], rule["consequent_group"]) == ("b", "B", "gb")
    assert (rule["antecedent_size"], rule["transactions"], rule["support"]) == (1, 2, 0.4)
    assert (rule["confidence"], rule["lift"]) == pytest.approx((2 / 3, 2 / 3 / 0.6))


def test_several_antecedents_are_sorted_and_joined():
    table = run(sales("cab", "bca", "d", "d"), max_length=3).tables["mba_rules"]
    longest = table.filter(pl.col("antecedent_size") == 2)
    assert longest["antecedent"].sort().to_list() == ["a|b", "a|c", "b|c"]
    assert "A | B" in longest["antecedent_name"].to_list()


def test_plans_hold_only_rules_from_one_product():
    outcome = run(sales("abc", "abc", "d", "d"), max_length=3)
    store = outcome.tables["mba_store"]
    assert store.group_by("product_id").len().sort("product_id").rows() == [("a", 2), ("b", 2), ("c", 2)]


@pytest.mark.parametrize("engine", basket.ENGINES)
def test_products_with_few_recommendations_go_to_the_store_others_to_the_carousel(engine):
    # a is bought with each of b…g, these with nothing else.
    outcome = run(sales("ab", "ac", "ad", "ae", "af", "ag", "x", "x"), engine, store_max=5, carousel_max=5)
    store, carousel = outcome.tables["mba_store"], outcome.tables["mba_carousel"]
    assert store["product_id"].to_list() == list("bcdefg")
    assert carousel["product_id"].unique().to_list() == ["a"]
    assert carousel["position"].to_list() == [1, 2, 3, 4, 5]
    assert carousel["recommended_id"].to_list() == list("bcdef")  # Equal lift and confidence: by id, the rest cut off.
    assert reasons(outcome) == {"x": "no_rule"}


def test_a_line_is_left_out_for_the_first_step_it_fails():
    good = sales("ab", "ab", "c")
    bad = [
        sales("z", product_id="-1"),
        sales("z", sale_date=None),
        sales("y", sale_date=datetime(2024, 3, 1)),
        sales("x", order_id=" "),
        sales("w", quantity=-1.0),
        sales("v", quantity=None),
        sales("u", product_group="service"),
        sales("a", order_id="0"),
    ]
    outcome = run(pl.concat([good, *bad]), denied_categories=("service",), top_products=2)
    assert outcome.excluded == {
        "invalid_product_id": 1,
        "outside_period": 2,
        "invalid_order_id": 2,
        "return": 2,
        "category_not_allowed": 1,
        "outside_top_products": 1,
    }
    assert reasons(outcome) == {
        "z": "outside_period",
        "y": "outside_period",
        "x": "invalid_order_id",
        "w": "return",
        "v": "return",
        "u": "category_not_allowed",
        "c": "outside_top_products",
    }


def test_every_product_is_in_a_plan_or_excluded_with_a_reason(varied):
    outcome = run(varied, top_products=20, min_support=0.01)
    planned = set(outcome.tables["mba_store"]["product_id"]) | set(outcome.tables["mba_carousel"]["product_id"])
    excluded = reasons(outcome)
    assert planned
    assert excluded
    assert planned.isdisjoint(excluded)
    assert planned | set(excluded) == set(varied["product_id"])


def test_the_denominator_is_all_baskets_whatever_the_top():
    lines = sales("ab", "ab", "ab", "c", "d", "e")
    everything, top = run(lines), run(lines, top_products=2)
    assert everything.facts["transactions"] == top.facts["transactions"] == 6
    assert_frame_equal(everything.tables["mba_rules"].drop("q_value"), top.tables["mba_rules"].drop("q_value"))


def test_the_top_is_by_quantity_and_ties_go_to_the_smaller_id():
    outcome = run(pl.concat([sales("b", "a", "c"), sales("d", quantity=9.0)]), top_products=2)
    assert reasons(outcome) == {
        "d": "no_rule",
        "a": "no_rule",
        "b": "outside_top_products",
        "c": "outside_top_products",
    }


def test_categories_follow_the_product_s_latest_group():
    moved = sales("a", product_group="new", sale_date=datetime(2024, 2, 20))
    outcome = run(pl.concat([sales("ab", "ab", "c"), moved]), categories=("new", "gb", "gc"))
    assert outcome.tables["mba_rules"].height == 2
    outcome = run(pl.concat([sales("ab", "ab", "c"), moved]), categories=("ga", "gb", "gc"))
    assert reasons(outcome)["a"] == "category_not_allowed"


def test_lines_from_the_report_date_on_change_nothing(varied):
    later = sales(*["ab"] * 50, sale_date=datetime(2024, 3, 1))
    before, after = run(varied), run(pl.concat([varied, later]))
    for name in ("mba_rules", "mba_store", "mba_carousel"):
        assert_frame_equal(before.tables[name], after.tables[name])


def test_the_result_does_not_depend_on_the_order_of_the_lines(varied):
    one, other = run(varied, max_length=3), run(varied.sample(fraction=1, shuffle=True, seed=1), max_length=3)
    for name, table in one.tables.items():
        assert_frame_equal(table, other.tables[name])


@pytest.mark.parametrize("max_length", [2, 3])
def test_both_engines_give_the_same_tables(varied, max_length):
    one, other = (run(varied, engine, max_length=max_length, min_support=0.003) for engine in basket.ENGINES)
    assert one.tables["mba_rules"].height > 100
    for name, table in one.tables.items():
        assert_frame_equal(table, other.tables[name], rel_tol=1e-11)
    assert one.facts == other.facts


def test_the_planted_pair_is_found_with_its_confidence(varied):
    table = run(varied, min_support=0.01).tables["mba_rules"]
    planted = table.filter(pl.col("antecedent") == "p03", pl.col("consequent") == "p25")
    assert planted["confidence"].item() == 1.0
    assert planted["q_value"].item() < 1e-6


def test_q_values_are_over_all_rules_tested_and_can_be_a_threshold(varied):
    everything = run(varied).tables["mba_rules"]
    significant = run(varied, max_q_value=0.05)
    assert 0 < significant.tables["mba_rules"].height < everything.height
    assert_frame_equal(significant.tables["mba_rules"], everything.filter(pl.col("q_value") <= 0.05))
    assert significant.facts["rules_tested"] > everything.height  # Those of lift below 1 were tested as well.


@pytest.mark.parametrize("engine", basket.ENGINES)
@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (sales(), "no sale lines"),
        (sales("a", "a"), "only one product"),
        (sales("a", "b"), "no two products are together"),
        (sales("ab", quantity=-1.0), "every sale line was left out"),
        (sales("ab", "a", "a", "b", "b", "b"), "reaches lift"),
    ],
)
def test_nothing_to_say_is_an_empty_result_with_the_reason(lines, reason, engine):
    outcome = run(lines, engine)
    assert reason in outcome.reason
    assert outcome.tables["mba_rules"].height == 0
    assert set(outcome.tables) == {"mba_rules", "mba_store", "mba_carousel", "mba_excluded"}
    assert outcome.tables["mba_rules"].schema == run(sales("ab", "ab", "c")).tables["mba_rules"].schema
    assert outcome.tables["mba_excluded"].height == lines["product_id"].n_unique()


def test_all_baskets_alike_have_a_lift_of_one():
    table = run(sales("ab", "ab", "ab")).tables["mba_rules"]
    assert table["lift"].to_list() == [1.0, 1.0]
    assert table["conviction"].to_list() == [float("inf")] * 2
    assert table["zhang"].to_list() == [0.0, 0.0]


def test_an_unknown_engine_is_an_input_error():
    with pytest.raises(InputError, match="no engine 'apriori'; it has lcm, mlxtend"):
        run(sales("ab"), "apriori")


def test_online_retail(online_retail):
    outcome = basket.run(online_retail, basket.Parameters(denied_categories=("service",)), date(2011, 12, 10))
    assert outcome.facts["products"] == 300
    assert outcome.facts["transactions"] == 20_538
    table = outcome.tables["mba_rules"]
    assert table.height == outcome.facts["rules"] > 80_000
    assert table["lift"].min() >= 1 - 1e-9
    best = table.filter(pl.col("transactions") >= 500)["antecedent_name", "consequent_name"].row(0)
    assert all("REGENCY TEACUP" in name for name in best)
    counts = outcome.tables["mba_carousel"].group_by("product_id").len()["len"]
    assert counts.min() > 4
    assert counts.max() == 14
    assert rules.strong(table, min_lift=1.0).height == table.height
