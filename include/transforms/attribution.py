"""Visits that follow an ad: the last touch before each visit, attributed shares, and lift against who saw no ad.

Attribution says how many visits came soon after an ad, lift how many would not have come without it. Only the second
one asks what people do who have seen nothing; it answers rightly when chance decides who sees which ad.
"""

import narwhals as nw

from include.transforms import months
from include.transforms.grouping import aggregated, counted, summed
from include.transforms.local_time import to_local
from include.transforms.proportions import Z_95, difference, rate

WINDOW_HOURS = 6
LIFT = (
    "establishment_id",
    "month",
    "exposed",
    "exposed_visited",
    "unexposed",
    "unexposed_visited",
    "exposed_rate",
    "unexposed_rate",
    "lift",
    "low",
    "high",
    "relative_lift",
)
"""Columns of `lift`."""

_PLACE = ["user_id", "establishment_id"]
_VISIT = [*_PLACE, "moment"]
_TOUCH = ("touched_at", "campaign_id", "ad_id", "through")
_CLICK, _VIEW = "0", "1"


def touches(interactions: nw.LazyFrame) -> nw.LazyFrame:
    """The interactions that can be a last touch: one of each person, establishment and moment.

    Of several at the same moment a click wins over a view, then the ad_id that sorts first.

    Args:
        interactions: user_id, establishment_id, campaign_id, ad_id (of one campaign), action, moment in UTC.

    Returns:
        user_id, establishment_id, touched_at, campaign_id, ad_id, and `through`, click or view.
    """
    clicked = nw.when(nw.col("action") == "click").then(nw.lit(_CLICK)).otherwise(nw.lit(_VIEW))
    ranked = interactions.with_columns(clicked.alias("rank"), nw.col("moment").alias("touched_at"))
    ranked = ranked.with_columns(nw.concat_str("rank", "ad_id").alias("touch"))
    first = aggregated(ranked, [*_PLACE, "touched_at"], [nw.col("touch").min()], {"touch": nw.String()})
    through = nw.when(nw.col("touch").str.slice(0, 1) == _CLICK).then(nw.lit("click")).otherwise(nw.lit("view"))
    first = first.with_columns(nw.col("touch").str.slice(1).alias("ad_id"), through.alias("through"))
    campaigns = interactions.select("ad_id", "campaign_id").unique(["ad_id"])
    return first.join(campaigns, on="ad_id", how="inner").select(*_PLACE, *_TOUCH)


def attributed(visits: nw.LazyFrame, touches: nw.LazyFrame, window_hours: int = WINDOW_HOURS) -> nw.LazyFrame:
    """Every visit with the last interaction before it with an ad of that establishment, if there is one in the window.

    The moment of the visit itself and exactly the window before it count. Visit and touch are of the same day or of
    consecutive ones, and of the day before only its last touch can be the one: an equi-join, of few pairs.

    Args:
        visits: user_id, establishment_id, category, moment in UTC: rows of `visits`.
        touches: Rows of `touches`; they are read several times, so don't hand over what is costly to compute.
        window_hours: From 1 to 24.

    Returns:
        user_id, establishment_id, category, moment, touched_at, campaign_id, ad_id, through: a row for each row of
        `visits`; those of the touch are null where there is none.

    Raises:
        ValueError: the window is longer than a day.
    """
    if not 1 <= window_hours <= 24:
        raise ValueError(f"window_hours is {window_hours}, it must be from 1 to 24")
    at, moment, latest = nw.col("touched_at"), nw.col("moment"), [nw.col("touched_at").max()]
    time = {"touched_at": nw.Datetime("us")}
    keys = [*_PLACE, "day"]
    timed = touches.select(*_PLACE, "touched_at", _day_of("touched_at"))
    earlier = aggregated(timed, keys, latest, time).with_columns(nw.col("day").dt.offset_by("24h"))
    visited = visits.select(*_VISIT).unique(_VISIT).with_columns(_day_of("moment"))
    recent = at >= moment.dt.offset_by(f"-{window_hours}h")
    same_day = visited.join(timed, on=keys, how="inner").filter((at <= moment) & recent)
    day_before = visited.join(earlier, on=keys, how="inner").filter(recent)
    pairs = nw.concat([pairs.select(*_VISIT, "touched_at") for pairs in (same_day, day_before)])
    last = aggregated(pairs, _VISIT, latest, time).join(touches, on=[*_PLACE, "touched_at"], how="inner")
    return visits.join(last, on=_VISIT, how="left").select(*_PLACE, "category", "moment", *_TOUCH)


