import hashlib
import json
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from include.clients import contract
from local import sales_file
from local.data import retail
from local.data.retail import ScaleError, World, generate
from local.data.shoppers import BG_NBD

UNTIL = date(2026, 11, 1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return generate(tmp_path_factory.mktemp("world"), scale=0.3, seed=7, until=UNTIL)


@pytest.fixture(scope="module")
def sales(world: World) -> pl.DataFrame:
    return pl.read_parquet(world.sales)


@pytest.fixture(scope="module")
def customers(world: World, sales: pl.DataFrame) -> pl.DataFrame:
    """The planted truth of each customer, beside what the sales say of it."""
    orders = (
        sales.filter(pl.col("sale_unity") > 0)
        .group_by("cod_dim_customer", "sale_order_id")
        .agg(pl.col("sale_date").first(), pl.col("sale_total_price").sum().cast(pl.Float64))
    )
    seen = orders.group_by(customer_id="cod_dim_customer").agg(
        pl.len().alias("orders"),
        pl.col("sale_date").min().alias("first"),
        pl.col("sale_date").max().alias("last"),
        pl.col("sale_total_price").mean().alias("basket"),
    )
    return pl.read_parquet(world.customers).join(seen, on="customer_id")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed, until in (("a", 1, UNTIL), ("b", 1, UNTIL), ("c", 2, UNTIL), ("d", 1, date(2026, 10, 15))):
        generate(tmp_path / name, scale=0.02, seed=seed, until=until)
    first = digests(tmp_path / "a")
    assert set(first) == {
        *("customers.parquet", "products.parquet", "sales.parquet", "stores.parquet", "truth.json"),
    }
    assert digests(tmp_path / "b") == first
    assert digests(tmp_path / "c")["sales.parquet"] != first["sales.parquet"]
    assert digests(tmp_path / "d")["sales.parquet"] != first["sales.parquet"]


def test_the_sales_fit_the_contract_without_a_note(world: World) -> None:
    file = sales_file.read(world.sales, contract.load("drogaria"))
    assert file.notes == []
    assert len(file.frame) == world.truth["rows"]


def test_fourteen_months_before_the_report_date(world: World, sales: pl.DataFrame) -> None:
    assert world.start == date(2025, 9, 1)
    assert world.until == UNTIL
    assert sales["sale_date"].min() >= datetime(2025, 9, 1)
    assert sales["sale_date"].max() < datetime(2026, 11, 1)
    assert sales["sale_date"].dt.strftime("%Y-%m").n_unique() == 14
    assert sales["sale_date"].dt.hour().is_between(7, 21).all()


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2026, 1, 1), 1, date(2025, 12, 1)),
        (date(2026, 11, 1), 14, date(2025, 9, 1)),
        (date(2024, 12, 31), 12, date(2023, 12, 31)),
    ],
)
def test_months_before(day: date, months: int, before: date) -> None:
    assert retail.months_before(day, months) == before


def test_the_scale_is_kept(world: World) -> None:
    assert world.truth["rows"] == pytest.approx(0.3 * retail.LINES, rel=0.1)


def test_the_totals_of_the_truth_are_those_of_the_sales(world: World, sales: pl.DataFrame) -> None:
    assert json.loads((world.directory / "truth.json").read_text()) == world.truth
    assert world.truth["rows"] == len(sales)
    assert world.truth["orders"] == sales["sale_order_id"].n_unique()
    assert world.truth["units"] == sales["sale_unity"].sum()
    assert world.truth["amount"] == pytest.approx(float(sales["sale_total_price"].sum()), abs=0.005)


def test_dirt_is_there_and_counted(world: World, sales: pl.DataFrame) -> None:
    wrong = ["", "0", "-1"]
    assert world.truth["dirt"] == {
        "returns": (sales["sale_unity"] < 0).sum(),
        "null_customer": sales["cod_dim_customer"].null_count(),
        "invalid_customer": sales["cod_dim_customer"].is_in(wrong).sum(),
        "invalid_product": sales["product_id"].is_in(wrong).sum(),
        "null_store": sales["store_name"].null_count(),
    }
    assert all(world.truth["dirt"].values())
    returns = sales.filter(pl.col("sale_unity") < 0)
    assert (returns["sale_total_price"] < 0).all()


