"""Runs the transforms on each engine, over the real sample and over the dirty landing zone."""

import gzip
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from include.transforms import gold, silver
from include.transforms.screening import Silver
from local.data import marketplace, marketplace_dirt
from local.data.marketplace import TABLES

OLIST = Path(__file__).resolve().parents[4] / "shared" / "data" / "olist"
AS_OF = date(2018, 9, 1)
SPARK_TYPES = {
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamp_ntz",
    pl.Float64: "double",
    pl.Int64: "bigint",
    pl.String: "string",
}


def spark_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision}, {dtype.scale})"
    return SPARK_TYPES[type(dtype)]


@dataclass(frozen=True)
class Engine:
    """An engine: how it takes Polars rows, and how it gives them back."""

    name: str
    take: Callable[[pl.DataFrame], nw.LazyFrame]

    def give(self, rows: nw.LazyFrame) -> pl.DataFrame:
        return rows.collect("polars").to_native()


@dataclass
class Lakehouse:
    """Every table that an engine made of the same bronze rows; what is made is handed on as it is."""

    engine: Engine
    bronze: dict[str, pl.DataFrame]
    accepted: dict[str, pl.DataFrame] = field(default_factory=dict)
    rejected: dict[str, pl.DataFrame] = field(default_factory=dict)
    gold: dict[str, pl.DataFrame] = field(default_factory=dict)

    def build(self) -> "Lakehouse":
        raw = {table: self.engine.take(rows) for table, rows in self.bronze.items()}
        customers = self._keep("customers", silver.customers(raw["customers"]))
        sellers = self._keep("sellers", silver.sellers(raw["sellers"]))
        products = self._keep("products", silver.products(raw["products"]))
        geolocation = self._keep("geolocation", silver.geolocation(raw["geolocation"]))
        translation = None
        if "category_translation" in raw:
            made = silver.category_translation(raw["category_translation"])
            translation = self._keep("category_translation", made)
        orders = self._keep("orders", silver.orders(raw["orders"], customers))
        items = self._keep("order_items", silver.order_items(raw["order_items"], orders, products, sellers))
        payments = self._keep("order_payments", silver.order_payments(raw["order_payments"], orders))
        reviews = self._keep("order_reviews", silver.order_reviews(raw["order_reviews"], orders))
        self.gold["wide_sales"] = self.engine.give(
            gold.wide_sales(
                order_items=items,
                orders=orders,
                customers=customers,
                sellers=sellers,
                products=products,
                payments=payments,
                reviews=reviews,
                geolocation=geolocation,
                category_translation=translation,
            )
        )
        wide = self.engine.take(self.gold["wide_sales"])
        self.gold["daily_sales"] = self.engine.give(gold.daily_sales(wide))
        self.gold["customer_rfm"] = self.engine.give(gold.customer_rfm(wide, AS_OF))
        return self

    def _keep(self, table: str, made: Silver) -> nw.LazyFrame:
        self.accepted[table] = self.engine.give(made.accepted)
        self.rejected[table] = self.engine.give(made.rejected)
        return self.engine.take(self.accepted[table])


def on_polars() -> Engine:
    return Engine("polars", lambda rows: nw.from_native(rows.lazy()))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One Spark for the whole session, set for data so small that compiling a plan costs more than running it."""
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        pytest.skip("no Java here, so nothing is tested on Spark; on Debian and Ubuntu: openjdk-17-jre-headless")
    pytest.importorskip(
        "pyspark", reason="PySpark is not installed, so nothing is tested on Spark: dependency group spark"
    )
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    builder = SparkSession.builder.master("local[2]").appName("transforms")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    folder = tmp_path_factory.mktemp("spark")

    def take(rows: pl.DataFrame) -> nw.LazyFrame:
        # Through a file, as PySpark 3.5 can't use pandas 3. The schema is given, or Spark would run a job to see it.
        file = folder / f"{len(list(folder.iterdir()))}.parquet"
        rows.write_parquet(file)
        schema = ", ".join(f"{name} {spark_type(dtype)}" for name, dtype in rows.schema.items())
        return nw.from_native(session.read.schema(schema).parquet(str(file)))

    yield Engine("spark", take)
    session.stop()


def on_dask(partitions: int = 2) -> Engine:
    """Dask in this process: the same planner as a cluster's, threads instead of workers."""
    dask = pytest.importorskip(
        "dask.dataframe", reason="Dask is not installed, so nothing is tested on Dask: dependency group dask"
    )
    return Engine("dask", lambda rows: nw.from_native(dask.from_pandas(rows.to_pandas(), npartitions=partitions)))


@pytest.fixture(params=["polars", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that the transforms run on."""
    return on_polars() if request.param == "polars" else request.getfixturevalue("spark")


def in_bronze(
    rows: pl.DataFrame, source_file: str = "file.csv", load_time: datetime = datetime(2018, 9, 1)
) -> pl.DataFrame:
    """Rows with the columns that bronze adds."""
    return rows.with_columns(
        pl.lit(load_time).alias("load_time"),
        pl.lit(source_file).alias("source_file"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
    )


@pytest.fixture(scope="session")
def landing(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, marketplace_dirt.Case], dict[str, pl.DataFrame]]:
    """The cases of the dirty landing zone, and the rows of each table as bronze would have them, as text."""
    directory = tmp_path_factory.mktemp("landing")
    cases = marketplace_dirt.write(directory)
    rows: dict[str, list[pl.DataFrame]] = {table: [] for table in TABLES}
    for case in cases.values():
        if case.outcome == "loaded":
            load_time = datetime.fromisoformat(Path(case.file).parent.name)
            rows[case.table].append(in_bronze(_read(directory / case.file), case.file, load_time))
    return cases, {table: pl.concat(files, how="diagonal") for table, files in rows.items()}


def _read(file: Path) -> pl.DataFrame:
    if file.suffix == ".parquet":
        moments = pl.selectors.datetime().dt.strftime("%Y-%m-%d %H:%M:%S")
        return pl.read_parquet(file).with_columns(moments).cast(pl.String)
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return pl.read_csv(text.encode(), infer_schema=False)


@pytest.fixture(scope="session")
def dirty(landing: Any) -> Lakehouse:
    """What Polars makes of the dirty landing zone."""
    return Lakehouse(on_polars(), landing[1]).build()


@pytest.fixture(scope="session")
def dirty_on_spark(landing: Any, spark: Engine) -> Lakehouse:
    """What Spark makes of the dirty landing zone."""
    return Lakehouse(spark, landing[1]).build()


@pytest.fixture(scope="session")
def olist() -> Lakehouse:
    """What Polars makes of the real sample, which has no translations."""
    if not OLIST.exists():
        pytest.skip(f"the sample of Olist is not in {OLIST}")
    bronze = {}
    for table in TABLES:
        if table != "category_translation":
            file = OLIST / marketplace.file_name(table, "csv")
            bronze[table] = in_bronze(pl.read_csv(file, infer_schema=False), file.name)
    return Lakehouse(on_polars(), bronze).build()


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """What Polars makes of a generated marketplace in Parquet, whose columns are typed."""
    made = marketplace.generate(tmp_path_factory.mktemp("marketplace"), 0.5, seed=7, format="parquet")
    return Lakehouse(
        on_polars(), {t: in_bronze(pl.read_parquet(made.file(t)), made.file(t).name) for t in TABLES}
    ).build()
