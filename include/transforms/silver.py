"""Bronze to silver: the tables of the marketplace, typed, sound, and one row for each key.

Bronze frames have the columns of the source files, as text or typed, and `load_time`, `source_file`, `row_number`.
Every function gives a `Silver`: the accepted rows, and the rejected ones with the reason. The latest sound row of a key
wins. Text is trimmed and blank text is null; names of cities are in lower case without accents. Columns ending in `_at`
are UTC without a zone in their type, those ending in `_date` are days in the business time zone.
"""

import narwhals as nw

from include.transforms.casting import INTEGER, LOWERCASE, MONEY, NUMBER, TEXT, UPPERCASE, WALL_TIME, ZIP_PREFIX
from include.transforms.geography import BRAZIL
from include.transforms.local_time import BUSINESS_ZONE, END, FIRST, to_utc
from include.transforms.screening import Field, Silver, Table, screen

ORDER_STATUSES = (
    "created",
    "approved",
    "invoiced",
    "processing",
    "shipped",
    "delivered",
    "unavailable",
    "canceled",
)
PAYMENT_TYPES = ("boleto", "credit_card", "debit_card", "not_defined", "voucher")
STATES = (
    *("AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "GO", "MA", "MG", "MS", "MT", "PA"),
    *("PB", "PE", "PI", "PR", "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO"),
)

_ACCENTS = {"[áàâãä]": "a", "[éèêë]": "e", "[íìîï]": "i", "[óòôõö]": "o", "[úùûü]": "u", "ç": "c"}


def _moment(source: str, name: str, *, required: bool = False) -> Field:
    return Field(source, WALL_TIME, name, required=required, least=FIRST, most=END)


ORDERS = Table(
    "orders",
    (
        Field("order_id", TEXT, required=True),
        Field("customer_id", TEXT, required=True),
        Field("order_status", LOWERCASE, required=True, values=ORDER_STATUSES),
        _moment("order_purchase_timestamp", "purchased_at", required=True),
        _moment("order_approved_at", "approved_at"),
        _moment("order_delivered_carrier_date", "shipped_at"),
        _moment("order_delivered_customer_date", "delivered_at"),
        _moment("order_estimated_delivery_date", "estimated_delivery_at"),
    ),
    key=("order_id",),
)
ORDER_ITEMS = Table(
    "order_items",
    (
        Field("order_id", TEXT, required=True),
        Field("order_item_id", INTEGER, required=True, least=1),
        Field("product_id", TEXT, required=True),
        Field("seller_id", TEXT, required=True),
        _moment("shipping_limit_date", "shipping_limit_at"),
        Field("price", MONEY, required=True, least=0),
        Field("freight_value", MONEY, required=True, least=0),
    ),
    key=("order_id", "order_item_id"),
)
ORDER_PAYMENTS = Table(
    "order_payments",
    (
        Field("order_id", TEXT, required=True),
        Field("payment_sequential", INTEGER, required=True, least=1),
        Field("payment_type", LOWERCASE, required=True, values=PAYMENT_TYPES),
        Field("payment_installments", INTEGER, least=0),
        Field("payment_value", MONEY, required=True, least=0),
    ),
    key=("order_id", "payment_sequential"),
)
ORDER_REVIEWS = Table(
    "order_reviews",
    (
        Field("review_id", TEXT, optional=True, stand_in=("created_at", "answered_at")),
        Field("order_id", TEXT, required=True),
        Field("review_score", INTEGER, required=True, least=1, most=5),
        Field("review_comment_title", TEXT, optional=True),
        Field("review_comment_message", TEXT, optional=True),
        _moment("review_creation_date", "created_at", required=True),
        _moment("review_answer_timestamp", "answered_at"),
    ),
    key=("order_id", "review_id"),
)
CUSTOMERS = Table(
    "customers",
    (
        Field("customer_id", TEXT, required=True),
        Field("customer_unique_id", TEXT, required=True),
        Field("customer_zip_code_prefix", ZIP_PREFIX, "customer_zip"),
        Field("customer_city", LOWERCASE),
        Field("customer_state", UPPERCASE, values=STATES),
    ),
    key=("customer_id",),
)
SELLERS = Table(
    "sellers",
    (
        Field("seller_id", TEXT, required=True),
        Field("seller_zip_code_prefix", ZIP_PREFIX, "seller_zip"),
        Field("seller_city", LOWERCASE),
        Field("seller_state", UPPERCASE, values=STATES),
    ),
    key=("seller_id",),
)
PRODUCTS = Table(
    "products",
    (
        Field("product_id", TEXT, required=True),
        Field("product_category_name", LOWERCASE, "category"),
        Field("product_name_lenght", INTEGER, "name_length", optional=True, least=0),  # the source's spelling
        Field("product_description_lenght", INTEGER, "description_length", optional=True, least=0),
        Field("product_photos_qty", INTEGER, "photos", optional=True, least=0),
        Field("product_weight_g", NUMBER, "weight_g", optional=True, least=0),
        Field("product_length_cm", NUMBER, "length_cm", optional=True, least=0),
        Field("product_height_cm", NUMBER, "height_cm", optional=True, least=0),
        Field("product_width_cm", NUMBER, "width_cm", optional=True, least=0),
    ),
    key=("product_id",),
)
CATEGORY_TRANSLATION = Table(
    "category_translation",
    (
        Field("product_category_name", LOWERCASE, "category", required=True),
        Field("product_category_name_english", LOWERCASE, "category_english", required=True),
    ),
    key=("category",),
)
GEOLOCATION = Table(
    "geolocation",
    (
        Field("geolocation_zip_code_prefix", ZIP_PREFIX, "zip", required=True),
        Field("geolocation_lat", NUMBER, "latitude", required=True, least=BRAZIL[0][0], most=BRAZIL[0][1]),
        Field("geolocation_lng", NUMBER, "longitude", required=True, least=BRAZIL[1][0], most=BRAZIL[1][1]),
        Field("geolocation_city", LOWERCASE),
        Field("geolocation_state", UPPERCASE, values=STATES),
    ),
    key=("zip", "latitude", "longitude"),
)
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
        _plain("geolocation_city"),
        # Medians of integers are the same on every engine; of floats, they differ in the last bit.
        *((nw.col(axis) * 1e6 + 0.5).floor().cast(nw.Int64).alias(axis) for axis in ("latitude", "longitude")),
    )
    places = (
        points.group_by("zip", "geolocation_city", "geolocation_state")
        .agg(nw.len().alias("points"))
        .with_columns((0 - nw.col("points").cast(nw.Int64)).alias("rarity"))
        .unique("zip", keep="first", order_by=["rarity", "geolocation_city", "geolocation_state"])
        .select("zip", nw.col("geolocation_city").alias("city"), nw.col("geolocation_state").alias("state"))
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
        nw.col("estimated_delivery_at").dt.date().alias("estimated_delivery_date"),
        *(nw.col(moment).dt.date().alias(day) for day, moment in days.items()),
        *(to_utc(nw.col(moment), zone) for moment in ("purchased_at", "approved_at", "shipped_at", "delivered_at")),
    ).drop("estimated_delivery_at")
    return Silver(accepted, rejected)


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
