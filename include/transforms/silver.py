"""Bronze to silver: the tables of the marketplace, typed, sound, and one row for each key.

Bronze frames have the columns of the source files, as text or typed, and `source_file`, `row_number`, `load_time`.
What is accepted is in the tables' contracts, `include/tables/<table>.yaml`. Every function gives a `Silver`: the
accepted rows, in the contract's columns, and the rejected ones with the reason. The latest sound row of a key wins.
Text is trimmed and blank text is null; names of cities are in lower case without accents. Columns ending in `_at` are
UTC without a zone in their type, those ending in `_date` are days in the business time zone.
"""

import narwhals as nw

from include.transforms.local_time import BUSINESS_ZONE, to_utc
from include.transforms.screening import LOAD_ORDER, Silver, contracted, screen

_ACCENTS = {"[áàâãä]": "a", "[éèêë]": "e", "[íìîï]": "i", "[óòôõö]": "o", "[úùûü]": "u", "ç": "c"}

CATEGORY_TRANSLATION = contracted("category_translation")
CUSTOMERS = contracted("customers")
GEOLOCATION = contracted("geolocation")
ORDER_ITEMS = contracted("order_items")
ORDER_PAYMENTS = contracted("order_payments")
ORDER_REVIEWS = contracted("order_reviews")
ORDERS = contracted("orders")
PRODUCTS = contracted("products")
SELLERS = contracted("sellers")
TABLES = {
    table.name: table
    for table in (
        CATEGORY_TRANSLATION,
        CUSTOMERS,
        GEOLOCATION,
        ORDER_ITEMS,
        ORDER_PAYMENTS,
        ORDER_REVIEWS,
        ORDERS,
        PRODUCTS,
        SELLERS,
    )
}
"""The tables by name: what their columns are called in bronze and silver, their keys, and what is accepted."""

ORDER_STATUSES = ORDERS.field("order_status").values
PAYMENT_TYPES = tuple(sorted(ORDER_PAYMENTS.field("payment_type").values))
STATES = CUSTOMERS.field("customer_state").values


def customers(bronze: nw.LazyFrame) -> Silver:
    """A row for each `customer_id`, which is a customer within one order; the person is `customer_unique_id`."""
    accepted, rejected = screen(CUSTOMERS, bronze)
    return Silver(accepted.with_columns(_plain("customer_city")), rejected)


def sellers(bronze: nw.LazyFrame) -> Silver:
    """A row for each `seller_id`."""
    accepted, rejected = screen(SELLERS, bronze)
    return Silver(accepted.with_columns(_plain("seller_city")), rejected)


def products(bronze: nw.LazyFrame) -> Silver:
    """A row for each `product_id`: category in Portuguese, lengths in characters, weight in g, measures in cm."""
    return screen(PRODUCTS, bronze)


def category_translation(bronze: nw.LazyFrame) -> Silver:
    """A row for each `category`, with its `category_english`."""
    return screen(CATEGORY_TRANSLATION, bronze)


def geolocation(bronze: nw.LazyFrame) -> Silver:
    """A row for each `zip`: one point that stands for all of its points, and how many there are (`points`).

    The point is the median latitude and the median longitude, in degrees to the millionth (11 cm), of the distinct
    points in the zip prefix: half of them would have to be wrong to drag it away. Points outside Brazil's bounds are
    rejected first. City and state are the pair that most points have, of several the first in the alphabet.

    Accepted rows have no load order, as each comes of many rows; Σ `points` and the rejected rows make up bronze.
    """
    accepted, rejected = screen(GEOLOCATION, bronze)
    points = accepted.with_columns(
        _plain("city"),
        # Medians of integers are the same on every engine; of floats, they differ in the last bit.
        *((nw.col(axis) * 1e6 + 0.5).floor().cast(nw.Int64).alias(axis) for axis in ("latitude", "longitude")),
    )
    places = (
        points.group_by("zip", "city", "state")
        .agg(nw.len().alias("points"))
        .with_columns((0 - nw.col("points").cast(nw.Int64)).alias("rarity"))
        .unique("zip", keep="first", order_by=["rarity", "city", "state"])
        .select("zip", "city", "state")
    )
    medians = points.group_by("zip").agg(
        nw.col("latitude").median(), nw.col("longitude").median(), nw.len().cast(nw.Int64).alias("points")
    )
    zips = medians.join(places, on="zip", how="left").select(
        "zip",
        *(((nw.col(axis) + 0.5).floor() / 1e6).round(6).alias(axis) for axis in ("latitude", "longitude")),
        "city",
        "state",
        "points",
    )
    return Silver(zips, rejected)


