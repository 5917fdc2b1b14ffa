"""What the lakehouse's transforms are measured against: the same tables in Polars by hand, and in SQL."""

import re
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from include.transforms.silver import ORDER_STATUSES, PAYMENT_TYPES, STATES
from local.data.marketplace import TABLES

ACCENTED, PLAIN = "áàâãäéêíóôõöúüç", "aaaaaeeioooouuc"
FIRST, END = datetime(2010, 1, 1), datetime(2038, 1, 1)
ZONE = "America/Sao_Paulo"
LOAD_ORDER = ["load_time", "source_file", "row_number"]


def spark_session(memory: str = "6g") -> Any:
    """A Spark on this machine's two cores, with the settings that suit it."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": memory,
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def statements(dialect: str, as_of: date) -> list[tuple[str, str]]:
    """The SQL script's tables: name and query, in order, for `duckdb` or `spark`."""
    words = {
        "accented": ACCENTED,
        "plain": PLAIN,
        "states": _quoted(STATES),
        "statuses": _quoted(ORDER_STATUSES),
        "payment_types": _quoted(PAYMENT_TYPES),
        "as_of": as_of.isoformat(),
    }
    words |= {
        "duckdb": {
            "first": f"TIMESTAMP '{FIRST}'",
            "end": f"TIMESTAMP '{END}'",
            "utc": "utc",
            "zone": "",
            "days": "days",
            "month": "strftime(o.order_date, '%Y-%m')",
            "first_by": "arg_min",
            "last_by": "arg_max",
            "row": "row",
        },
        "spark": {
            "first": f"TIMESTAMP_NTZ '{FIRST}'",
            "end": f"TIMESTAMP_NTZ '{END}'",
            "utc": "to_utc_timestamp",
            "zone": f", '{ZONE}'",
            "days": "datediff",
            "month": "date_format(o.order_date, 'yyyy-MM')",
            "first_by": "min_by",
            "last_by": "max_by",
            "row": "struct",
        },
    }[dialect]
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    named = re.findall(r"-- table: (\w+)\n(.*?);\n", script, flags=re.DOTALL)
    return [(name, query.format(**words)) for name, query in named]


