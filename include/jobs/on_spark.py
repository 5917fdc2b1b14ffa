"""The engine Spark."""

from collections.abc import Sequence

import narwhals as nw
import pyarrow as pa
from pyspark.sql import SparkSession, functions
from pyspark.sql.pandas.types import from_arrow_schema

from include.jobs.engine import month_folder


class OnSpark:
    """Spark, wherever this process finds it: Glue, a cluster, or this machine."""

    name = "spark"

    def __init__(self) -> None:
        settings = {
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.parquet.compression.codec": "zstd",
            # Readers that take all that lies below a prefix, as COPY does, stumble over the empty _SUCCESS.
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        }
        builder = SparkSession.builder
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """As `Engine.read`."""
        reader = self.session.read
        if schema is not None:
            typed = from_arrow_schema(schema, prefer_timestamp_ntz=True)
            if not locations:
                return nw.from_native(self.session.createDataFrame([], typed))
            reader = reader.schema(typed)
        return nw.from_native(reader.parquet(*locations))

    def write(self, frame: nw.LazyFrame, location: str) -> None:
        """As `Engine.write`."""
        frame.to_native().write.parquet(location)

    def write_sorted(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_sorted`."""
        frame.to_native().repartition(1).sortWithinPartitions(*key).write.parquet(location)

    def write_days(self, frame: nw.LazyFrame, location: str, day: str, key: Sequence[str]) -> nw.LazyFrame:
        """As `Engine.write_days`."""
        rows = frame.to_native()
        # All rows of a day are in one partition after this, so in one file.
        partitioned = rows.withColumn("day", rows[day]).repartition("day").sortWithinPartitions("day", *key)
        partitioned.write.partitionBy("day").parquet(location)
        return nw.from_native(self.session.read.parquet(location).drop("day"))

    def write_hours(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_hours`."""
        hour = functions.concat_ws("T", "dt", "hour")
        parted = frame.to_native().withColumn("at", hour).repartition("at").sortWithinPartitions("at", *key)
        parted.write.partitionBy("at").parquet(location)

    def write_months(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_months`."""
        # A month at a time: a column that files are parted by is not in them, and no other may have its name.
        parted = frame.to_native().repartition("month").cache()
        try:
            for (month,) in parted.select("month").distinct().collect():
                place = f"{location}{month_folder(month)}/"
                parted.filter(parted["month"] == month).coalesce(1).sortWithinPartitions(*key).write.parquet(place)
        finally:
            parted.unpersist()

    def persist(self, frame: nw.LazyFrame) -> nw.LazyFrame:
        """As `Engine.persist`."""
        return nw.from_native(frame.to_native().cache())

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """As `Engine.take`."""
        values = [tuple(row.values()) for row in rows.to_pylist()]
        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
        return nw.from_native(self.session.createDataFrame(values, schema))
