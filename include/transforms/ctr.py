"""Click-through rates of campaigns, with intervals and ranks, by local month and over the whole period."""

import narwhals as nw

from include.transforms import months
from include.transforms.grouping import counted
from include.transforms.proportions import Z_95, rate, wilson

FLOOR = 100
"""Views that a campaign must have to be ranked."""

CTR = ("campaign_id", "establishment_id", "category", "month", "views", "clicks", "people", "ctr", "low", "high")
"""Columns of `ctr` before the rank."""

_KEY = ["campaign_id", "establishment_id", "category"]


def ctr(interactions: nw.LazyFrame, zone: str, *, floor: int = FLOOR, z: float = Z_95) -> nw.LazyFrame:
    """Clicks per view of each campaign.

    Args:
        interactions: user_id, campaign_id, establishment_id, category, action (view or click), moment in UTC.
        zone: IANA name of the time zone that months are of.
        floor: Views that a campaign must have in the month to be ranked.
        z: Quantile of the standard normal distribution for the interval.

    Returns:
        The columns of `CTR`, where `people` have seen or clicked, and `low` to `high` is Wilson's interval; and `rank`
        among the campaigns of the month with enough views: by rate, of equal ones by views, then by campaign_id; null
        for the others. A campaign of several establishments has a row, and a rank,
        for each. A click counts in its own month, so a month may have clicks without views: its rate is null.
    """
    rows = interactions.with_columns(
        (nw.col("action") == "view").cast(nw.Int64).alias("views"),
        (nw.col("action") == "click").cast(nw.Int64).alias("clicks"),
        months.local_month(nw.col("moment"), zone).alias("month"),
    )
    found = months.sums(rows, _KEY, ["views", "clicks"])
    views, clicks = nw.col("views"), nw.col("clicks")
    low, high = wilson(nw.when(clicks < views).then(clicks).otherwise(views), views, z)
    rated = found.with_columns(rate(clicks, views).alias("ctr"), low.alias("low"), high.alias("high")).select(*CTR)
    return rated.join(_ranks(rated.filter(views >= floor)), on=[*_KEY, "month"], how="left")


def _ranks(rated: nw.LazyFrame) -> nw.LazyFrame:
    """How many campaigns of the month are as good or better: a join with itself, for Dask has no ordered windows."""
    mine = rated.select(*_KEY, "month", "ctr", "views")
    others = mine.select("month", *(nw.col(name).alias(f"other_{name}") for name in (*_KEY, "ctr", "views")))
    ahead, as_good = nw.col("other_ctr") > nw.col("ctr"), nw.col("other_ctr") == nw.col("ctr")
    ahead = ahead | (as_good & (nw.col("other_views") > nw.col("views")))
    as_good = as_good & (nw.col("other_views") == nw.col("views"))
    for name in _KEY:
        ahead = ahead | (as_good & (nw.col(f"other_{name}") < nw.col(name)))
        as_good = as_good & (nw.col(f"other_{name}") == nw.col(name))
    pairs = mine.join(others, on="month", how="inner").filter(ahead | as_good)
    return counted(pairs, [*_KEY, "month"], "rank")
