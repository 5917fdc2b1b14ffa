"""When people look at ads of what: interactions by category and local hour of day."""

import narwhals as nw

from include.transforms import months
from include.transforms.local_time import to_local


def attractiveness(interactions: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Interactions with the ads of each category in each hour of the day, by month and over the whole period.

    Args:
        interactions: user_id, category, action (view or click), moment in UTC.
        zone: IANA name of the time zone that hours and months are of.

    Returns:
        category, `hour` (0 to 23, local), month ("YYYY-MM" or "all"), `interactions`, `views`, `clicks`, and `people`,
        distinct ones. Hours without interactions have no row.
    """
    rows = interactions.select(
        "user_id",
        "category",
        to_local(nw.col("moment"), zone).dt.hour().cast(nw.Int64).alias("hour"),
        months.local_month(nw.col("moment"), zone).alias("month"),
        nw.lit(1).cast(nw.Int64).alias("interactions"),
        (nw.col("action") == "view").cast(nw.Int64).alias("views"),
        (nw.col("action") == "click").cast(nw.Int64).alias("clicks"),
    )
    return months.sums(rows, ["category", "hour"], ["interactions", "views", "clicks"])