def test_planted_pairs_have_the_lift_the_truth_says(world: World, sales: pl.DataFrame) -> None:
    bought = sales.filter((pl.col("sale_unity") > 0) & (pl.col("product_id").str.len_chars() > 2))
    baskets = bought.select("sale_order_id", "product_id").unique()
    orders = baskets["sale_order_id"].n_unique()

    def holding(product: str) -> set[str]:
        return set(baskets.filter(pl.col("product_id") == product)["sale_order_id"])

    assert len(world.truth["pairs"]) == 10
    for pair in world.truth["pairs"]:
        first, second = holding(pair["antecedent"]), holding(pair["consequent"])
        both = len(first & second)
        counted = {"baskets": orders, "antecedent_baskets": len(first), "consequent_baskets": len(second)}
        assert {**counted, "both_baskets": both}.items() <= pair.items()
        assert pair["lift"] == pytest.approx(both * orders / (len(first) * len(second)))
        assert pair["lift"] > 5
        assert pair["confidence"] > 0.1


def test_products_that_are_no_pair_are_not_associated(world: World, sales: pl.DataFrame) -> None:
    """In baskets of the same kind of customer, that is: tastes alone associate some products."""
    mine = sales.filter((pl.col("sale_unity") > 0) & (pl.col("customer_category") == "Geral"))
    orders = mine["sale_order_id"].n_unique()
    planted = {product for pair in world.truth["pairs"] for product in (pair["antecedent"], pair["consequent"])}
    popular = mine.filter(~pl.col("product_id").is_in(list(planted)))["product_id"].value_counts(sort=True)
    products = popular["product_id"].head(12).to_list()
    holding = {p: set(mine.filter(pl.col("product_id") == p)["sale_order_id"]) for p in products}
    lifts = [
        len(holding[a] & holding[b]) * orders / (len(holding[a]) * len(holding[b]))
        for i, a in enumerate(products)
        for b in products[i + 1 :]
    ]
    # Favourites are bought more than once a year, never twice in a basket: a little under and over 1 is chance.
    assert np.median(lifts) == pytest.approx(1.0, abs=0.3)
    assert max(lifts) < 5


def test_planted_customers_are_far_above_their_group(world: World, sales: pl.DataFrame) -> None:
    valid = sales.filter(
        pl.col("product_atclevel4_description").is_not_null() & (pl.col("cod_dim_customer").str.len_chars() > 2)
    )
    months = valid.group_by(
        "product_atclevel4_description", "cod_dim_customer", month=pl.col("sale_date").dt.truncate("1mo")
    ).agg(pl.col("sale_unity").sum())
    last = datetime(2026, 10, 1)
    assert len(world.truth["suspects"]) == 6
    for suspect in world.truth["suspects"]:
        group = months.filter(pl.col("product_atclevel4_description") == suspect["anomaly_group"])
        units = group.filter((pl.col("cod_dim_customer") == suspect["customer_id"]) & (pl.col("month") == last))
        assert units["sale_unity"].to_list() == [suspect["units"]]
        before = group.filter(pl.col("month") < last)["sale_unity"]
        assert suspect["units"] > before.mean() + 10 * before.std()


def test_planted_days_are_far_above_their_group(world: World, sales: pl.DataFrame) -> None:
    assert len(world.truth["surges"]) == 3
    bought = sales.filter((pl.col("sale_unity") > 0) & (pl.col("product_id").str.len_chars() > 2))
    for surge in world.truth["surges"]:
        group = bought.filter(pl.col("product_atclevel4_description") == surge["anomaly_group"])
        days = group.group_by(pl.col("sale_date").dt.date()).agg(pl.col("sale_unity").sum())
        on_day = days.filter(pl.col("sale_date") == date.fromisoformat(surge["sale_date"]))["sale_unity"].item()
        assert on_day == surge["units"]
        assert on_day > 5 * days["sale_unity"].median()


def test_rates_and_drop_out_have_their_distributions(customers: pl.DataFrame) -> None:
    assert customers["purchases_per_day"].mean() == pytest.approx(BG_NBD["r"] / BG_NBD["alpha_days"], rel=0.06)
    assert customers["drop_out"].mean() == pytest.approx(BG_NBD["a"] / (BG_NBD["a"] + BG_NBD["b"]), rel=0.06)