def orders(bronze: nw.LazyFrame, customers: nw.LazyFrame | None = None, *, zone: str = BUSINESS_ZONE) -> Silver:
    """A row for each `order_id`: moments in UTC, and the days of purchase, delivery and promise in the business zone.

    Args:
        bronze: Wall times are in `zone`.
        customers: Accepted customers; orders of others are rejected. None leaves the check out.
        zone: IANA name of the business time zone.
    """
    accepted, rejected = screen(ORDERS, bronze, {"customer_id": customers})
    days = {"order_date": "purchased_at", "delivered_date": "delivered_at"}
    accepted = accepted.with_columns(
        nw.col("estimated_delivery_date").dt.date(),
        *(nw.col(moment).dt.date().alias(day) for day, moment in days.items()),
        *(to_utc(nw.col(moment), zone) for moment in ("purchased_at", "approved_at", "shipped_at", "delivered_at")),
    )
    return Silver(accepted.select(*(field.target for field in ORDERS.fields), *days, *LOAD_ORDER), rejected)


def order_items(
    bronze: nw.LazyFrame,
    orders: nw.LazyFrame,
    products: nw.LazyFrame | None = None,
    sellers: nw.LazyFrame | None = None,
    *,
    zone: str = BUSINESS_ZONE,
) -> Silver:
    """A row for each (`order_id`, `order_item_id`), with `price` and `freight_value` in reais, decimal(18,2).

    Args:
        bronze: Wall times are in `zone`.
        orders: Accepted orders; items of others are rejected.
        products: Accepted products; items of others are rejected. None leaves the check out.
        sellers: Accepted sellers; items of others are rejected. None leaves the check out.
        zone: IANA name of the business time zone.
    """
    parents = {"order_id": orders, "product_id": products, "seller_id": sellers}
    accepted, rejected = screen(ORDER_ITEMS, bronze, parents)
    return Silver(accepted.with_columns(to_utc(nw.col("shipping_limit_at"), zone)), rejected)


def order_payments(bronze: nw.LazyFrame, orders: nw.LazyFrame) -> Silver:
    """A row for each (`order_id`, `payment_sequential`), `payment_value` in reais, decimal(18,2).

    Args:
        bronze: Rows as the source has them.
        orders: Accepted orders; payments of others are rejected.
    """
    return screen(ORDER_PAYMENTS, bronze, {"order_id": orders})


def order_reviews(bronze: nw.LazyFrame, orders: nw.LazyFrame, *, zone: str = BUSINESS_ZONE) -> Silver:
    """A row for each (`order_id`, `review_id`); where there is no id, the times of question and answer stand in for it.

    Args:
        bronze: Wall times are in `zone`.
        orders: Accepted orders; reviews of others are rejected.
        zone: IANA name of the business time zone.
    """
    accepted, rejected = screen(ORDER_REVIEWS, bronze, {"order_id": orders})
    return Silver(accepted.with_columns(*(to_utc(nw.col(at), zone) for at in ("created_at", "answered_at"))), rejected)


def _plain(column: str) -> nw.Expr:
    """Names, in lower case, without accents and double spaces."""
    plain = nw.col(column).str.replace_all(r"\s\s+", " ")
    for accented, letter in _ACCENTS.items():
        plain = plain.str.replace_all(accented, letter)
    return plain
