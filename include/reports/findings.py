"""What the tables say, month by month: a title, notes, a chart and a map for each finding, or why there is none."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.reports import charts, maps
from include.reports.charts import PERIODS, WEEKDAYS, Rows, Spec
from include.reports.tracks import APPROACH, Track
from include.transforms.attribution import WINDOW_HOURS
from include.transforms.ctr import FLOOR
from include.transforms.months import WHOLE
from include.transforms.privacy import FEWEST_PEOPLE
from include.transforms.visits import GAP_MINUTES, RADIUS_M

SHOWN = 15
"""Bars of a chart."""
VISITS_FLOOR = 30
"""Visits that an establishment must have for its attributed share to be ranked: of three, two are no 67 %."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class Picture:
    """A picture to be drawn, beside the page: its file's name, and what to call with title and notes for its bytes."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Finding:
    """A finding of a month, or of a person and a month.

    Attributes:
        section: Key of `SECTIONS`.
        name: Unique; part of the names of its pictures.
        month: As in the tables; "" for what is of no month.
        title: What was found.
        notes: What figures mean, what they are based on, and what is left out.
        chart: Vega-Lite, or nothing.
        map: For the page, as `maps` makes them, or nothing.
        pictures: To be drawn beside the page; of people, only those of the whole period.
        table: Header and rows of text, or nothing.
        empty: Why there is nothing to draw.
    """

    section: str
    name: str
    month: str
    title: str
    notes: str
    chart: Spec | None = None
    map: dict[str, Any] | None = None
    pictures: tuple[Picture, ...] = ()
    table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None
    empty: str = ""


@dataclass(frozen=True)
class Tables:
    """Rows of the tables, as dictionaries, and the basemap."""

    campaign_ctr: Rows = ()
    establishment_visits: Rows = ()
    attribution: Rows = ()
    visit_lift: Rows = ()
    category_hours: Rows = ()
    establishments: Rows = ()
    basemap: Mapping[str, Any] = field(default_factory=lambda: {"features": [], "name": ""})

    @property
    def months(self) -> list[str]:
        """All months that a table has: "all" first, then ascending."""
        tables = (self.campaign_ctr, self.establishment_visits, self.attribution, self.visit_lift, self.category_hours)
        found = {row["month"] for rows in tables for row in rows}
        return [WHOLE, *sorted(found - {WHOLE})]


def said(month: str) -> str:
    """A month as people say it."""
    if month == WHOLE:
        return "the whole period"
    year, _, number = month.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}"


def of_month(tables: Tables, month: str) -> list[Finding]:
    """The findings of a month, in the order of the page."""
    where = _places(tables.establishments)
    kinds = {row["category"] for row in (*tables.establishments, *tables.category_hours, *tables.campaign_ctr)}
    colours = charts.palette(sorted(kinds))
    make: tuple[Callable[..., Finding], ...] = (_rates, _visits, _shares, _lifts)
    return [*(one(tables, month, where, colours) for one in make), _hours(tables, month)]


def _rates(tables: Tables, month: str, where: Mapping[str, Any], colours: Mapping[str, str]) -> Finding:
    rows = _of(tables.campaign_ctr, month)
    known = [row for row in rows if row["views"] is not None]
    ranked = sorted((row for row in known if row["rank"] is not None), key=lambda row: row["rank"])
    notes = (
        f"Clicks per view, of campaigns with {FLOOR} views or more; a click counts in its own month. "
        f"The line is Wilson's 95 % interval. {_left_out(rows, 'campaign')}"
    )
    name = f"ctr-{month}"
    if not ranked:
        reason = f"No campaign has {FLOOR} views in {said(month)}."
        return Finding("ctr", name, month, reason, notes, empty=reason)
    drawn = [
        {**row, "establishment": _name(where, row), "label": f"{row['campaign_id']} · {_name(where, row)}"}
        for row in ranked[:SHOWN]
    ]
    best = drawn[0]
    title = (
        f"Best click-through rate of {said(month)}: {best['campaign_id']} of {best['establishment']}, "
        f"{best['ctr']:.1%} ({best['clicks']:,} of {best['views']:,} views)"
    )
    chart = charts.rates(drawn, colours)
    notes += _more(len(ranked), "campaign")
    header = ("campaign", "clicks", "views", "people", "rate", "interval")
    table = [
        (
            row["campaign_id"],
            *(f"{row[figure]:,}" for figure in ("clicks", "views", "people")),
            f"{row['ctr']:.1%}",
            f"{row['low']:.1%} to {row['high']:.1%}",
        )
        for row in drawn
    ]
    return Finding("ctr", name, month, title, notes, chart, pictures=(Picture(name, chart),), table=(header, table))


def _visits(tables: Tables, month: str, where: Mapping[str, Any], colours: Mapping[str, str]) -> Finding:
    rows = _of(tables.establishment_visits, month)
    known = [row for row in rows if row["visits"] is not None]
    notes = (
        f"A visit is a location record less than {RADIUS_M:.0f} m from the establishment; visits up to "
        f"{GAP_MINUTES} minutes apart are one stay. {_left_out(rows, 'establishment')}"
    )
    name = f"visits-{month}"
    if not known:
        reason = f"No establishment has visits of {FEWEST_PEOPLE} people in {said(month)}."
        return Finding("visits", name, month, reason, notes, empty=reason)
    ordered = sorted(known, key=lambda row: (-row["visits"], row["establishment_id"]))
    ordered = [{**row, "label": _name(where, row)} for row in ordered]
    best = ordered[0]
    title = (
        f"Most visited in {said(month)}: {best['label']}, {best['visits']:,} visits "
        f"({best['stays']:,} stays of {best['people']:,} people)"
    )
    chart = charts.bars(ordered[:SHOWN], colours, "visits", "visits (location records)")
    located = _located(
        ordered, where, lambda row: f"{row['visits']:,} visits, {row['stays']:,} stays, {row['people']:,} people"
    )
    map_, pictures = _mapped(located, "visits", colours, tables.basemap, name, "visits", ",d")
    notes += _more(len(ordered), "establishment", " The map shows all of them.")
    return Finding("visits", name, month, title, notes, chart, map_, (Picture(name, chart), *pictures))


def _shares(tables: Tables, month: str, where: Mapping[str, Any], colours: Mapping[str, str]) -> Finding:
    rows = _of(tables.attribution, month)
    known = [row for row in rows if row["visits"] is not None]
    ranked = [row for row in known if row["visits"] >= VISITS_FLOOR and row["attributed"]]
    notes = (
        f"Share of an establishment's visits whose person saw or clicked one of its ads in the {WINDOW_HOURS} hours "
        f"before; the last one counts. Of establishments with {VISITS_FLOOR} visits or more. It says what came after "
        f"an ad, not what came because of it. {_left_out(rows, 'establishment')}"
    )
    name = f"attribution-{month}"
    if not ranked:
        reason = f"No establishment with {VISITS_FLOOR} visits has one that followed an ad in {said(month)}."
        return Finding("attribution", name, month, reason, notes, empty=reason)
    ordered = sorted(ranked, key=lambda row: (-row["share"], -row["visits"], row["establishment_id"]))
    ordered = [{**row, "label": _name(where, row)} for row in ordered]
    best = ordered[0]
    title = (
        f"Highest attributed share of {said(month)}: {best['label']}, {best['share']:.1%} "
        f"({best['attributed']:,} of {best['visits']:,} visits)"
    )
    chart = charts.shares(ordered[:SHOWN])
    located = _located(
        ordered, where, lambda row: f"{row['share']:.1%}: {row['attributed']:,} of {row['visits']:,} visits"
    )
    map_, pictures = _mapped(located, "share", colours, tables.basemap, name, "attributed share", ".0%")
    notes += _more(len(ordered), "establishment", " The map shows all of them.")
    return Finding("attribution", name, month, title, notes, chart, map_, (Picture(name, chart), *pictures))


def _lifts(tables: Tables, month: str, where: Mapping[str, Any], colours: Mapping[str, str]) -> Finding:
    rows = _of(tables.visit_lift, month)
    known = [row for row in rows if row["lift"] is not None and row["establishment_id"] in where]
    notes = (
        "How much more often people came on days on which they saw or clicked an ad of the establishment than on days "
        "without. It is the ad's effect where chance decides who sees it when. An interval with 0 in it shows none. "
        f"{_left_out(rows, 'establishment')}"
    )
    name = f"lift-{month}"
    if not known:
        reason = f"No establishment has days with and without its ads to compare in {said(month)}."
        return Finding("lift", name, month, reason, notes, empty=reason)
    drawn = [
        {**row, "label": _name(where, row), "category": where[row["establishment_id"]]["category"]}
        for row in sorted(known, key=lambda row: (-row["lift"], row["establishment_id"]))
    ]
    sure = sum(row["low"] > 0 for row in drawn)
    title = f"Ads brought visits to {sure} of {len(drawn)} establishments in {said(month)}, by the 95 % interval"
    chart = charts.lifts(drawn[:SHOWN], colours)
    notes += _more(len(drawn), "establishment")
    header = ("establishment", "days with ad", "came on", "on others", "lift in points")
    table = [
        (
            row["label"],
            f"{row['exposed']:,}",
            f"{row['exposed_rate']:.1%}",
            f"{row['unexposed_rate']:.1%}",
            f"{100 * row['lift']:+z.1f} ({100 * row['low']:+z.1f} to {100 * row['high']:+z.1f})",
        )
        for row in drawn[:SHOWN]
    ]
    return Finding("lift", name, month, title, notes, chart, pictures=(Picture(name, chart),), table=(header, table))


def _hours(tables: Tables, month: str) -> Finding:
    rows = sorted(_of(tables.category_hours, month), key=lambda row: (row["category"], row["hour"]))
    hidden = sum(row["interactions"] is None for row in rows)
    notes = (
        "Ads seen or clicked, by category and local hour of the day; each panel has a scale of its own, its peak "
        "stands out. "
    )
    if hidden:
        notes += (
            f"× marks {_count(hidden, 'hour')} of fewer than {FEWEST_PEOPLE} people, whose figures are not published."
        )
    name = f"hours-{month}"
    peaks: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        best = peaks.get(row["category"])
        if row["interactions"] and (best is None or row["interactions"] > best["interactions"]):
            peaks[row["category"]] = row
    if not peaks:
        reason = f"No hour of a category has {FEWEST_PEOPLE} people in {said(month)}."
        return Finding("hours", name, month, reason, notes, empty=reason)
    drawn = [
        {
            **row,
            "peak": peaks.get(row["category"]) is row,
            "suppressed": row["interactions"] is None,
            "said": f"not published: fewer than {FEWEST_PEOPLE} people",
        }
        for row in rows
    ]
    clocks = ", ".join(f"{category} at {row['hour']} h" for category, row in peaks.items())
    chart = charts.hours(drawn)
    title = f"When ads are looked at most in {said(month)}: {clocks}"
    return Finding("hours", name, month, title, notes, chart, pictures=(Picture(name, chart),))


def of_person(user: str, month: str, looks: Rows, goes: Rows, named: str) -> Finding:
    """What a person likes in a month.

    Args:
        user: Pseudonym.
        month: As in the tables.
        looks: Rows of `interaction_profile`, of the person and month.
        goes: Rows of `visit_profile`, likewise.
        named: What the page calls the person.
    """
    name = f"profile-{user}-{month}"
    notes = (
        "Shares of what the person looked at in each period of the day, and of the stays on each weekday; the "
        "preferred category is framed. Of categories with as many, the first in the alphabet is preferred."
    )
    if not looks and not goes:
        reason = f"{named} saw no ad and visited no establishment in {said(month)}."
        return Finding("profiles", name, month, reason, notes, empty=reason)
    liked = {row["period"]: row for row in looks if row["preferred"]}
    gone = {row["weekday"]: row for row in goes if row["preferred"]}
    table = [
        *([period, *_preferred(liked.get(period), "interactions")] for period in PERIODS),
        *([day, *_preferred(gone.get(number), "visits")] for number, day in enumerate(WEEKDAYS, start=1)),
    ]
    counts = sum(row["interactions"] for row in looks), sum(row["visits"] for row in goes)
    title = f"{named} in {said(month)}: {_count(counts[0], 'interaction')} with ads, {_count(counts[1], 'stay')}"
    ordered = sorted(looks, key=lambda row: (row["period"], row["category"]))
    days = sorted(goes, key=lambda row: (row["weekday"], row["category"]))
    chart = charts.profile(ordered, days)
    header = ("when", "preferred category", "share", "of")
    pictures = (Picture(name, chart),) if month == WHOLE else ()
    return Finding("profiles", name, month, title, notes, chart, pictures=pictures, table=(header, table))


def of_track(track: Track, named: str, base: Mapping[str, Any]) -> Finding:
    """A person's day on the map."""
    rule = APPROACH
    offers = ", ".join(dict.fromkeys(row["label"] for row in track.offers))
    made = f"{_count(len(track.offers), 'offer')} on the way: {offers}" if track.offers else "nothing was approached"
    notes = (
        f"The live stream's rule on this person's location records, which are sparser than a phone's live fixes: an "
        f"establishment within {rule.radius:.0f} m, nearer by {rule.closing:.0f} m at least over {rule.fixes} records "
        f"up to {rule.gap // 60_000_000} minutes apart, and at most {rule.angle:.0f}° off the way. Dashed lines lead "
        "from where an offer fired to its establishment."
    )
    header = ("", "time", "establishment", "category", "distance", "campaign")
    rows = [
        [o["number"], o["time"], o["label"], o["category"], f"{o['metres']:.0f} m", o["campaign_id"]]
        for o in track.offers
    ]
    name = f"track-{track.user}"
    title = f"{named} on {track.named}: {made}"
    picture = Picture(name, maps.track_picture(track, base))
    return Finding(
        "tracks",
        name,
        "",
        title,
        notes,
        map=maps.track(track),
        pictures=(picture,),
        table=(header, rows) if rows else None,
    )


