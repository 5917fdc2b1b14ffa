from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest

from include.algorithms import sale_lines
from include.algorithms.outcome import InputError


@pytest.mark.parametrize(
    "value",
    [None, "", "  ", "0", "000", "0.0", "-0", "-1", "-7.5", "NaN", "None", "null", "N/A", "undefined", "Unknown"],
)
def test_an_id_that_identifies_nothing_is_null(value):
    assert pl.DataFrame({"id": [value]}, schema={"id": pl.String}).select(sale_lines.identifier("id")).item() is None


@pytest.mark.parametrize("value", ["7", " 7 ", "0012", "85123A", "-A1", "0-1", "1.5", "nano", "C536379"])
def test_other_ids_are_kept_trimmed(value):
    assert pl.DataFrame({"id": [value]}).select(sale_lines.identifier("id")).item() == value.strip()


def test_garbled_values_become_null_in_the_right_type():
    sales = pl.DataFrame(
        {
            "sale_date": ["2024-01-31 10:00:00", "yesterday", None],
            "amount": ["1.50", "n/a", "-3"],
            "quantity": [1.0, float("nan"), 1e300],
            "customer_id": [12, 0, -1],
        }
    )
    clean = sale_lines.clean(sales, sales.columns)
    assert clean["sale_date"].to_list() == [datetime(2024, 1, 31, 10), None, None]
    assert clean["amount"].cast(pl.Float64).to_list() == [1.5, None, -3.0]
    assert clean["quantity"].cast(pl.Float64).to_list() == [1.0, None, None]
    assert clean["customer_id"].to_list() == ["12", None, None]


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="no column order_id"):
        sale_lines.clean(pl.DataFrame({"amount": [1]}), ["amount", "order_id"])


@pytest.mark.parametrize(
    ("column", "values", "dtype"),
    [
        ("sale_date", [1, 2], "Int64"),
        ("sale_date", [b"2024-01-01"], "Binary"),
        ("amount", [True, False], "Boolean"),
        ("product_id", [b"p1", b"\xff"], "Binary"),
        ("customer_id", [["c1"]], r"List\(String\)"),
        ("store", [{"name": "Centro"}], "Struct"),
    ],
)
def test_a_column_of_another_kind_is_named(column, values, dtype):
    with pytest.raises(InputError, match=f"column {column} holds {dtype}"):
        sale_lines.clean(pl.DataFrame({column: values}), [column])


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2024, 3, 31), 1, date(2024, 2, 29)),
        (date(2024, 2, 29), 12, date(2023, 2, 28)),
        (date(2024, 1, 1), 13, date(2022, 12, 1)),
    ],
)
def test_months_before(day, months, expected):
    assert sale_lines.months_before(day, months) == expected


def test_a_line_has_the_reason_of_the_first_step_it_fails():
    lines = pl.DataFrame({"a": [1, None, 1, None], "b": [2, 2, -2, -2]})
    steps = [("no_a", pl.col("a").is_not_null()), ("b_negative", pl.col("b") > 0)]
    reasons = lines.with_columns(sale_lines.first_failing(steps))
    assert reasons["reason"].to_list() == [None, "no_a", "b_negative", "no_a"]
    assert sale_lines.counts_by_reason(reasons, ["no_a", "b_negative", "other"]) == {"no_a": 2, "b_negative": 1}


def test_latest_is_the_last_known_value_and_on_ties_the_greatest():
    lines = pl.DataFrame(
        {
            "id": ["a", "a", "a", "b", "b", "c"],
            "sale_date": [date(2024, 1, d) for d in (1, 2, 3, 1, 1, 1)],
            "name": ["old", "new", None, "x", "y", None],
        }
    )
    assert sale_lines.latest(lines, "id", ["name"]).rows() == [("a", "new"), ("b", "y"), ("c", None)]
    first = sale_lines.latest(lines, "id", ["name"], prefer=pl.col("sale_date") == date(2024, 1, 1))
    assert first.rows() == [("a", "old"), ("b", "y"), ("c", None)]


@pytest.mark.parametrize(
    ("allowed", "denied", "kept"),
    [
        (None, None, ["x", "y", None]),
        (("x",), None, ["x"]),
        (None, ("x",), ["y", None]),
        (("x", "y"), ("x",), ["y"]),
        ((), None, []),
    ],
)
def test_categories(allowed, denied, kept):
    groups = pl.DataFrame({"product_group": ["x", "y", None]})
    assert groups.filter(sale_lines.in_categories(allowed, denied))["product_group"].to_list() == kept
