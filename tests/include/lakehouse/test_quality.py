from datetime import date
from decimal import Decimal

import boto3
import pytest

from include.lakehouse import quality
from include.lakehouse.quality import QualityError
from tests.athena import query

BRONZE = {"order_items": 12, "geolocation": 5}


def reports(**changes) -> dict:
    """What the jobs of a sound run report, with changes to single figures, such as `silver_order_items_rows_out=9`."""
    found = {
        "bronze": {
            "partitions": [
                {"table": "order_items", "rows": 8, "rejected": 1, "files": [{"rows": 9}]},
                {"table": "order_items", "rows": 4, "rejected": 0, "files": [{"rows": 3}, {"rows": 1}]},
            ]
        },
        "silver": {
            "tables": {
                "geolocation": {"rows_in": 5, "rows_out": 2, "rejected": 0, "money": {}},
                "order_items": {
                    "rows_in": 12,
                    "rows_out": 10,
                    "rejected": 2,
                    "money": {"price": "99.90", "freight_value": "5.00"},
                },
            }
        },
        "gold": {
            "tables": {
                "wide_sales": {"rows_out": 10, "money": {"price": "99.90", "freight_value": "5.00"}},
                "daily_sales": {"rows_out": 7, "money": {"revenue": "80.00"}},
            }
        },
    }
    for path, value in changes.items():
        layer, rest = path.split("_", 1)
        for table in found[layer]["tables"]:
            if rest.startswith(table):
                found[layer]["tables"][table][rest.removeprefix(f"{table}_")] = value
    return found


def test_a_row_for_each_table_of_each_layer():
    rows = {(row.layer, row.table_name): row for row in quality.rows(reports(), BRONZE, {"wide_sales": "old"})}
    bronze = rows["bronze", "order_items"]
    assert (bronze.rows_in, bronze.rows_out, bronze.rejected, bronze.money) == (13, 12, 1, None)
    items = rows["silver", "order_items"]
    assert (items.rows_in, items.rows_out, items.rejected, items.money) == (12, 10, 2, Decimal("99.90"))
    assert rows["gold", "daily_sales"].money == Decimal("80.00")
    assert rows["gold", "wide_sales"].warnings == "old"
    assert {row.reconciled for row in rows.values()} == {True}
    assert quality.totals(list(rows.values()))["silver"] == {"rows": 12, "rejected": 2}


@pytest.mark.parametrize(
    ("layer", "changes", "says"),
    [
        ("silver", {"silver_order_items_rows_out": 9}, "silver order_items: 12 rows came in, 9 went out, 2 were"),
        ("silver", {"silver_order_items_rows_in": 11, "silver_order_items_rejected": 1}, "silver order_items: 11 rows"),
        ("silver", {"silver_geolocation_rows_in": 4}, "silver geolocation: 4 rows"),
        ("gold", {"gold_wide_sales_rows_out": 11}, "gold wide_sales: None rows came in, 11 went out"),
        ("gold", {"gold_wide_sales_money": {"price": "99.89"}}, "money 99.89"),
    ],
)
def test_what_does_not_add_up_is_told(layer, changes, says):
    quality.require_every_row(layer, reports(), BRONZE)
    with pytest.raises(QualityError, match=says):
        quality.require_every_row(layer, reports(**changes), BRONZE)


def test_another_try_replaces_what_the_first_measured_and_no_other_run(stack):
    s3, glue, day = boto3.client("s3"), boto3.client("glue"), date(1999, 1, 1)
    measured = quality.rows(reports(), BRONZE, {})
    for run, attempt, rows in (("a", 1, measured[:1]), ("b", 1, measured), ("a", 2, measured[1:])):
        quality.write(s3, glue, rows, "vitrine-lake", day, run, attempt)
    found = query(f"SELECT run, layer, table_name, rows_out, money FROM vitrine.quality WHERE load_date = DATE '{day}'")
    assert sorted(run for run, *_ in found) == ["a"] * (len(measured) - 1) + ["b"] * len(measured)
    assert ("a", "gold", "wide_sales", "10", "99.90") in found