def duckdb_sql(bronze: Path, output: Path, as_of: date) -> None:
    """The SQL script on DuckDB."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": "false"})
    connection.execute("CREATE MACRO days(later, sooner) AS later - sooner")
    # DuckDB reads an hour that is repeated as its second passing, everyone else as its first: two nights in the data.
    twice = " OR ".join(f"wall >= '{day} 23:00' AND wall < '{day}'::DATE + 1" for day in ("2017-02-18", "2018-02-17"))
    connection.execute(
        f"CREATE MACRO utc(wall) AS CASE WHEN {twice} THEN wall + INTERVAL 2 HOUR "
        f"ELSE timezone('UTC', timezone('{ZONE}', wall)) END"
    )
    for table in TABLES:
        connection.execute(f"CREATE VIEW bronze_{table} AS FROM '{bronze / table}.parquet'")
    for name, query in statements("duckdb", as_of):
        file = output / f"{name}.parquet"
        connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
        connection.execute(f"CREATE VIEW {name} AS FROM '{file}'")


def spark_sql(bronze: Path, output: Path, as_of: date, session: Any) -> None:
    """The SQL script on Spark."""
    for table in TABLES:
        session.read.parquet(str(bronze / f"{table}.parquet")).createOrReplaceTempView(f"bronze_{table}")
    for name, query in statements("spark", as_of):
        file = output / f"{name}.parquet"
        shutil.rmtree(file, ignore_errors=True)
        session.sql(query).write.parquet(str(file))
        session.read.parquet(str(file)).createOrReplaceTempView(name)


def polars_by_hand(bronze: Path, output: Path, as_of: date) -> None:
    """The same tables as one would write them in Polars alone."""

    def read(table: str) -> pl.LazyFrame:
        return pl.scan_parquet(bronze / f"{table}.parquet")

    def save(table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
        file = output / f"{table}.parquet"
        rows.sink_parquet(file)
        return pl.scan_parquet(file)

    def text(column: str, name: str | None = None) -> pl.Expr:
        return pl.col(column).str.strip_chars().replace("", None).alias(name or column)

    def latest(rows: pl.LazyFrame, *key: str) -> pl.LazyFrame:
        return rows.sort(LOAD_ORDER).unique(key, keep="last")

    def plain(rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
        names = (
            rows.select(column)
            .unique()
            .with_columns(plain=pl.col(column).str.replace_many(list(ACCENTED), list(PLAIN)))
        )
        columns = rows.collect_schema().names()
        return rows.join(names, on=column, how="left").with_columns(pl.col("plain").alias(column)).select(columns)

    def plausible(*columns: str) -> pl.Expr:
        return pl.all_horizontal(pl.col(c).is_null() | pl.col(c).is_between(FIRST, END) for c in columns)

    def utc(*columns: str) -> list[pl.Expr]:
        return [
            pl.col(column)
            .dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
            .dt.replace_time_zone(None)
            .fill_null(pl.col(column).dt.offset_by("3h"))
            for column in columns
        ]

    def people(role: str, *ids: str) -> pl.LazyFrame:
        rows = read(f"{role}s").select(
            *(text(column) for column in ids),
            pl.col(f"{role}_zip_code_prefix").cast(pl.String).str.zfill(5).alias(f"{role}_zip"),
            text(f"{role}_city").str.to_lowercase(),
            text(f"{role}_state").str.to_uppercase(),
            *LOAD_ORDER,
        )
        sound = rows.drop_nulls(ids).filter(pl.col(f"{role}_state").is_in(STATES).fill_null(True))
        return save(f"{role}s", plain(latest(sound, ids[0]), f"{role}_city"))

    customers, sellers = people("customer", "customer_id", "customer_unique_id"), people("seller", "seller_id")
    measures = ("weight_g", "length_cm", "height_cm", "width_cm")
    products = save(
        "products",
        latest(
            read("products")
            .select(
                text("product_id"),
                text("product_category_name", "category").str.to_lowercase(),
                name_length="product_name_lenght",
                description_length="product_description_lenght",
                photos="product_photos_qty",
                **{name: pl.col(f"product_{name}").cast(pl.Float64) for name in measures},
                **{name: pl.col(name) for name in LOAD_ORDER},
            )
            .drop_nulls("product_id"),
            "product_id",
        ),
    )
    translation = save(
        "category_translation",
        latest(
            read("category_translation")
            .select(
                text("product_category_name", "category").str.to_lowercase(),
                text("product_category_name_english", "category_english").str.to_lowercase(),
                *LOAD_ORDER,
            )
            .drop_nulls(),
            "category",
        ),
    )
    points = plain(
        read("geolocation")
        .filter(
            pl.col("geolocation_lat").is_between(-33.76, 5.28), pl.col("geolocation_lng").is_between(-73.99, -28.83)
        )
        .select(
            pl.col("geolocation_zip_code_prefix").cast(pl.String).str.zfill(5).alias("zip"),
            (pl.col("geolocation_lat") * 1e6 + 0.5).floor().cast(pl.Int64).alias("latitude"),
            (pl.col("geolocation_lng") * 1e6 + 0.5).floor().cast(pl.Int64).alias("longitude"),
            text("geolocation_city", "city").str.to_lowercase(),
            text("geolocation_state", "state").str.to_uppercase(),
        )
        .unique(),
        "city",
    )
    places = points.group_by("zip", "city", "state").len().sort("len", "city", "state", descending=[True, False, False])
    geolocation = save(
        "geolocation",
        points.group_by("zip")
        .agg(pl.col("latitude", "longitude").median(), points=pl.len())
        .join(places.unique("zip", keep="first", maintain_order=True).drop("len"), on="zip", how="left")
        .with_columns(((pl.col("latitude", "longitude") + 0.5).floor() / 1e6).round(6)),
    )

    moments = ("purchased_at", "approved_at", "shipped_at", "delivered_at")
    orders = save(
        "orders",
        latest(
            read("orders")
            .select(
                text("order_id"),
                text("customer_id"),
                text("order_status").str.to_lowercase(),
                *LOAD_ORDER,
                purchased_at="order_purchase_timestamp",
                approved_at="order_approved_at",
                shipped_at="order_delivered_carrier_date",
                delivered_at="order_delivered_customer_date",
                estimated_at="order_estimated_delivery_date",
            )
            .drop_nulls(["order_id", "purchased_at"])
            .filter(pl.col("order_status").is_in(ORDER_STATUSES), plausible(*moments, "estimated_at"))
            .join(customers, on="customer_id", how="semi"),
            "order_id",
        ).select(
            pl.exclude(*moments, "estimated_at"),
            pl.col("estimated_at").dt.date().alias("estimated_delivery_date"),
            pl.col("purchased_at").dt.date().alias("order_date"),
            pl.col("delivered_at").dt.date().alias("delivered_date"),
            *utc(*moments),
        ),
    )
    items = save(
        "order_items",
        latest(
            read("order_items")
            .select(
                text("order_id"),
                "order_item_id",
                text("product_id"),
                text("seller_id"),
                pl.col("shipping_limit_date").alias("shipping_limit_at"),
                "price",
                "freight_value",
                *LOAD_ORDER,
            )
            .filter(
                pl.col("order_item_id") >= 1,
                pl.col("price") >= 0,
                pl.col("freight_value") >= 0,
                plausible("shipping_limit_at"),
            )
            .join(orders, on="order_id", how="semi")
            .join(products, on="product_id", how="semi")
            .join(sellers, on="seller_id", how="semi"),
            "order_id",
            "order_item_id",
        ).with_columns(*utc("shipping_limit_at")),
    )
    payments = save(
        "payments",
        latest(
            read("order_payments")
            .with_columns(text("order_id"), text("payment_type").str.to_lowercase())
            .filter(
                pl.col("payment_sequential") >= 1,
                pl.col("payment_value") >= 0,
                pl.col("payment_type").is_in(PAYMENT_TYPES),
                (pl.col("payment_installments") >= 0).fill_null(True),
            )
            .join(orders, on="order_id", how="semi"),
            "order_id",
            "payment_sequential",
        ),
    )
    reviews = save(
        "reviews",
        latest(
            read("order_reviews")
            .select(
                text("review_id"),
                text("order_id"),
                "review_score",
                text("review_comment_title"),
                text("review_comment_message"),
                pl.col("review_creation_date").alias("created_at"),
                pl.col("review_answer_timestamp").alias("answered_at"),
                *LOAD_ORDER,
            )
            .drop_nulls(["order_id", "created_at"])
            .filter(pl.col("review_score").is_between(1, 5), plausible("created_at", "answered_at"))
            .join(orders, on="order_id", how="semi"),
            "order_id",
            "review_id",
        ).with_columns(*utc("created_at", "answered_at")),
    )

    by_type = payments.group_by("order_id", "payment_type").agg(
        pl.col("payment_value").sum(), pl.col("payment_installments").max()
    )
    paid = (
        by_type.sort("payment_value", "payment_type", descending=[True, False])
        .group_by("order_id", maintain_order=True)
        .agg(
            pl.col("payment_value").sum().cast(pl.Decimal(18, 2)).alias("payment_total"),
            pl.col("payment_installments").max(),
            pl.col("payment_type").first(),
            pl.len().alias("payment_types"),
        )
    )
    reviewed = (
        reviews.with_columns(at=pl.coalesce("answered_at", "created_at"))
        .sort("at", "review_score")
        .group_by("order_id", maintain_order=True)
        .agg(
            pl.col("review_score").mean().alias("review_score_mean"),
            pl.col("review_score").last().alias("review_score_latest"),
            pl.len().alias("reviews"),
        )
    )

    def placed(rows: pl.LazyFrame, role: str) -> pl.LazyFrame:
        own = geolocation.select(
            pl.col("zip").alias(f"{role}_zip"),
            pl.col("latitude").alias(f"{role}_latitude"),
            pl.col("longitude").alias(f"{role}_longitude"),
        )
        return rows.drop(LOAD_ORDER).join(own, on=f"{role}_zip", how="left")

    lat1, lng1 = pl.col("seller_latitude").radians(), pl.col("seller_longitude").radians()
    lat2, lng2 = pl.col("customer_latitude").radians(), pl.col("customer_longitude").radians()
    haversine = ((lat2 - lat1) / 2).sin().pow(2) + lat1.cos() * lat2.cos() * ((lng2 - lng1) / 2).sin().pow(2)
    late = (pl.col("delivered_date") - pl.col("estimated_delivery_date")).dt.total_days()
    wide = save(
        "wide_sales",
        items.drop("shipping_limit_at", *LOAD_ORDER)
        .join(orders.drop(LOAD_ORDER), on="order_id", how="left")
        .join(placed(customers, "customer"), on="customer_id", how="left")
        .join(placed(sellers, "seller"), on="seller_id", how="left")
        .join(products.select("product_id", "category"), on="product_id", how="left")
        .join(translation.select("category", "category_english"), on="category", how="left")
        .join(paid, on="order_id", how="left")
        .join(reviewed, on="order_id", how="left")
        .with_columns(
            pl.col("order_date").dt.strftime("%Y-%m").alias("order_month"),
            (pl.col("delivered_date") - pl.col("order_date")).dt.total_days().alias("delivery_days"),
            late.alias("delay_days"),
            (late > 0).alias("is_late"),
            pl.coalesce("category_english", "category").alias("category_english"),
            (2 * 6371.0088 * haversine.sqrt().arcsin()).round(3).alias("distance_km"),
            pl.col("reviews").fill_null(0),
        )
        .drop("delivered_date"),
    )
    sold = wide.filter(~pl.col("order_status").is_in(["canceled", "unavailable"]))
    save(
        "daily_sales",
        sold.group_by("order_date", "order_month", "seller_id", "category", "category_english", "customer_state").agg(
            items=pl.len(),
            orders=pl.col("order_id").n_unique(),
            revenue=pl.col("price").sum(),
            freight=pl.col("freight_value").sum(),
        ),
    )
    save(
        "customer_rfm",
        sold.filter(pl.col("order_date") < as_of, pl.col("customer_unique_id").is_not_null())
        .group_by("customer_unique_id")
        .agg(
            first_order_date=pl.col("order_date").min(),
            last_order_date=pl.col("order_date").max(),
            frequency=pl.col("order_id").n_unique(),
            items=pl.len(),
            monetary=pl.col("price").sum(),
        )
        .with_columns(as_of=pl.lit(as_of), recency_days=(as_of - pl.col("last_order_date")).dt.total_days()),
    )


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
