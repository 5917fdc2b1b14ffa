"""What happens in the generated marketplace: orders with their customers, items, payments and reviews, in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from local.data.marketplace_world import World

_DAYS = 600
_HOUR, _DAY = 3_600, 86_400
_RETURNING = 0.03
_NO_PAYMENT, _NO_REVIEW, _SECOND_REVIEW, _COMMENTED, _VOUCHERS = 0.0003, 0.008, 0.005, 0.4, 0.03
_STATUSES = ("delivered", "shipped", "canceled", "unavailable", "invoiced", "processing", "created", "approved")
_STATUS_SHARES = (0.9702, 0.0111, 0.0063, 0.0061, 0.0031, 0.003, 0.0001, 0.0001)
_ITEMS_SHARES = (0.92, 0.06, 0.01, 0.004, 0.002, 0.003, 0.001)
_PAYMENTS, _PAYMENT_SHARES = ("credit_card", "boleto", "debit_card", "voucher"), (0.765, 0.195, 0.015, 0.025)
_HOURS = np.array(
    [24, 12, 6, 3, 2, 2, 5, 12, 30, 48, 62, 66, 60, 65, 66, 65, 67, 62, 58, 60, 62, 62, 58, 41], dtype=float
)
_TITLES = ("recomendo", "Muito bom", "ótimo", "Não recomendo", "Produto errado", "super recomendo")
_MESSAGES = (
    "Entrega antes do prazo, recomendo.",
    'O vendedor disse "já enviado", e até hoje nada.',
    "Produto bom, mas a embalagem chegou aberta.\r\nFora isso, tudo certo.",
    "Ainda não recebi; pedi dois, veio só um.",
    "Ótimo produto, chegou direitinho!",
)


@dataclass(frozen=True)
class Chunk:
    """A chunk of the files that grow with the scale, as they are to be written."""

    orders: pl.DataFrame
    customers: pl.DataFrame
    order_items: pl.DataFrame
    order_payments: pl.DataFrame
    order_reviews: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """The chunk's frames by table name."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Orders:
    """Facts of some orders; times are seconds from the first day, wall time. `moments` are NaN where not reached."""

    numbers: np.ndarray
    zips: np.ndarray
    status: np.ndarray
    purchased: np.ndarray
    approved: np.ndarray
    shipped: np.ndarray
    delivered: np.ndarray
    promised: np.ndarray


def chunk_of(world: World, first: int, count: int, total: int, until: date) -> Chunk:
    """Orders number `first` to `first + count` of `total`; numbers ascend with the time of purchase.

    Args:
        world: What can be ordered.
        first: Number of the first order; with the world's seed it decides all that is random.
        count: How many orders.
        total: How many orders the marketplace has in all, spread over the 600 days before `until`.
        until: Day after the last purchase.
    """
    rng = np.random.default_rng([world.seed, 1, first])
    start = np.datetime64(until - timedelta(days=_DAYS), "us")
    numbers = np.arange(first, first + count)
    person = np.where(rng.random(count) < _RETURNING, (rng.random(count) * numbers).astype(np.int64), numbers)
    zips = world.zip_of("person", person)
    line_order, line_product, line_number = _lines(rng, world, status := _statuses(rng, count))
    orders = _orders(rng, world, numbers, zips, status, total, line_order, line_product)

    seller = world.product_seller[line_product]
    distance = world.km(world.seller_zip[seller], zips[line_order])
    price = world.product_cents[line_product] + 100 * rng.integers(-3, 4, len(line_product))
    freight = np.rint(
        800 + 0.55 * distance + 0.12 * world.product_grams[line_product] * rng.lognormal(0, 0.25, len(price))
    )
    freight = np.where(rng.random(len(price)) < 0.004, 0, freight).astype(np.int64)
    owed = np.bincount(line_order, price + freight, minlength=count).astype(np.int64)
    owed = np.where(owed == 0, rng.integers(2_000, 20_000, count), owed)  # what was ordered and is unavailable
    ids = world.ids("order", numbers)
    items = pl.DataFrame(
        {
            "order_id": ids[line_order],
            "order_item_id": line_number,
            "product_id": world.ids("product", line_product),
            "seller_id": world.ids("seller", seller),
            "shipping_limit_date": _timestamps(
                start, orders.purchased[line_order] + rng.integers(3, 8, len(price)) * _DAY
            ),
            "price": _money(price),
            "freight_value": _money(freight),
        }
    )
    return Chunk(
        orders=_orders_file(world, orders, ids, start),
        customers=pl.DataFrame(
            {
                "customer_id": world.ids("customer", numbers),
                "customer_unique_id": world.ids("person", person),
                **world.addresses("customer", zips),
            }
        ),
        order_items=items,
        order_payments=_payments(rng, ids, owed),
        order_reviews=_reviews(rng, world, orders, ids, start),
    )


