"""The sale lines of the generated retail world: baskets priced, some brought back, some ids missing or wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from local.data import shoppers
from local.data.market import Market
from local.data.shoppers import Orders
from local.data.truth import WRONG_IDS, Tally

_RETURNS = 0.01
_INVALID_CUSTOMERS = 0.001
_INVALID_PRODUCTS = 0.002
_NO_STORE = 0.0005

SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("product_group", pa.string()),
        ("sale_date", pa.timestamp("us")),
        ("sale_unity", pa.float64()),
        ("sale_order_id", pa.string()),
        ("sale_total_price", pa.decimal128(18, 4)),
        ("cod_dim_customer", pa.string()),
        ("store_name", pa.string()),
        ("product_atclevel4_description", pa.string()),
        ("customer_type", pa.string()),
        ("customer_group", pa.string()),
        ("customer_category", pa.string()),
        ("customer_salary", pa.decimal128(18, 4)),
        ("customer_city", pa.string()),
        ("customer_gender", pa.string()),
        ("customer_age", pa.int64()),
        ("customer_family", pa.string()),
        ("product_brand", pa.string()),
        ("product_class", pa.string()),
        ("product_presentation", pa.string()),
        ("product_sub_family", pa.string()),
        ("product_family", pa.string()),
    ]
)


def write_up(
    rng: np.random.Generator, market: Market, people: pl.DataFrame, chunk: int, tally: Tally
) -> tuple[pl.DataFrame, np.ndarray]:
    """The sale lines of some customers, in the columns of the client's view, and who of them is still active."""
    orders, active = shoppers.orders_of(rng, market, people)
    bought = shoppers.baskets_of(rng, market, people, orders)
    suspects = list(shoppers.suspects_of(rng, market, orders)) if chunk == 0 else []
    for suspect in suspects:
        first_order = np.array([len(orders), 0, 0])
        bought = np.concatenate([bought, suspect.lines + first_order])
        orders = orders.extended(suspect.orders)
    lines = _with_returns(rng, market, orders, _priced(market, orders, bought))
    lines = lines.with_columns(known=pl.Series(rng.random(len(lines)) >= _INVALID_PRODUCTS) | pl.col("planted"))
    sold = _described(rng, market, people, orders, lines, (chunk + 1) * 10_000_000)
    tally.add(market, lines, sold)
    for suspect in suspects:
        tally.suspect(market, sold, people["customer_id"][suspect.customer], suspect.group)
    return sold, active


def _priced(market: Market, orders: Orders, bought: np.ndarray) -> pl.DataFrame:
    """Lines with their amounts: a basket's budget is met by rebates, as far as rebates go."""
    order, product, units = bought.T
    price = market.products["price"].to_numpy()[product]
    listed = np.bincount(order, weights=price * units, minlength=len(orders))
    rebate = np.where(orders.planted, 1.0, np.clip(orders.budget / np.maximum(listed, 0.01), 0.6, 1.2))
    cents = np.rint(100 * price * rebate[order]).astype(np.int64) * units
    return pl.DataFrame(
        {
            "number": order,  # of the receipt: a return has its own
            "order": order,
            "product": product,
            "day": orders.day[order],
            "units": units,
            "cents": cents,
            "planted": orders.planted[order],
        }
    )


def _with_returns(rng: np.random.Generator, market: Market, orders: Orders, lines: pl.DataFrame) -> pl.DataFrame:
    """The lines, and a negative one some days later for those that are brought back."""
    back = lines.filter(pl.Series(rng.random(len(lines)) < _RETURNS) & ~pl.col("planted"))
    back = back.with_columns(
        number=pl.int_range(len(back)) + len(orders),
        day=pl.col("day") + pl.Series(rng.integers(1, 11, len(back))),
        units=-pl.col("units"),
        cents=-pl.col("cents"),
    )
    return pl.concat([lines, back.filter(pl.col("day") < market.days)])


def _described(
    rng: np.random.Generator,
    market: Market,
    people: pl.DataFrame,
    orders: Orders,
    lines: pl.DataFrame,
    first_number: int,
) -> pl.DataFrame:
    """The lines in the columns of the client's view, with some ids missing or wrong, as in any real one."""
    order = lines["order"].to_numpy()
    customer = orders.customer[order]
    garbled = ((rng.random(len(orders)) < _INVALID_CUSTOMERS) & (orders.customer >= 0) & ~orders.planted)[order]
    second = lines["day"].to_numpy() * 86_400 + orders.second[order]
    details = lines.select(
        "known",
        garbled=garbled,
        identified=(customer >= 0) & ~garbled,
        in_store=pl.Series(rng.random(len(lines)) >= _NO_STORE) | pl.col("planted"),
        wrong_customer=_wrong_ids(rng, len(orders))[order],
        wrong_product=_wrong_ids(rng, len(lines)),
        store_name=market.stores["store_name"][orders.store[order]],
        sale_date=pl.Series(np.datetime64(market.start, "us") + second.astype("timedelta64[s]")),
        sale_unity=pl.col("units").cast(pl.Float64),
        sale_order_id=(pl.col("number") + first_number).cast(pl.String),
        sale_total_price=(pl.col("cents") / 100).cast(pl.Decimal(18, 4)),
    )
    frame = pl.concat([details, market.products[lines["product"]], people[np.maximum(customer, 0)]], how="horizontal")
    return frame.with_columns(
        pl.when("known").then("product_id").otherwise("wrong_product").alias("product_id"),
        pl.when("known").then("product_group").alias("product_group"),
        pl.when("in_store").then("store_name").alias("store_name"),
        pl.when("identified").then("customer_id").when("garbled").then("wrong_customer").alias("cod_dim_customer"),
        pl.when("identified").then(cs.matches("^customer_[^i]")),
    ).select(SCHEMA.names)


def _wrong_ids(rng: np.random.Generator, number: int) -> pl.Series:
    return pl.Series(WRONG_IDS)[rng.integers(0, len(WRONG_IDS), number)]