def attribution(attributed: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Of each establishment, how many of its visits follow an ad, by local month of the visit and over all.

    Args:
        attributed: Rows of `attributed`.
        zone: IANA name of the time zone that months are of.

    Returns:
        establishment_id, category, month ("YYYY-MM" or "all"), `visits`, `click_through`, `view_through`, `people`
        (distinct visitors), `attributed` (click- and view-through), and `share`, of attributed visits in all.
    """
    through = nw.col("through").fill_null("")
    rows = attributed.select(
        *_PLACE,
        "category",
        months.local_month(nw.col("moment"), zone).alias("month"),
        nw.lit(1).cast(nw.Int64).alias("visits"),
        *((through == kind).cast(nw.Int64).alias(f"{kind}_through") for kind in ("click", "view")),
    )
    counted = months.sums(rows, ["establishment_id", "category"], ["visits", "click_through", "view_through"])
    counted = counted.with_columns((nw.col("click_through") + nw.col("view_through")).alias("attributed"))
    return counted.with_columns(rate(nw.col("attributed"), nw.col("visits")).alias("share"))


def active_days(locations: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """The local days on which each person has a location record: user_id, day."""
    return locations.select("user_id", _day(zone)).unique(["user_id", "day"])


def lift(
    active_days: nw.LazyFrame, visits: nw.LazyFrame, interactions: nw.LazyFrame, zone: str, z: float = Z_95
) -> nw.LazyFrame:
    """How much more often people visit an establishment on days on which they saw or clicked one of its ads.

    What is counted are days of people: exposed or not, and with a visit or not, before the ad or after it. The rates of
    both kinds of days differ by the effect of the ad where chance decides who sees it when, for then everything else
    is alike on average, habits and the number of location records included.

    Args:
        active_days: Rows of `active_days`; days of people without location records say nothing.
        visits: Rows of `visits`, of the same location records.
        interactions: user_id, establishment_id, moment in UTC.
        zone: IANA name of the time zone that days and months are of.
        z: Quantile of the standard normal distribution for the interval.

    Returns:
        The columns of `LIFT`: days of people, those with a visit, their rates, `lift`, the difference of the rates,
        with Newcombe's interval (`proportions.difference`), and `relative_lift`, the same in parts of the unexposed
        rate, null where that is 0. Establishments without exposed days have no row.
    """
    key = [*_PLACE, "day"]
    exposed = interactions.select(*_PLACE, _day(zone)).unique(key).join(active_days, on=["user_id", "day"], how="semi")
    visited = visits.select(*_PLACE, _day(zone)).unique(key)
    both = exposed.join(visited, on=key, how="semi")
    of_all = _days(active_days, [], "active")
    counts = _days(exposed, ["establishment_id"], "exposed")
    for rows, name in ((both, "exposed_visited"), (visited, "visited")):
        counts = counts.join(_days(rows, ["establishment_id"], name), on=["establishment_id", "month"], how="left")
        counts = counts.with_columns(nw.col(name).fill_null(0).cast(nw.Int64))
    counts = counts.join(of_all, on="month", how="inner").with_columns(
        (nw.col("active") - nw.col("exposed")).alias("unexposed"),
        (nw.col("visited") - nw.col("exposed_visited")).alias("unexposed_visited"),
    )
    exposed_sample = nw.col("exposed_visited"), nw.col("exposed")
    unexposed_sample = nw.col("unexposed_visited"), nw.col("unexposed")
    low, high = difference(*exposed_sample, *unexposed_sample, z)
    counts = counts.with_columns(
        rate(*exposed_sample).alias("exposed_rate"),
        rate(*unexposed_sample).alias("unexposed_rate"),
        low.alias("low"),
        high.alias("high"),
    ).with_columns((nw.col("exposed_rate") - nw.col("unexposed_rate")).alias("lift"))
    relative = nw.when(nw.col("unexposed_rate") > 0).then(nw.col("lift") / nw.col("unexposed_rate"))
    return months.named(counts.with_columns(relative.alias("relative_lift"))).select(*LIFT)


def people_compared(active_days: nw.LazyFrame, interactions: nw.LazyFrame, zone: str) -> nw.LazyFrame:
    """Of how many people the smaller of both samples of `lift` is; arguments as there.

    Whoever has days of both kinds is in both.

    Returns:
        establishment_id, month ("YYYY-MM" or "all"), and `people`, for establishments with exposed days.
    """
    key = [*_PLACE, "day"]
    exposed = interactions.select(*_PLACE, _day(zone)).unique(key).join(active_days, on=["user_id", "day"], how="semi")
    active = _days_of_people(active_days, [], "active")
    shown = _days_of_people(exposed, ["establishment_id"], "exposed").join(active, on=["user_id", "month"], how="inner")
    shown = shown.with_columns(
        nw.lit(1).cast(nw.Int64).alias("with_exposed"),
        (nw.col("exposed") == nw.col("active")).cast(nw.Int64).alias("only_exposed"),
    )
    counts = summed(shown, ["establishment_id", "month"], ["with_exposed", "only_exposed"])
    counts = counts.join(counted(active, ["month"], "everybody"), on="month", how="inner")
    with_unexposed = nw.col("everybody") - nw.col("only_exposed")
    fewer = nw.when(nw.col("with_exposed") < with_unexposed).then(nw.col("with_exposed")).otherwise(with_unexposed)
    return months.named(counts.with_columns(fewer.alias("people"))).select("establishment_id", "month", "people")


def _days_of_people(rows: nw.LazyFrame, by: list[str], name: str) -> nw.LazyFrame:
    """Number of rows of each person, by month and over all."""
    parts = _by_month(rows)
    return nw.concat(
        [counted(part, [*by, "user_id", "month"], name).select(*by, "user_id", "month", name) for part in parts]
    )


def _days(rows: nw.LazyFrame, by: list[str], name: str) -> nw.LazyFrame:
    """Number of rows by month and over all."""
    parts = _by_month(rows)
    return nw.concat([counted(part, [*by, "month"], name).select(*by, "month", name) for part in parts])


def _by_month(rows: nw.LazyFrame) -> tuple[nw.LazyFrame, nw.LazyFrame]:
    """Rows of days in their month, and in the whole period."""
    month = nw.col("day").dt.year().cast(nw.Int64) * 100 + nw.col("day").dt.month().cast(nw.Int64)
    return rows.with_columns(month.alias("month")), months.whole(rows)


def _day(zone: str) -> nw.Expr:
    return to_local(nw.col("moment"), zone).dt.truncate("1d").cast(nw.Datetime("us")).alias("day")


def _day_of(time: str) -> nw.Expr:
    return nw.col(time).dt.truncate("1d").cast(nw.Datetime("us")).alias("day")
