"""Silver to gold: one wide row for each order item, sales by day, and customers by recency, frequency and money."""

from datetime import date
from functools import reduce

import narwhals as nw

from include.transforms.casting import MONEY_TYPE
from include.transforms.geography import Vector, unit_vector, with_distance_km
from include.transforms.local_time import day_number
from include.transforms.silver import PAYMENT_TYPES

NOT_SOLD = ("canceled", "unavailable")
"""Order statuses that `daily_sales` and `customer_rfm` leave out by default."""

WIDE_SALES = (
    "order_id",
    "order_item_id",
    "order_date",
    "order_month",
    "order_status",
    "purchased_at",
    "approved_at",
    "shipped_at",
    "delivered_at",
    "estimated_delivery_date",
    "delivery_days",
    "delay_days",
    "is_late",
    "price",
    "freight_value",
    "product_id",
    "category",
    "category_english",
    "seller_id",
    "seller_zip",
    "seller_city",
    "seller_state",
    "seller_latitude",
    "seller_longitude",
    "customer_id",
    "customer_unique_id",
    "customer_zip",
    "customer_city",
    "customer_state",
    "customer_latitude",
    "customer_longitude",
    "distance_km",
    "payment_total",
    "payment_installments",
    "payment_type",
    "payment_types",
    "review_score_mean",
    "review_score_latest",
    "reviews",
)
"""Columns of `wide_sales`, in order."""


def wide_sales(
    *,
    order_items: nw.LazyFrame,
    orders: nw.LazyFrame,
    customers: nw.LazyFrame,
    sellers: nw.LazyFrame,
    products: nw.LazyFrame,
    payments: nw.LazyFrame,
    reviews: nw.LazyFrame,
    geolocation: nw.LazyFrame,
    category_translation: nw.LazyFrame | None = None,
) -> nw.LazyFrame:
    """Exactly one row for each order item, with all that is known of its order, product, seller and customer.

    Everything is joined to the left of the items on a key that is unique on the right, so no item is lost or repeated.
    What is of the order (payments, reviews) is repeated on each of its items: sum `price` and `freight_value`, never
    `payment_total`. Days are of the business time zone; partition by `order_date` (a day) or `order_month` ("YYYY-MM").

    Args:
        order_items: The accepted rows of `silver.order_items`.
        orders: Accepted orders.
        customers: Accepted customers.
        sellers: Accepted sellers.
        products: Accepted products.
        payments: The accepted rows of `silver.order_payments`.
        reviews: The accepted rows of `silver.order_reviews`.
        geolocation: One point for each zip prefix.
        category_translation: English names of categories; `category_english` is the Portuguese name where there is
            none.

    Returns:
        The columns of `WIDE_SALES`: `delivery_days` from purchase to delivery, `delay_days` from promise to delivery
        (below 0: early), `is_late` (`delay_days` above 0), all null until delivered; `distance_km` from seller to
        customer along the great circle, null where a point is; `reviews` is 0 where there is none.
    """
    points = _points(geolocation)
    sold = (
        order_items.select("order_id", "order_item_id", "product_id", "seller_id", "price", "freight_value")
        .join(_described(products, category_translation), on="product_id", how="left")
        .join(_placed(sellers, points, "seller"), on="seller_id", how="left")
        .join(_whole_orders(orders, customers, payments, reviews, points), on="order_id", how="left")
        .with_columns(nw.col("reviews").fill_null(0))
    )
    return with_distance_km(sold, _vector("seller"), _vector("customer"), "distance_km").select(*WIDE_SALES)


def payments_per_order(payments: nw.LazyFrame) -> nw.LazyFrame:
    """A row for each order that has payments.

    `payment_total` is their sum, `payment_installments` the most of any, `payment_types` the number of different types,
    `payment_type` the one with the most money, of several the first in the alphabet.
    """
    of_type = {kind: nw.when(nw.col("payment_type") == kind).then(nw.col("payment_value")) for kind in PAYMENT_TYPES}
    sums = (
        payments.with_columns(**of_type)
        .group_by("order_id")
        .agg(
            nw.col("payment_value").sum().cast(MONEY_TYPE).alias("payment_total"),
            nw.col("payment_installments").max(),
            *(nw.col(kind).sum() for kind in PAYMENT_TYPES),
            *(nw.col(kind).count().cast(nw.Int64).alias(f"{kind}_payments") for kind in PAYMENT_TYPES),
        )
    )
    most = nw.max_horizontal(*PAYMENT_TYPES)
    main = reduce(
        lambda later, kind: (
            nw.when((nw.col(kind) == most) & (nw.col(f"{kind}_payments") > 0)).then(nw.lit(kind)).otherwise(later)
        ),
        reversed(PAYMENT_TYPES),
        nw.lit(None, dtype=nw.String),
    )
    types = nw.sum_horizontal(*((nw.col(f"{kind}_payments") > 0).cast(nw.Int64) for kind in PAYMENT_TYPES))
    return sums.select(
        "order_id",
        "payment_total",
        "payment_installments",
        main.alias("payment_type"),
        types.alias("payment_types"),
    )


