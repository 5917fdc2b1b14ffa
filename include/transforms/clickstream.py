"""Clicks to sessions, visitors and sources, and to the questions that are asked of them.

What the windows are is said in `include/streams/rules.py`; these are the same rules for whole hours at once, and give
the same rows. Functions take sound clicks, the rows of `vitrine_bronze.clicks`, each event once (`distinct`). All rows
have `dt` and `hour`, the UTC day and hour of the events (`hour` as two digits), by which the tables are partitioned; no
window reaches from one hour into another.
"""

import narwhals as nw

from include.streams.assigners import SECOND
from include.streams.rules import SESSIONS, SOURCES_1M, VISITORS_1M, VISITORS_15S, Rule
from include.transforms.local_time import micros, microsecond

HOUR = ("dt", "hour")
"""Columns of an hour."""
VISITORS = (VISITORS_15S, VISITORS_1M)
BOUND = 10_000
"""The most customers of a page and window that the rules of `VISITORS` count exactly."""

EVENT_ID_DIGITS = 16
"""Length of an `event_id`: the event's identity in hex digits."""

_DIGITS = 8  # of the microseconds of a minute
_MINUTE = "window_start"
_RARITY = "fewer_first"


def of_hour(time: str = "event_time") -> tuple[nw.Expr, nw.Expr]:
    """The columns of `HOUR`, of a time."""
    return nw.col(time).dt.date().alias("dt"), nw.col(time).dt.to_string("%H").alias("hour")


