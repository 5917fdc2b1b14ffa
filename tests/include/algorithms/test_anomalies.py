from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from include.algorithms import anomalies
from include.algorithms.anomalies import ENGINES, Parameters, run
from include.algorithms.outcome import InputError
from local.data import retail

REPORT_DATE = date(2024, 7, 15)
TABLES = {
    "anomaly_suspects": anomalies.SUSPECTS,
    "anomaly_transactions": anomalies.TRANSACTIONS,
    "anomaly_days": anomalies.DAYS,
}


def lines(rows):
    """Sale lines from (customer, group, moment, quantity) rows."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "anomaly_group": [row[1] for row in rows],
            "sale_date": [row[2] for row in rows],
            "quantity": [float(row[3]) for row in rows],
            "amount": [10.0 * row[3] for row in rows],
            "order_id": [f"o{number}" for number in range(1, len(rows) + 1)],
            "product_id": ["p1"] * len(rows),
            "product_name": ["Product"] * len(rows),
            "store": ["Centre"] * len(rows),
        },
        schema_overrides={"customer_id": pl.String, "anomaly_group": pl.String, "sale_date": pl.Datetime("us")},
    )


def month(k, day=3):
    """A moment in the k-th month before the report date."""
    year, index = divmod(2024 * 12 + 6 - k, 12)
    return datetime(year, index + 1, 15) + timedelta(days=day, hours=12)


def habit(customers=20, group="opioids", units=lambda customer, k: 1 + (customer + k) % 3):
    """Customers who buy a few units in each of the thirteen months."""
    return [(f"c{c}", group, month(k), units(c, k)) for c in range(customers) for k in range(1, 14)]


def test_a_planted_suspect_is_found_with_the_transactions():
    planted = [("c5", "opioids", month(1, day), 10) for day in (1, 8, 20)]
    outcome = run(lines(habit() + planted), Parameters(), REPORT_DATE)
    reference = np.array([1 + (c + k) % 3 for c in range(20) for k in range(2, 14)], float)
    mean, std = reference.mean(), reference.std(ddof=1)
    usual = 1 + (5 + 1) % 3
    (suspect,) = outcome.tables["anomaly_suspects"].iter_rows(named=True)
    assert suspect["customer_id"] == "c5"
    assert suspect["units"] == 30 + usual
    assert suspect["mean"] == pytest.approx(mean)
    assert suspect["std"] == pytest.approx(std)
    assert suspect["threshold"] == pytest.approx(mean + 2 * std)
    assert suspect["z_score"] == pytest.approx((30 + usual - mean) / std)
    assert suspect["months"] == 12
    transactions = outcome.tables["anomaly_transactions"]
    assert transactions["quantity"].to_list() == [10, usual, 10, 10]
    assert transactions["sale_date"].is_sorted()
    assert transactions["customer_id"].unique().to_list() == ["c5"]
    assert outcome.reason is None


def test_one_month_is_compared_with_single_months_not_with_their_sum():
    # Steady customers: the last month equals each month before; a sum over twelve months would be twelve times that.
    steady = habit(units=lambda customer, k: 5)
    outcome = run(lines(steady), Parameters(), REPORT_DATE)
    assert outcome.tables["anomaly_suspects"].is_empty()
    assert outcome.reason == "no customer's last month is above mean + 2 standard deviations of its group"
    # Three times the usual is far less than a year's sum, and yet a suspect.
    outcome = run(lines([*habit(), ("c1", "opioids", month(1, 5), 6)]), Parameters(), REPORT_DATE)
    assert outcome.tables["anomaly_suspects"]["customer_id"].to_list() == ["c1"]


def test_the_result_depends_on_the_report_date_not_on_the_clock_or_on_later_sales():
    sales = lines([*habit(), ("c5", "opioids", month(1), 30)])
    later = lines([("c7", "opioids", datetime(2024, 7, 15), 500), ("c7", "opioids", datetime.now(), 500)])
    one = run(sales, Parameters(), REPORT_DATE)
    other = run(pl.concat([sales, later]), Parameters(), REPORT_DATE)
    for name in TABLES:
        assert one.tables[name].equals(other.tables[name])
    assert other.excluded == {"outside_period": 2}
    # A month later the surge is history.
    assert "c5" not in run(sales, Parameters(), date(2024, 8, 15)).tables["anomaly_suspects"]["customer_id"]


def test_windows_include_their_first_moment_and_exclude_their_end():
    def suspects(moment):
        return run(lines([*habit(), ("x", "opioids", moment, 50)]), Parameters(), REPORT_DATE).tables[
            "anomaly_suspects"
        ]

    assert suspects(datetime(2024, 6, 15)).height == 1
    assert suspects(datetime(2024, 6, 14, 23, 59, 59)).height == 0
    assert suspects(datetime(2024, 7, 14, 23, 59, 59)).height == 1
    excluded = run(
        lines([("x", "g", datetime(2023, 6, 14, 23, 59, 59), 1), ("x", "g", datetime(2023, 6, 15), 1)]),
        Parameters(),
        REPORT_DATE,
    ).excluded
    assert excluded == {"outside_period": 1}


def test_groups_are_judged_by_their_own_habit_and_returns_are_subtracted():
    sales = lines(
        [
            *habit(),
            *habit(group="soap", units=lambda customer, k: 50 + (customer + k) % 3),
            ("c1", "opioids", month(1, 6), 40),
            ("c2", "opioids", month(1, 6), 40),
            ("c2", "opioids", month(1, 7), -40),
        ]
    )
    suspects = run(sales, Parameters(), REPORT_DATE).tables["anomaly_suspects"]
    assert suspects.select("anomaly_group", "customer_id").rows() == [("opioids", "c1")]


def test_more_than_a_habit_that_never_varies_is_suspect_without_a_z_score():
    sales = lines([*habit(units=lambda customer, k: 1), ("c3", "opioids", month(1, 5), 1)])
    (suspect,) = run(sales, Parameters(), REPORT_DATE).tables["anomaly_suspects"].iter_rows(named=True)
    assert (suspect["customer_id"], suspect["units"], suspect["std"], suspect["z_score"]) == ("c3", 2, 0, None)


def test_a_planted_day_is_found():
    rng = np.random.default_rng(2)
    start = datetime(2023, 7, 1)
    rows = [
        (f"c{d % 50}", "soap", start + timedelta(days=d), int(rng.poisson(20 + 10 * (d % 7 == 5)))) for d in range(380)
    ]
    rows.append(("c1", "soap", start + timedelta(days=300, hours=1), 90))
    for engine in ENGINES:
        days = run(lines(rows), Parameters(), REPORT_DATE, engine).tables["anomaly_days"]
        assert days["sale_date"].to_list() == [(start + timedelta(days=d)).date() for d in range(28, 380)]
        found = days.filter("is_anomaly")
        assert (start + timedelta(days=300)).date() in found["sale_date"].to_list()
        assert found.height <= 3
        worst = days.sort("score", descending=True).row(0, named=True)
        assert worst["units"] >= 90 > worst["expected"] > 5


def test_days_without_sales_count_as_zero_until_the_eve_of_the_report_date():
    rows = [
        ("c1", "soap", datetime(2024, 1, 1), 5),
        ("c1", "soap", datetime(2024, 6, 1), 3),
        ("c1", "soap", datetime(2024, 6, 2), -3),
    ]
    days = run(lines(rows), Parameters(), REPORT_DATE).tables["anomaly_days"]
    assert days["sale_date"][-1] == date(2024, 7, 14)
    assert days.filter(pl.col("units") > 0).select("sale_date", "units").rows() == [(date(2024, 6, 1), 3.0)]


def test_lines_left_out_are_counted_by_their_first_reason():
    sales = pl.concat([
        lines(habit()),
        lines([("c1", None, month(1), 1), ("c1", "opioids", None, 1), ("", "opioids", month(1), 1)]),
        lines([("c1", "opioids", month(1), 1)]).with_columns(quantity=pl.lit(float("nan"))),
    ])  # fmt: skip
    outcome = run(sales, Parameters(), REPORT_DATE)
    assert outcome.excluded == {
        "invalid_group": 1,
        "outside_period": 1,
        "invalid_quantity": 1,
        "invalid_customer_id": 1,
    }


def test_the_order_of_the_lines_does_not_matter():
    sales = lines([*habit(), ("c5", "opioids", month(1), 30.7), ("c5", "opioids", month(2), 0.1)])
    shuffled = sales.sample(fraction=1, shuffle=True, seed=1)
    one, other = run(sales, Parameters(), REPORT_DATE), run(shuffled, Parameters(), REPORT_DATE)
    for name in TABLES:
        assert one.tables[name].equals(other.tables[name])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "no customer bought anything in the period"),
        ([("c1", "g", month(1), -1)], "no customer bought anything in the period"),
        ([("c1", "g", month(3), 1)], "no customer bought anything in the last month"),
        ([("c1", "g", month(1), 1)], "no group has two"),
        ([("c1", "g", month(2), 1), ("c1", "g", month(1), 100)], "no group has two"),
        (habit(units=lambda customer, k: 2), "no customer's last month is above"),
    ],
)
def test_what_gives_nothing_says_why(rows, reason, engine):
    outcome = run(lines(rows), Parameters(), REPORT_DATE, engine)
    assert reason in outcome.reason
    assert {name: table.schema for name, table in outcome.tables.items()} == TABLES


def test_an_unknown_engine_is_named():
    with pytest.raises(InputError, match="no engine 'prophet'; it has holt-winters, reference"):
        run(lines([]), Parameters(), REPORT_DATE, "prophet")


def test_what_is_planted_in_the_generated_world_is_found(tmp_path):
    world = retail.generate(tmp_path, scale=0.3, seed=1, until=date(2024, 7, 1))
    sales = pl.read_parquet(world.sales).rename(
        {
            "product_atclevel4_description": "anomaly_group",
            "cod_dim_customer": "customer_id",
            "sale_unity": "quantity",
            "sale_total_price": "amount",
            "sale_order_id": "order_id",
            "store_name": "store",
        }
    )
    outcome = run(sales, Parameters(), world.until)
    suspects = outcome.tables["anomaly_suspects"]
    planted = pl.DataFrame(world.truth["suspects"]).select("anomaly_group", "customer_id", "units")
    assert planted.height >= 3
    found = planted.join(suspects, on=["anomaly_group", "customer_id"], how="left", suffix="_found")
    assert found["units_found"].to_list() == planted["units"].to_list()
    top = suspects.sort("z_score", descending=True).head(planted.height)
    assert top.join(planted, on=["anomaly_group", "customer_id"], how="semi").height == planted.height
    days = outcome.tables["anomaly_days"].filter("is_anomaly").with_columns(pl.col("sale_date").cast(pl.String))
    surges = pl.DataFrame(world.truth["surges"])
    assert surges.height >= 1
    assert surges.join(days, on=["anomaly_group", "sale_date"], how="anti").is_empty()