def _mapped(
    rows: Rows, figure: str, colours: Mapping[str, str], base: Mapping[str, Any], name: str, title: str, format_: str
) -> tuple[dict[str, Any] | None, tuple[Picture, ...]]:
    if not rows:
        return None, ()
    picture = Picture(f"{name}-map", maps.places_picture(rows, figure, colours, base, title, format_))
    return maps.places(rows, figure, colours, base), (picture,)


def _located(rows: Rows, where: Mapping[str, Any], said: Callable[[Mapping[str, Any]], str]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        place = where.get(row["establishment_id"])
        if place:
            at = {"longitude": place["longitude"], "latitude": place["latitude"]}
            found.append({**row, **at, "said": said(row)})
    return found


def _of(rows: Rows, month: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["month"] == month]


def _places(establishments: Rows) -> dict[str, dict[str, Any]]:
    """Establishments by id, with a label of their own: those of a chain may have the same name."""
    times = Counter(row["name"] for row in establishments)
    found = {}
    for row in establishments:
        which, name = row["establishment_id"], row["name"]
        found[which] = {**row, "label": which if not name else name if times[name] == 1 else f"{name} ({which})"}
    return found


def _name(where: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    place = where.get(row["establishment_id"])
    return place["label"] if place else row["establishment_id"]


def _left_out(rows: Sequence[Mapping[str, Any]], what: str) -> str:
    hidden = sum(bool(row["suppressed"]) for row in rows)
    return f"{_count(hidden, what)} of fewer than {FEWEST_PEOPLE} people left out." if hidden else ""


def _more(count: int, what: str, also: str = "") -> str:
    return f" The first {SHOWN} of {_count(count, what)}.{also}" if count > SHOWN else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _preferred(row: Mapping[str, Any] | None, figure: str) -> Iterable[str]:
    if row is None:
        return "–", "–", "–"
    return (
        row["category"],
        f"{row['share']:.0%}",
        f"{round(row[figure] / row['share']):,} {'ads' if figure == 'interactions' else 'stays'}",
    )
