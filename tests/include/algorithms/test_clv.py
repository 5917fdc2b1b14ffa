from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import openpyxl
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.algorithms import artefacts, clv, missing_products
from include.algorithms.outcome import InputError
from include.tables import contract as tables

REPORT_DATE = date(2024, 7, 1)
SCHEMA = {
    **dict.fromkeys(("customer_id", "product_id", "product_name", "product_group", "store"), pl.String),
    "sale_date": pl.Datetime("us"),
    "amount": pl.Decimal(18, 4),
}


def lines(*rows):
    """One line per (customer, days before the report date, amount[, product[, store]])."""
    filled = [(*row, *("p", "s1")[len(row) - 3 :]) for row in rows]
    return pl.DataFrame(
        [
            {
                "customer_id": customer,
                "product_id": product,
                "product_name": product.upper(),
                "product_group": f"g{product}",
                "store": store,
                "sale_date": None if before is None else datetime(2024, 7, 1, 9) - timedelta(days=before),
                "amount": None if amount is None else str(amount),
            }
            for customer, before, amount, product, store in filled
        ],
        schema={**SCHEMA, "amount": pl.String},
    ).cast({"amount": pl.Decimal(18, 4)})


def run(sales, engine="grouped", **parameters):
    return clv.run(sales, clv.Parameters(**parameters), REPORT_DATE, engine)


@pytest.fixture(scope="module")
def shop():
    """A year of 800 customers who differ in rate, drop-out and spend, in two stores, with a customer attribute."""
    rng = np.random.default_rng(11)
    rows = []
    for number in range(800):
        day, end = int(rng.integers(0, 300)), 365
        rate, dropout, spend = rng.gamma(0.8, 1 / 18), rng.beta(1.0, 3.0), 20 / rng.gamma(4)
        moment = float(day)
        while moment < end:
            product = f"p{rng.integers(0, 40) ** 2 // 40:02}"
            amount = round(float(rng.gamma(6, spend)) + 0.01, 2)
            rows.append((f"c{number:04}", 365 - int(moment), amount, product, f"s{number % 2}"))
            moment += rng.exponential(1 / rate) + 1
            if len(rows) and moment > day and rng.random() < dropout:
                break
    sales = lines(*rows)
    return sales.with_columns(customer_city=pl.col("customer_id").str.slice(-1))


@pytest.fixture(scope="module")
def both(shop):
    return [run(shop, engine, discount_rate=0.01) for engine in clv.ENGINES]


def test_both_engines_agree_on_models(both):
    one, other = both
    for model, names in (("bgnbd", ("r", "alpha", "a", "b")), ("gamma_gamma", ("p", "q", "gamma"))):
        mine, theirs = one.facts[model], other.facts[model]
        assert [mine[name] for name in names] == pytest.approx([theirs[name] for name in names], rel=1e-3)
        assert mine["log_likelihood"] == pytest.approx(theirs["log_likelihood"], rel=1e-8)


def test_both_engines_agree_on_customers_and_missing_products(both):
    one, other = both
    customers, theirs = (outcome.tables["clv_customers"].sort("customer_id") for outcome in both)
    assert customers.height > 700
    numbers = [name for name, dtype in customers.schema.items() if dtype.is_float()]
    assert_frame_equal(customers.select(numbers), theirs.select(numbers), rel_tol=1e-3)
    assert_frame_equal(
        customers.select("customer_id", "frequency", "store"), theirs.select("customer_id", "frequency", "store")
    )
    assert (customers["value_group"] == theirs["value_group"]).mean() > 0.99
    assert one.tables["clv_missing_products"].schema == other.tables["clv_missing_products"].schema


