import hashlib
import json

import polars as pl
import pytest

from local.data import marketplace, marketplace_dirt, marketplace_orders
from local.data.marketplace import TABLES


def digests(directory):
    files = (file for file in directory.rglob("*") if file.is_file())
    return {file.relative_to(directory).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return marketplace.generate(tmp_path_factory.mktemp("marketplace"), 1, format="parquet")


@pytest.fixture(scope="module")
def tables(made):
    return {table: pl.read_parquet(made.file(table)) for table in TABLES}


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_the_same_arguments_give_the_same_bytes(tmp_path, format):
    for folder, seed in {"a": 1, "b": 1, "c": 2}.items():
        marketplace.generate(tmp_path / folder, 0.02, seed, format)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & {
        digest for file, digest in digests(tmp_path / "c").items() if "translation" not in file
    }


def test_both_formats_hold_the_same_rows(tmp_path):
    for format in ("csv", "parquet"):
        marketplace.generate(tmp_path, 0.02, format=format)
    for table in TABLES:
        typed = pl.read_parquet(tmp_path / marketplace.file_name(table, "parquet"))
        text = pl.read_csv(tmp_path / marketplace.file_name(table, "csv"), schema=_csv_schema(typed))
        assert text.cast(dict(typed.schema)).equals(typed), table


def _csv_schema(typed):
    return {
        name: pl.Datetime("us") if isinstance(dtype, pl.Datetime) else dtype for name, dtype in typed.schema.items()
    }


def test_files_and_columns_are_those_of_olist(made, tables):
    assert made.file("orders").name == "olist_orders_dataset.parquet"
    assert made.file("category_translation").name == "product_category_name_translation.parquet"
    assert made.rows == {table: rows.height for table, rows in tables.items()}
    assert tables["order_items"].columns == [
        "order_id",
        "order_item_id",
        "product_id",
        "seller_id",
        "shipping_limit_date",
        "price",
        "freight_value",
    ]
    assert tables["order_items"]["price"].dtype == pl.Decimal(18, 2)
    assert tables["orders"]["order_purchase_timestamp"].dtype == pl.Datetime("us")


def test_scale_one_is_five_thousand_orders(made):
    assert made.rows["orders"] == made.rows["customers"] == 5_000
    assert 5_400 < made.rows["order_items"] < 5_800


def test_keys_are_unique_and_references_hold(tables):
    keys = {
        "orders": ["order_id"],
        "customers": ["customer_id"],
        "sellers": ["seller_id"],
        "products": ["product_id"],
        "order_items": ["order_id", "order_item_id"],
        "order_payments": ["order_id", "payment_sequential"],
        "order_reviews": ["review_id"],
        "category_translation": ["product_category_name"],
    }
    for table, key in keys.items():
        assert not tables[table].select(key).is_duplicated().any(), table
    references = [
        ("orders", "customers", "customer_id"),
        ("order_items", "orders", "order_id"),
        ("order_items", "products", "product_id"),
        ("order_items", "sellers", "seller_id"),
        ("order_payments", "orders", "order_id"),
        ("order_reviews", "orders", "order_id"),
    ]
    for table, parent, key in references:
        assert tables[table].join(tables[parent], on=key, how="anti").is_empty(), (table, key)


def test_payments_are_what_the_items_cost(tables):
    cost = (
        tables["order_items"].group_by("order_id").agg((pl.col("price") + pl.col("freight_value")).sum().alias("cost"))
    )
    paid = tables["order_payments"].group_by("order_id").agg(pl.col("payment_value").sum().alias("paid"))
    both = cost.join(paid, on="order_id")
    assert both.height > 4_900
    assert both["cost"].equals(both["paid"])


def test_orders_happen_in_their_order_and_some_go_wrong(tables):
    orders = tables["orders"]
    days = orders["order_purchase_timestamp"].dt.date()
    assert days.is_sorted()
    assert str(days.max()) == "2018-08-31"
    delivered = orders.filter(order_status="delivered")
    assert (delivered["order_delivered_customer_date"] > delivered["order_delivered_carrier_date"]).all()
    late = (delivered["order_delivered_customer_date"] > delivered["order_estimated_delivery_date"]).mean()
    assert 0.02 < late < 0.15
    assert orders.filter(order_status="unavailable").join(tables["order_items"], on="order_id").is_empty()
    assert tables["customers"]["customer_unique_id"].n_unique() < 5_000
    assert tables["products"]["product_category_name"].null_count() > 0
    assert tables["order_reviews"]["order_id"].is_duplicated().any()
    assert (tables["geolocation"]["geolocation_lat"] > 10).any()


def test_chunks_depend_on_nothing_before_them(tmp_path, monkeypatch):
    made = marketplace.generate(tmp_path, 0.1)
    whole = pl.read_csv(made.file("orders"), infer_schema=False)
    world = marketplace.marketplace_world.build(0.1, 1)
    chunk = marketplace_orders.chunk_of(world, 0, 500, 500, marketplace.UNTIL)
    assert whole["order_id"].equals(chunk.orders["order_id"])
    monkeypatch.setattr(marketplace, "_ORDERS_PER_CHUNK", 200)
    parts = pl.read_csv(marketplace.generate(tmp_path / "parts", 0.1).file("orders"), infer_schema=False)
    assert parts["order_id"].equals(whole["order_id"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"scale": 0.00001}, "scale is"), ({"seed": -1}, "seed is -1"), ({"format": "xml"}, "one of csv, parquet")],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        marketplace.generate(tmp_path, **arguments)


class TestDirt:
    @pytest.fixture(scope="class")
    def cases(self, tmp_path_factory):
        directory = tmp_path_factory.mktemp("landing")
        return directory, marketplace_dirt.write(directory)

    def test_the_same_seed_gives_the_same_bytes(self, cases, tmp_path):
        directory, _ = cases
        marketplace_dirt.write(tmp_path)
        assert digests(directory) == digests(tmp_path)

    def test_every_file_is_a_case_and_the_cases_are_written_down(self, cases):
        directory, expected = cases
        assert {case.file for case in expected.values()} == set(digests(directory)) - {"expectations.json"}
        written = json.loads((directory / "expectations.json").read_text())
        assert {name: case["file"] for name, case in written.items()} == {n: c.file for n, c in expected.items()}

    def test_rows_add_up(self, cases):
        for name, case in cases[1].items():
            assert case.rows == case.accepted + sum(case.rejected.values()), name
            assert (case.outcome == "loaded") or (case.rows == 0), name
            assert bool(case.because) == (case.outcome == "quarantined"), name