def _statuses(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(len(_STATUSES), count, p=_STATUS_SHARES)


def _lines(rng: np.random.Generator, world: World, status: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order (by position), product and number, from 1, of each order line; unavailable orders have none."""
    items = rng.choice(np.arange(1, 8), len(status), p=_ITEMS_SHARES)
    items[status == _STATUSES.index("unavailable")] = 0
    order = np.repeat(np.arange(len(status)), items)
    first = np.cumsum(items) - items
    number = np.arange(len(order)) - first[order] + 1
    product = np.minimum(np.searchsorted(world.product_weight, rng.random(len(order))), len(world.product_cents) - 1)
    same = (number > 1) & (rng.random(len(order)) < 0.6)
    return order, np.where(same, product[first[order]], product), number


def _orders(
    rng: np.random.Generator,
    world: World,
    numbers: np.ndarray,
    zips: np.ndarray,
    status: np.ndarray,
    total: int,
    line_order: np.ndarray,
    line_product: np.ndarray,
) -> _Orders:
    count = len(numbers)
    purchased = _purchases(rng, numbers, total)
    known = np.isin(status, [_STATUSES.index(name) for name in ("created", "canceled", "unavailable")], invert=True)
    approved = np.where(
        known | (rng.random(count) < 0.6), purchased + np.maximum(600, rng.exponential(0.4 * _DAY, count)), np.nan
    )
    sent = np.isin(status, [_STATUSES.index("delivered"), _STATUSES.index("shipped")])
    shipped = np.where(sent, approved + rng.gamma(1.6, 1.6 * _DAY, count), np.nan)
    farthest = np.zeros(count)
    np.maximum.at(
        farthest, line_order, world.km(world.seller_zip[world.product_seller[line_product]], zips[line_order])
    )
    travel = (2 + farthest / 250) * rng.lognormal(0, 0.55, count) * _DAY
    delivered = np.where(status == _STATUSES.index("delivered"), shipped + travel, np.nan)
    promised = purchased // _DAY * _DAY + (8 + np.rint(farthest / 150) + rng.integers(0, 8, count)) * _DAY
    return _Orders(numbers, zips, status, purchased, approved, shipped, delivered, promised)


def _purchases(rng: np.random.Generator, numbers: np.ndarray, total: int) -> np.ndarray:
    """Seconds of purchase, from day to day with the order's number: growth, weekdays, hours, a Black Friday."""
    day = np.arange(_DAYS)
    weight = (0.4 + day / _DAYS) * np.where(day % 7 >= 5, 0.75, 1.0) * np.where(day == 320, 5.0, 1.0)
    passed = np.cumsum(weight) / weight.sum()
    bought_on = np.searchsorted(passed, (numbers + 0.5) / total)
    hour = rng.choice(24, len(numbers), p=_HOURS / _HOURS.sum())
    return bought_on * _DAY + hour * _HOUR + rng.integers(0, _HOUR, len(numbers)).astype(float)


def _orders_file(world: World, orders: _Orders, ids: pl.Series, start: np.datetime64) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "order_id": ids,
            "customer_id": world.ids("customer", orders.numbers),
            "order_status": pl.Series(_STATUSES)[orders.status],
            "order_purchase_timestamp": _timestamps(start, orders.purchased),
            "order_approved_at": _timestamps(start, orders.approved),
            "order_delivered_carrier_date": _timestamps(start, orders.shipped),
            "order_delivered_customer_date": _timestamps(start, orders.delivered),
            "order_estimated_delivery_date": _timestamps(start, orders.promised),
        }
    )