def test_value_is_the_discounted_sum_over_months_of_30_days(shop):
    from include.algorithms import bgnbd

    outcome = run(shop, horizon_months=3, discount_rate=0.1)
    customers = outcome.tables["clv_customers"]
    model = bgnbd.BGNBD(*(outcome.facts["bgnbd"][name] for name in ("r", "alpha", "a", "b")))
    until = [model.expected_purchases(days, *customers["frequency", "recency", "age"]) for days in (0, 30, 60, 90)]
    discounted = sum((after - before) / 1.1**month for month, (before, after) in enumerate(pairwise(until), start=1))
    np.testing.assert_allclose(customers["clv"], discounted * customers["expected_average_value"].to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(customers["expected_purchases"], until[-1], rtol=1e-9)


def test_without_discount_the_value_is_purchases_times_average_value(shop):
    customers = run(shop).tables["clv_customers"]
    product = customers["expected_purchases"] * customers["expected_average_value"]
    np.testing.assert_allclose(customers["clv"], product, rtol=1e-12)


def test_customers_without_repeat_purchase_are_expected_to_spend_the_population_mean(shop):
    outcome = run(shop)
    model = outcome.facts["gamma_gamma"]
    once = outcome.tables["clv_customers"].filter(pl.col("frequency") == 0)
    mean = model["p"] * model["gamma"] / (model["q"] - 1)
    np.testing.assert_allclose(once["expected_average_value"], mean, rtol=1e-12)
    assert once["monetary"].unique().to_list() == [0.0]
    assert once["p_alive"].unique().to_list() == [1.0]


def test_groups_and_facts_add_up(both):
    for outcome in both:
        customers = outcome.tables["clv_customers"]
        assert sum(outcome.facts["value_group"].values()) == customers.height == outcome.facts["customers"]
        assert outcome.facts["retention"] == {
            "churn": (customers["p_alive"] < 1 / 3).sum(),
            "medium": customers["p_alive"].is_between(1 / 3, 2 / 3, closed="left").sum(),
            "alive": (customers["p_alive"] >= 2 / 3).sum(),
        }
        assert all(outcome.facts["retention"].values())


def test_attributes_are_the_latest_known():
    sales = lines(("a", 90, 5), ("a", 60, 5), ("a", 30, 6), ("b", 20, 5)).with_columns(
        customer_city=pl.Series(["old", "new", None, " "])
    )
    customers = run(sales).tables["clv_customers"].sort("customer_id")
    assert customers.columns[-1] == "customer_city"
    assert customers["customer_city"].to_list() == ["new", None]


def test_attributes_beyond_the_table_contract_are_in_the_report_only(tmp_path):
    optional = [column.name for column in tables.load("clv_customers").columns if column.optional]
    assert list(clv.ATTRIBUTES) == optional
    sales = lines(("a", 90, 5), ("a", 60, 5), ("b", 20, 5)).with_columns(
        customer_city=pl.lit("Recife"), customer_loyalty_card=pl.lit("gold")
    )
    empty = sales.filter(pl.col("customer_id") == "b")
    for name, outcome in (("full", run(sales)), ("empty", run(empty))):
        (tmp_path / name).mkdir()
        artefacts.write_tables(
            outcome, tmp_path / name, "x", "en", "EUR", {"run": {}, "parameters": {}, "excluded": {}}
        )
        parquet = pl.read_parquet_schema(tmp_path / name / "clv_customers/x_clv_customers.parquet")
        assert {column for column in parquet if column.startswith("customer_")} == {"customer_id", "customer_city"}
        report = openpyxl.load_workbook(tmp_path / name / "x_clv_customers.xlsx").worksheets[0]
        assert [cell.value for cell in report[1]][-2:] == ["City", "Customer loyalty card"]
        if name == "full":
            assert [cell.value for cell in report[2]][-2:] == ["Recife", "gold"]


def test_the_store_is_where_most_was_spent():
    customers = run(lines(("a", 90, 5, "p", "s1"), ("a", 60, 4, "p", "s2"), ("a", 30, 4, "p", "s2"))).tables[
        "clv_customers"
    ]
    assert customers["store"].to_list() == ["s2"]


def test_history_ends_before_the_report_date_and_lines_are_left_out_with_reasons():
    sales = lines(
        *(("a", 300, 5), ("a", 100, 7), ("b", 200, 5)),
        *(("0", 10, 5), (None, 10, 5), ("a", 0, 9), ("a", 367, 9), ("a", None, 9), ("a", 10, None), ("a", 20, -3)),
    )
    outcome = run(sales)
    assert outcome.excluded == {
        "invalid_customer_id": 2,
        "outside_period": 3,
        "missing_amount": 1,
        "no_net_purchase": 1,
    }
    a = outcome.tables["clv_customers"].filter(pl.col("customer_id") == "a").row(0, named=True)
    assert (a["frequency"], a["recency"], a["age"], a["monetary"]) == (1, 200.0, 300.0, 7.0)


def test_a_return_on_the_day_of_the_purchase_reduces_it():
    outcome = run(lines(("a", 300, 5), ("a", 100, 9), ("a", 100, -2), ("b", 50, 5), ("b", 50, -5)))
    assert outcome.tables["clv_customers"]["monetary"].to_list() == [7.0]
    assert outcome.excluded == {"no_net_purchase": 2}


def value_groups(values):
    return pl.DataFrame({"clv": values}).select(group=clv.value_group(pl.col("clv")))["group"].to_list()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", [2, 3, 5, 17, 64, 65, 100, 1_001, 9_999, 20_001])
def test_value_groups_are_cuts_at_the_quantiles(size, ties):
    rng = np.random.default_rng(size)
    values = rng.integers(0, size // 3 + 1, size) * 1.0 if ties else rng.permutation(size) * 1.0
    edges = np.quantile(values, [0.5, 0.8, 0.9375, 0.98435]).round(9)
    names = list(clv.VALUE_GROUPS)
    assert value_groups(values) == [names[index] for index in np.searchsorted(edges, values, side="left")]


def test_value_groups_of_a_hundred():
    found = value_groups(np.arange(100.0))
    assert [found.count(name) for name in clv.VALUE_GROUPS] == [50, 30, 13, 5, 2]


def test_equal_values_are_in_one_group():
    assert set(value_groups([1.0] * 40)) == {"Low-Low"}  # pandas.qcut refuses such edges.
    assert value_groups([5.0]) == ["Low-Low"]
    assert value_groups([0.0] * 7 + [1.0] * 2 + [2.0]) == ["Low-Low"] * 7 + ["Low"] * 2 + ["High-High"]
    jitter = [1.0, 1.0 + 1e-15] * 20
    assert set(value_groups(jitter)) == {"Low-Low"}


def test_customers_are_ordered_by_value_and_do_not_depend_on_the_order_of_the_lines(shop):
    one, other = run(shop), run(shop.sample(fraction=1, shuffle=True, seed=3))
    for name, table in one.tables.items():
        assert_frame_equal(table, other.tables[name])
    assert one.tables["clv_customers"]["clv"].is_sorted(descending=True)


@pytest.mark.parametrize("engine", clv.ENGINES)
@pytest.mark.parametrize(
    ("sales", "reason"),
    [
        (lines(), "no sale lines"),
        (lines(("a", 10, 5), ("b", 20, 5), ("b", 20, 6)), "none of the 2 customers bought on a second day"),
        (lines(("a", 10, -5), ("a", 5, -5)), "no sale line of the history has a customer and money"),
        (lines((None, 10, 5), (None, 5, 5)), "no sale line of the history has a customer and money"),
    ],
)
def test_without_repeat_purchases_the_result_is_empty_with_the_reason(sales, reason, engine):
    outcome = run(sales.with_columns(customer_city=pl.lit("x")), engine)
    assert reason in outcome.reason
    assert {name: table.height for name, table in outcome.tables.items()} == {
        "clv_customers": 0,
        "clv_missing_products": 0,
    }
    full = run(lines(("a", 100, 5), ("a", 50, 6), ("b", 20, 3)).with_columns(customer_city=pl.lit("x")))
    for name, table in outcome.tables.items():
        assert table.schema == full.tables[name].schema


def test_models_that_do_not_converge_are_an_empty_result_with_advice(shop, monkeypatch):
    from include.algorithms import bgnbd

    monkeypatch.setattr(bgnbd, "_GRADIENT", 0.0)  # No gradient is that small.
    outcome = run(shop)
    assert "take a longer history" in outcome.reason
    assert outcome.tables["clv_customers"].is_empty()
    assert outcome.facts["repeat_customers"] > 0


def test_all_equal_values_have_a_result():
    sales = lines(*((f"c{number:02}", before, 10) for number in range(30) for before in (200, 150, 100, 50)))
    outcome = run(sales)
    customers = outcome.tables["clv_customers"]
    assert outcome.facts["gamma_gamma"] is None
    assert customers["expected_average_value"].unique().to_list() == [10.0]
    assert customers["clv"].is_finite().all()
    assert customers["value_group"].unique().to_list() == ["Low-Low"]


def test_a_single_repeat_customer_has_a_result():
    customers = run(lines(("a", 200, 10), ("a", 100, 12), ("b", 50, 3))).tables["clv_customers"]
    assert customers.height == 2
    assert customers["clv"].is_finite().all()
    assert (customers["clv"] > 0).all()


def test_an_infinite_population_mean_is_replaced_by_the_mean_repeat_purchase():
    rng = np.random.default_rng(0)
    rows = [(f"c{number:03}", 300, 5) for number in range(200)]
    for number in range(150):  # Money so unequal that q < 1.
        amount = float(np.exp(rng.normal(0, 4)))
        rows += [(f"c{number:03}", before, round(amount, 2) + 0.01) for before in (200, 100)]
    outcome = run(lines(*rows))
    assert outcome.facts["gamma_gamma"]["q"] < 1
    customers = outcome.tables["clv_customers"]
    once = customers.filter(pl.col("frequency") == 0)["expected_average_value"].unique().to_list()
    repeat = customers.filter(pl.col("frequency") > 0)
    assert once == pytest.approx([(repeat["frequency"] * repeat["monetary"]).sum() / repeat["frequency"].sum()])
    assert (customers["expected_average_value"] > 0).all()


def test_no_drop_out_is_remarked():
    rng = np.random.default_rng(0)
    rows = []
    for number in range(100):
        days = sorted(rng.choice(np.arange(1, 360), int(rng.integers(2, 12)), replace=False), reverse=True)
        rows += [(f"c{number:03}", int(day), round(float(rng.gamma(3, 5)) + 1, 2)) for day in days]
        rows += [(f"c{number:03}", 1, 5.0)]  # Everybody was there yesterday.
    outcome = run(lines(*rows))
    assert "no drop-out" in outcome.facts["remark"]
    assert outcome.facts["retention"] == {"churn": 0, "medium": 0, "alive": 100}


def test_missing_products_of_a_run_are_sold_elsewhere(shop):
    outcome = run(shop)
    missing = outcome.tables["clv_missing_products"]
    assert missing.height > 0
    assert set(missing["status"]) <= {missing_products.NOT_SOLD, missing_products.OUTSIDE}
    assert missing.select(pl.struct("store", "value_group", "product_id").n_unique()).item() == missing.height
    assert missing["cluster_share"].is_between(0, 1).all()


def test_an_unknown_engine_is_an_input_error():
    with pytest.raises(InputError, match="no engine 'pareto'; it has grouped, lifetimes"):
        run(lines(("a", 10, 5)), "pareto")


def test_engines_agree_on_online_retail(online_retail):
    some = online_retail.filter(pl.col("customer_id").hash(seed=1) % 4 == 0)
    report_date = date(2011, 12, 10)
    one, other = (clv.run(some, clv.Parameters(), report_date, engine) for engine in clv.ENGINES)
    mine, theirs = one.facts["bgnbd"], other.facts["bgnbd"]
    # Its history shows no drop-out: a and b are anywhere with a mean of 0, the other parameters are not.
    assert (mine["r"], mine["alpha"]) == pytest.approx((theirs["r"], theirs["alpha"]), rel=1e-3)
    assert mine["log_likelihood"] == pytest.approx(theirs["log_likelihood"], rel=1e-6)
    assert "no drop-out" in one.facts["remark"]
    names = ("p", "q", "gamma")
    mine, theirs = one.facts["gamma_gamma"], other.facts["gamma_gamma"]
    assert [mine[name] for name in names] == pytest.approx([theirs[name] for name in names], rel=1e-3)
    customers, expected = (outcome.tables["clv_customers"].sort("customer_id") for outcome in (one, other))
    np.testing.assert_allclose(customers["clv"], expected["clv"], rtol=1e-3)