def test_customers_buy_at_their_rate_until_they_drop_out(customers: pl.DataFrame) -> None:
    """While active, purchases per day of observation are the planted rate: the Poisson half of BG/NBD."""
    active = customers.filter(pl.col("active") & (pl.col("orders") >= 2))
    faithful = customers.filter(
        pl.col("active") & (pl.col("drop_out") < 0.02) & (pl.col("first") < datetime(2026, 1, 1))
    )
    days = (datetime(2026, 11, 1) - faithful["first"]).dt.total_seconds() / 86_400
    observed = ((faithful["orders"] - 1).sum()) / (faithful["purchases_per_day"] * days).sum()
    assert observed == pytest.approx(1.0, rel=0.06)
    gone = customers.filter(~pl.col("active"))
    assert gone["drop_out"].mean() > 1.5 * active["drop_out"].mean()
    # Who dropped out was silent for longer than who buys as often and is still there.
    frequent = pl.col("purchases_per_day") > 0.03
    silence = [
        (datetime(2026, 11, 1) - some.filter(frequent)["last"]).dt.total_days().median() for some in (gone, active)
    ]
    assert silence[0] > 3 * silence[1]


def test_spending_is_the_customers_and_apart_from_how_often(customers: pl.DataFrame) -> None:
    regular = customers.filter(pl.col("orders") >= 5).with_columns(pl.col("budget").log(), pl.col("basket").log())
    assert regular.select(pl.corr("budget", "basket")).item() > 0.6
    assert abs(customers.select(pl.corr("budget", "purchases_per_day", method="spearman")).item()) < 0.05


def test_customers_have_tastes(sales: pl.DataFrame) -> None:
    share = sales.group_by("customer_category").agg((pl.col("product_group") == "Mamãe e bebê").mean().alias("share"))
    shares = dict(share.iter_rows())
    assert shares["Família com bebê"] > 4 * shares["Geral"]


def test_attributes_belong_to_a_customer_and_a_product(sales: pl.DataFrame) -> None:
    known = sales.filter(pl.col("cod_dim_customer").str.len_chars() > 2)
    attributes = [name for name in sales.columns if name.startswith("customer_")]
    assert known.group_by("cod_dim_customer").agg(pl.col(attributes).n_unique()).select(attributes).max().row(0) == (
        (1,) * len(attributes)
    )
    facts = [name for name in sales.columns if name.startswith("product_") and name != "product_id"]
    listed = sales.filter(pl.col("product_id").str.len_chars() > 2)
    assert listed.group_by("product_id").agg(pl.col(facts).n_unique()).select(facts).max().row(0) == (1,) * len(facts)


def test_an_order_has_one_customer_moment_and_store(sales: pl.DataFrame) -> None:
    orders = sales.filter(pl.col("store_name").is_not_null()).group_by("sale_order_id")
    for column in ("sale_date", "cod_dim_customer", "store_name"):
        assert orders.agg(pl.col(column).n_unique())[column].max() == 1


def test_chunks_do_not_share_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retail, "_CUSTOMERS_PER_CHUNK", 100)
    world = generate(tmp_path, scale=0.02, seed=3, until=UNTIL)
    sales, customers = pl.read_parquet(world.sales), pl.read_parquet(world.customers)
    assert customers["customer_id"].is_unique().all()
    assert sales.group_by("sale_order_id").agg(pl.col("sale_date").n_unique())["sale_date"].max() == 1
    assert world.truth["orders"] == sales["sale_order_id"].n_unique()
    assert len(world.truth["suspects"]) == 6


def test_stores_are_near_their_city(world: World) -> None:
    stores = pl.read_parquet(world.stores)
    assert stores["store_name"].is_unique().all()
    assert stores["latitude"].is_between(-34, 6).all()
    assert stores["longitude"].is_between(-74, -34).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, 0.001, float("nan")])
def test_too_small_a_world_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(ScaleError, match=r"scale is .*, it must be at least 0\.005"):
        generate(tmp_path / "world", scale=scale)
    assert not (tmp_path / "world").exists()


def test_until_is_the_first_of_the_month_by_default(tmp_path: Path) -> None:
    world = generate(tmp_path, scale=0.005)
    assert world.until == date.today().replace(day=1)


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.data.retail"]
    options = [str(tmp_path), "--scale", "0.01", "--seed", "5", "--until", "2026-11-01"]
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True, cwd=contract.ROOT)
    assert "sale lines from 2025-09-01 to 2026-11-01" in done.stdout
    assert json.loads((tmp_path / "truth.json").read_text())["seed"] == 5
    refused = subprocess.run(
        [*command, str(tmp_path), "--scale", "0"], capture_output=True, text=True, cwd=contract.ROOT
    )
    assert refused.returncode == 2
    assert "at least 0.005" in refused.stderr