def _payments(rng: np.random.Generator, ids: pl.Series, owed: np.ndarray) -> pl.DataFrame:
    """Payments that add up to what is owed: most orders have one, some one or more vouchers and the rest."""
    count = len(owed)
    parts = np.where(rng.random(count) < _VOUCHERS, 1 + rng.geometric(0.6, count), 1)
    parts[rng.random(count) < _NO_PAYMENT] = 0
    order = np.repeat(np.arange(count), parts)
    first = np.cumsum(parts) - parts
    number = np.arange(len(order)) - first[order] + 1
    kind = rng.choice(len(_PAYMENTS), len(order), p=_PAYMENT_SHARES)
    kind[number > 1] = _PAYMENTS.index("voucher")
    share = (owed // np.maximum(parts, 1))[order]
    value = np.where(number == 1, owed[order] - share * (parts[order] - 1), share)
    installments = np.where(kind == 0, np.minimum(rng.geometric(0.28, len(order)), 24), 1)
    return pl.DataFrame(
        {
            "order_id": ids[order],
            "payment_sequential": number,
            "payment_type": pl.Series(_PAYMENTS)[kind],
            "payment_installments": installments,
            "payment_value": _money(value),
        }
    )


def _reviews(
    rng: np.random.Generator, world: World, orders: _Orders, ids: pl.Series, start: np.datetime64
) -> pl.DataFrame:
    """Reviews, worse the later the delivery; few orders have none, fewer have two."""
    count = len(orders.numbers)
    reviews = np.where(rng.random(count) < _NO_REVIEW, 0, 1 + (rng.random(count) < _SECOND_REVIEW))
    order = np.repeat(np.arange(count), reviews)
    second = np.arange(len(order)) - (np.cumsum(reviews) - reviews)[order]
    late = ~(orders.delivered[order] <= orders.promised[order])
    mood = rng.random(len(order))
    score = np.where(late, np.digitize(mood, [0.45, 0.55, 0.7, 0.85]), np.digitize(mood, [0.06, 0.09, 0.16, 0.35])) + 1
    asked = np.where(np.isnan(orders.delivered), orders.promised, orders.delivered)[order] // _DAY * _DAY + _DAY
    asked += second * 3 * _DAY
    answered = asked + rng.gamma(1.2, 2 * _DAY, len(order)) + 600
    commented = pl.Series(rng.random(len(order)) < _COMMENTED)
    return pl.DataFrame(
        {
            "review_id": world.ids("review", orders.numbers[order] * 2 + second),
            "order_id": ids[order],
            "review_score": score,
            "review_comment_title": pl.Series(_TITLES)[rng.integers(0, len(_TITLES), len(order))],
            "review_comment_message": pl.Series(_MESSAGES)[rng.integers(0, len(_MESSAGES), len(order))],
            "review_creation_date": _timestamps(start, asked),
            "review_answer_timestamp": _timestamps(start, answered),
        }
    ).with_columns(pl.when(commented).then(pl.col("review_comment_title", "review_comment_message")))


def _timestamps(start: np.datetime64, seconds: np.ndarray) -> pl.Series:
    whole = np.nan_to_num(seconds).astype(np.int64)
    moments = pl.Series(start + whole.astype("timedelta64[s]").astype("timedelta64[us]"))
    return pl.select(pl.when(pl.Series(~np.isnan(seconds))).then(moments)).to_series()


def _money(cents: np.ndarray) -> pl.Series:
    """Reais, decimal(18,2), of cents."""
    return pl.Series(cents / 100).cast(pl.Decimal(18, 2))