def reviews_per_order(reviews: nw.LazyFrame) -> nw.LazyFrame:
    """A row for each order that has reviews: `review_score_mean`, `review_score_latest` and their number, `reviews`.

    The latest is the one answered last (asked last, where none was answered); of several, the one with the best score.
    """
    dated = reviews.select("order_id", "review_score", nw.coalesce("answered_at", "created_at").alias("at"))
    scores = dated.group_by("order_id").agg(
        nw.col("review_score").sum().cast(nw.Int64).alias("stars"),
        nw.col("review_score").count().cast(nw.Int64).alias("reviews"),
        nw.col("at").max(),
    )
    latest = (
        dated.join(scores.select("order_id", "at"), on=["order_id", "at"], how="semi")
        .group_by("order_id")
        .agg(nw.col("review_score").max().alias("review_score_latest"))
    )
    return scores.join(latest, on="order_id", how="left").select(
        "order_id",
        (nw.col("stars") / nw.col("reviews")).alias("review_score_mean"),
        "review_score_latest",
        "reviews",
    )


def daily_sales(wide_sales: nw.LazyFrame, *, without: tuple[str, ...] = NOT_SOLD) -> nw.LazyFrame:
    """Sales of each day, seller, category and state of the customer: items, orders, revenue and freight.

    Revenue is Σ `price`, so over all rows it is that of the items sold, exactly. An order of two sellers or categories
    is counted in both: don't add `orders` up.

    Args:
        wide_sales: Rows of `wide_sales`.
        without: Order statuses that are no sales.
    """
    return (
        _sold(wide_sales, without)
        .group_by("order_date", "order_month", "seller_id", "category", "category_english", "customer_state")
        .agg(
            nw.len().cast(nw.Int64).alias("items"),
            nw.col("order_id").n_unique().cast(nw.Int64).alias("orders"),
            nw.col("price").sum().cast(MONEY_TYPE).alias("revenue"),
            nw.col("freight_value").sum().cast(MONEY_TYPE).alias("freight"),
        )
    )


def customer_rfm(wide_sales: nw.LazyFrame, as_of: date, *, without: tuple[str, ...] = NOT_SOLD) -> nw.LazyFrame:
    """Recency, frequency and money of each customer (`customer_unique_id`) who had ordered before a day.

    `recency_days` from the last order to `as_of`, `frequency` the number of orders, `monetary` Σ `price`, without the
    freight.

    Args:
        wide_sales: Rows of `wide_sales`; those without a known customer are left out.
        as_of: Orders of this day and later ones don't count.
        without: Order statuses that are no sales.
    """
    return (
        _sold(wide_sales, without)
        .filter((nw.col("order_date") < nw.lit(as_of)) & ~nw.col("customer_unique_id").is_null())
        .group_by("customer_unique_id")
        .agg(
            nw.col("order_date").min().alias("first_order_date"),
            nw.col("order_date").max().alias("last_order_date"),
            nw.col("order_id").n_unique().cast(nw.Int64).alias("frequency"),
            nw.len().cast(nw.Int64).alias("items"),
            nw.col("price").sum().cast(MONEY_TYPE).alias("monetary"),
        )
        .select(
            "customer_unique_id",
            nw.lit(as_of).alias("as_of"),
            "first_order_date",
            "last_order_date",
            (as_of.toordinal() - day_number(nw.col("last_order_date"))).alias("recency_days"),
            "frequency",
            "items",
            "monetary",
        )
    )


def _sold(wide_sales: nw.LazyFrame, without: tuple[str, ...]) -> nw.LazyFrame:
    return wide_sales.filter(~nw.col("order_status").is_in(without).fill_null(False)) if without else wide_sales


def _whole_orders(
    orders: nw.LazyFrame,
    customers: nw.LazyFrame,
    payments: nw.LazyFrame,
    reviews: nw.LazyFrame,
    points: nw.LazyFrame,
) -> nw.LazyFrame:
    delay = day_number(nw.col("delivered_date")) - day_number(nw.col("estimated_delivery_date"))
    return (
        orders.drop("load_time", "source_file", "row_number")
        .with_columns(
            nw.col("order_date").dt.to_string("%Y-%m").alias("order_month"),
            (day_number(nw.col("delivered_date")) - day_number(nw.col("order_date"))).alias("delivery_days"),
            delay.alias("delay_days"),
            (delay > 0).alias("is_late"),
        )
        .join(_placed(customers, points, "customer"), on="customer_id", how="left")
        .join(payments_per_order(payments), on="order_id", how="left")
        .join(reviews_per_order(reviews), on="order_id", how="left")
    )


def _described(products: nw.LazyFrame, translation: nw.LazyFrame | None) -> nw.LazyFrame:
    categories = products.select("product_id", "category")
    if translation is None:
        return categories.with_columns(nw.col("category").alias("category_english"))
    return categories.join(translation.select("category", "category_english"), on="category", how="left").with_columns(
        nw.coalesce("category_english", "category").alias("category_english")
    )


def _points(geolocation: nw.LazyFrame) -> nw.LazyFrame:
    x, y, z = unit_vector(nw.col("latitude"), nw.col("longitude"))
    return geolocation.select("zip", "latitude", "longitude", x=x, y=y, z=z)


def _placed(people: nw.LazyFrame, points: nw.LazyFrame, role: str) -> nw.LazyFrame:
    """Customers or sellers with the point of their zip prefix, all columns named after the role."""
    own = points.rename({column: f"{role}_{column}" for column in ("zip", "latitude", "longitude", "x", "y", "z")})
    return people.drop("load_time", "source_file", "row_number").join(own, on=f"{role}_zip", how="left")


def _vector(role: str) -> Vector:
    return f"{role}_x", f"{role}_y", f"{role}_z"