def distinct(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """Each event once: clicks that are equal in all fields have the same `event_id`.

    Returns:
        event_id, event_time, custid, trafficfrom, url, device, touchproduct, and the hour of the event.
    """
    columns = ("event_id", "event_time", "custid", "trafficfrom", "url", "device", "touchproduct")
    return clicks.select(*columns).unique("event_id").with_columns(*of_hour())


def sessions(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """The rule `sessions`: what a customer did on a device within a minute."""
    # A window's events in their order, as text that sorts so: the microsecond, then the identity; behind it the url.
    time = nw.col("event_time")
    place = (time.dt.second().cast(nw.Int64) * SECOND + microsecond(time)).cast(nw.String).str.zfill(_DIGITS)
    clicks = clicks.with_columns(nw.concat_str(place, "event_id", "url").alias("ordered"), _window_start(SESSIONS))
    found = clicks.group_by(list(SESSIONS.keys)).agg(
        nw.len().cast(nw.Int64).alias("events"),
        nw.col("ordered").min().alias("first_url"),
        nw.col("ordered").max().alias("last_url"),
        nw.col("event_time").min().alias("begin"),
        nw.col("event_time").max().alias("end"),
    )
    found = found.with_columns(nw.col("first_url", "last_url").str.slice(_DIGITS + EVENT_ID_DIGITS))
    second = micros(nw.col(_MINUTE)) // SECOND
    parts = (nw.col("custid").cast(nw.String), nw.col("device"), second.cast(nw.String))
    named = nw.concat_str(*parts, separator=".")
    duration = micros(nw.col("end")) - micros(nw.col("begin"))
    found = found.with_columns(named.alias("session_id"), duration.alias("duration"), *of_hour(_MINUTE))
    return found.select(*SESSIONS.columns, *HOUR)


def visits(clicks: nw.LazyFrame, rule: Rule) -> nw.LazyFrame:
    """Each customer once for each page and window of a rule of `VISITORS`."""
    found = clicks.with_columns(_window_start(rule), *of_hour())
    return found.select(*HOUR, _MINUTE, "url", "custid").unique([_MINUTE, "url", "custid"])


def visitors(clicks: nw.LazyFrame, rule: Rule, estimates: nw.LazyFrame | None = None) -> nw.LazyFrame:
    """A rule of `VISITORS`: distinct customers of each page in each window.

    Args:
        clicks: Rows.
        rule: One of `VISITORS`.
        estimates: window_start, url and `estimate`, for the windows with more customers than the rule counts exactly.
            Those that it lacks are counted all the same, and marked as not exact.
    """
    key = [_MINUTE, "url"]
    counted = visits(clicks, rule).group_by([*HOUR, *key]).agg(nw.len().cast(nw.Int64).alias("visitors"))
    found = counted.with_columns(
        (nw.col("visitors") <= BOUND).alias("exact"),
        nw.lit(rule.assigner.size // SECOND).cast(nw.Int64).alias("window_seconds"),
    )
    if estimates is not None:
        found = found.join(estimates.select(*key, "estimate"), on=key, how="left")
        found = found.with_columns(nw.coalesce(nw.col("estimate"), nw.col("visitors")).alias("visitors"))
    return found.select(*rule.columns, *HOUR)


def crowds(clicks: nw.LazyFrame, rule: Rule) -> nw.LazyFrame:
    """The visits of the windows that have more customers than the rule counts exactly."""
    found = visits(clicks, rule)
    size = nw.len().over(_MINUTE, "url")
    return found.with_columns(size.alias("size")).filter(nw.col("size") > BOUND).drop("size")


def sources(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """The rule `sources_1m`: events from each source of traffic in each minute."""
    found = clicks.with_columns(_window_start(SOURCES_1M)).group_by([*HOUR, *SOURCES_1M.keys])
    return found.agg(nw.len().cast(nw.Int64).alias("events")).select(*SOURCES_1M.columns, *HOUR)


def busiest_sources(sources: nw.LazyFrame) -> nw.LazyFrame:
    """Of each minute, the source with the most events, of equal ones the first in the alphabet; and all its events.

    Args:
        sources: Rows of `sources`.
    """
    rarity = (0 - nw.col("events")).alias(_RARITY)
    most = sources.with_columns(rarity).unique([_MINUTE], keep="first", order_by=[_RARITY, "trafficfrom"])
    total = sources.group_by(_MINUTE).agg(nw.col("events").sum().cast(nw.Int64).alias("all_events"))
    return most.join(total, on=_MINUTE, how="left").select(_MINUTE, "trafficfrom", "events", "all_events", *HOUR)


def product_accesses(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """Accesses of each product in an hour, and its position: most accesses first, of equal ones the lesser product.

    All products are there, not ten of them, so that the ten of a day or a month can be added up.
    """
    products = clicks.filter(nw.col("touchproduct") > 0).rename({"touchproduct": "product"})
    rarity = (0 - nw.col("accesses")).alias(_RARITY)
    found = _accesses(products, "product").with_columns(rarity, nw.lit(1).cast(nw.Int64).alias("position"))
    position = nw.col("position").cum_sum().over(*HOUR, order_by=[_RARITY, "product"])
    found = found.with_columns(position.cast(nw.Int64))
    return found.select("product", "position", "accesses", "visitors", *HOUR)


def device_accesses(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """Accesses by device in an hour."""
    return _accesses(clicks, "device")


def source_page_accesses(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """The heat map: accesses by source of traffic and page in an hour; pairs without any have no row."""
    return _accesses(clicks, "trafficfrom", "url")


def unique_visitors(clicks: nw.LazyFrame) -> nw.LazyFrame:
    """Visitors of the whole shop over time: distinct customers of each minute, and of each hour (`window_seconds`)."""
    return nw.concat([_seen(clicks, "1m", 60), _seen(clicks, "1h", 3600)])


def _seen(clicks: nw.LazyFrame, unit: str, seconds: int) -> nw.LazyFrame:
    clicks = clicks.with_columns(nw.col("event_time").dt.truncate(unit).cast(nw.Datetime("us")).alias(_MINUTE))
    found = _accesses(clicks, _MINUTE).with_columns(nw.lit(seconds).cast(nw.Int64).alias("window_seconds"))
    return found.select(_MINUTE, "window_seconds", "accesses", "visitors", *HOUR)


def _accesses(clicks: nw.LazyFrame, *by: str) -> nw.LazyFrame:
    counted = clicks.group_by([*by, *HOUR]).agg(
        nw.len().cast(nw.Int64).alias("accesses"), nw.col("custid").n_unique().cast(nw.Int64).alias("visitors")
    )
    return counted.select(*by, "accesses", "visitors", *HOUR)


def _window_start(rule: Rule) -> nw.Expr:
    """The start of a rule's windows, which are minutes or divide them: engines truncate to whole units only."""
    seconds = rule.assigner.size // SECOND
    time = nw.col("event_time")
    start = time.dt.truncate("1m").cast(nw.Datetime("us"))
    found = start
    for offset in range(seconds, 60, seconds):
        found = nw.when(time.dt.second() >= offset).then(start.dt.offset_by(f"{offset}s")).otherwise(found)
    return found.alias(_MINUTE)
