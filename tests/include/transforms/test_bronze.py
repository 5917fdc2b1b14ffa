"""The same rows of a source are typed, and the same ones rejected, with PyArrow, Polars and Spark."""

from datetime import date, datetime
from decimal import Decimal

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest

from include.transforms import bronze, silver
from include.transforms.silver import TABLES
from tests.include.transforms.conftest import in_bronze

ITEM = {
    "order_id": "o1",
    "order_item_id": "1",
    "product_id": "p1",
    "seller_id": "s1",
    "shipping_limit_date": "2018-01-10 10:00:00",
    "price": "10.00",
    "freight_value": "2.5",
}
NOT_MONEY = "price is not an amount of at most two decimals"


def rows_of(*items):
    schema = dict.fromkeys(dict.fromkeys(name for item in items for name in item), pl.String)
    return in_bronze(pl.DataFrame(items, schema=schema))


def typed(rows, table="order_items", engine=None):
    """Accepted and rejected rows as Polars has them, of what an engine, or PyArrow, made."""
    raw = engine.take(rows) if engine else nw.from_native(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
    made = bronze.typed(TABLES[table], raw)
    give = engine.give if engine else lambda frame: pl.from_arrow(frame.to_native())
    return tuple(give(frame).sort("row_number") for frame in made)


@pytest.fixture(params=["pyarrow", "polars", "spark"])
def library(request):
    if request.param == "pyarrow":
        return None
    from tests.include.transforms import conftest

    return conftest.on_polars() if request.param == "polars" else request.getfixturevalue("spark")


def test_values_are_typed_or_their_rows_rejected(library):
    rows = rows_of(
        ITEM,
        {**ITEM, "price": "12,90", "order_item_id": "one"},
        {**ITEM, "price": " ", "shipping_limit_date": None, "product_id": "  p 2 "},
        {**ITEM, "price": "9.999"},
        {**ITEM, "shipping_limit_date": "2018-02-30 10:00:00"},
    )
    accepted, rejected = typed(rows, engine=library)
    assert accepted.columns == [*ITEM, *bronze.PROVENANCE]
    assert accepted.drop(bronze.PROVENANCE).rows() == [
        ("o1", 1, "p1", "s1", datetime(2018, 1, 10, 10), Decimal("10.00"), Decimal("2.50")),
        ("o1", 1, "  p 2 ", "s1", None, None, Decimal("2.50")),
    ]
    assert accepted["row_number"].to_list() == [1, 3]
    assert rejected.columns == [*ITEM, *bronze.PROVENANCE, "reason"]
    assert rejected["reason"].to_list() == [
        f"order_item_id is not an integer; {NOT_MONEY}",
        NOT_MONEY,
        "shipping_limit_date is not a date or time",
    ]
    assert rejected["price"].to_list() == ["12,90", "9.999", "10.00"]
    assert rejected["row_number"].to_list() == [2, 4, 5]


def test_columns_that_are_absent_are_null_and_unknown_ones_left_out(library):
    accepted, rejected = typed(
        rows_of({"product_id": "p", "product_category_name": "c", "new": "1"}), "products", library
    )
    assert accepted.columns == [field.source for field in TABLES["products"].fields] + list(bronze.PROVENANCE)
    assert accepted["product_weight_g"].to_list() == [None]
    assert accepted.schema["product_weight_g"] == pl.Float64
    assert accepted.schema["product_name_lenght"] == pl.Int64
    assert rejected.is_empty()


def test_a_table_of_text_alone_rejects_nothing(library):
    names = {"product_category_name": "Cama ", "product_category_name_english": ""}
    accepted, rejected = typed(rows_of(names), "category_translation", library)
    assert accepted["product_category_name"].to_list() == ["Cama "]
    assert rejected.is_empty()
    assert rejected.columns == [*names, *bronze.PROVENANCE, "reason"]


def test_typed_columns_stay_and_are_text_in_quarantine(library):
    rows = in_bronze(
        pl.DataFrame(
            {
                "order_id": ["o1", "o2"],
                "order_item_id": [1.0, 1.5],
                "product_id": ["p1", "p2"],
                "seller_id": ["s1", "s2"],
                "shipping_limit_date": [datetime(2018, 1, 10, 10), datetime(2018, 1, 11)],
                "price": pl.Series([Decimal("10.00"), Decimal("11.50")], dtype=pl.Decimal(18, 2)),
                "freight_value": [2.5, 0.1],
            }
        )
    )
    accepted, rejected = typed(rows, engine=library)
    assert accepted.select("order_item_id", "price", "freight_value").rows() == [(1, Decimal("10.00"), Decimal("2.50"))]
    assert rejected.select("order_item_id", "shipping_limit_date", "price", "freight_value").rows() == [
        ("1.5", "2018-01-11 00:00:00", "11.50", "0.1")
    ]


def test_zip_prefixes_get_their_zeros_back_from_numbers():
    rows = in_bronze(
        pl.DataFrame(
            {"seller_id": ["s"], "seller_zip_code_prefix": [1037], "seller_city": ["c"], "seller_state": ["SP"]}
        )
    )
    assert typed(rows, "sellers")[0]["seller_zip_code_prefix"].to_list() == ["01037"]


def test_a_column_of_a_type_that_cannot_be_read_is_named():
    rows = rows_of(ITEM).with_columns(price=pl.lit(True))
    with pytest.raises(TypeError, match=r"^price: money can't be read from a column of type Boolean"):
        typed(rows)
    with pytest.raises(TypeError, match=r"^order_id: text can't be read from a column of type Date"):
        typed(rows_of(ITEM).with_columns(order_id=pl.lit(date(2018, 1, 1))))


def test_the_columns_that_a_source_must_have():
    missing = bronze.missing(TABLES["order_reviews"], ["order_id", "review_score"])
    assert missing == ["review_creation_date", "review_answer_timestamp"]
    assert bronze.missing(TABLES["order_items"], [*ITEM, "new"]) == []


def test_silver_makes_the_same_of_typed_rows_as_of_text():
    rows = rows_of(ITEM, {**ITEM, "order_item_id": "2", "price": "7"}, {**ITEM, "order_item_id": "3", "price": "-1"})
    orders = nw.from_native(pl.LazyFrame({"order_id": ["o1"]}))
    made = []
    for frame in (rows, pl.from_arrow(pa.table(typed(rows)[0]))):
        accepted, rejected = silver.order_items(nw.from_native(frame.lazy()), orders)
        made.append((accepted.to_native().collect().sort("order_item_id"), rejected.to_native().collect()["reason"]))
    assert made[0][0].equals(made[1][0])
    assert made[0][1].to_list() == made[1][1].to_list() == ["price is below 0"]
