"""The tags a DAG may carry."""

from enum import StrEnum


class Tag(StrEnum):
    """What a DAG is about; the UI filters by these."""

    SALES = "sales"
    PRODUCTS = "products"
    SNOWFLAKE = "snowflake"
    BATCH = "batch"
    ATHENA = "athena"
    GLUE = "glue"
    REDSHIFT = "redshift"
    LAKEHOUSE = "lakehouse"
    MAINTENANCE = "maintenance"
    STREAMS = "streams"
    WEB = "web"
    GEO = "geo"
