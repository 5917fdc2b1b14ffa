"""The report's charts, as Vega-Lite specifications. Rows are dictionaries; what is null is never drawn as 0."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import vl_convert

from include.transforms.profiles import PERIODS

Rows = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]

COLOURS = ("#332288", "#cc6677", "#117733", "#88ccee", "#882255", "#ddcc77", "#44aa99", "#aa4499", "#999933")
"""For categories: "muted" of P. Tol, "Colour Schemes" (SRON/EPS/TN/09-002), told apart by the colour-blind too."""
ACCENT, INK, MUTED = "#cc6677", "#222222", "#767676"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
PNG_SCALE = 1.5

_WIDTH, _STEP = 430, 22
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_PERCENT = ".1%"


def palette(categories: Sequence[str]) -> dict[str, str]:
    """Each category's colour, the same wherever it is drawn; more than there are colours all have one."""
    names = sorted(set(categories))
    return dict(zip(names, COLOURS, strict=False)) if len(names) <= len(COLOURS) else dict.fromkeys(names, COLOURS[0])


def rates(rows: Rows, colours: Mapping[str, str]) -> Spec:
    """Click-through rates with their intervals, in the order of the rows.

    Args:
        rows: label, category, ctr, low, high, clicks, views, people, campaign_id, establishment.
        colours: Of the categories.
    """
    y = _labels("label", rows)
    tooltip = [
        alt.Tooltip("campaign_id:N", title="campaign"),
        alt.Tooltip("establishment:N"),
        alt.Tooltip("category:N"),
        alt.Tooltip("ctr:Q", format=".2%", title="click-through rate"),
        alt.Tooltip("low:Q", format=".2%", title="interval from"),
        alt.Tooltip("high:Q", format=".2%", title="interval to"),
        *(alt.Tooltip(f"{name}:Q", format=",") for name in ("clicks", "views", "people")),
    ]
    base = named("rows").encode(y=y, color=_category(rows, colours), tooltip=tooltip)
    title = "clicks per view, with Wilson's 95 % interval"
    x = alt.X("low:Q", title=title, axis=alt.Axis(format=".0%", tickCount=6), scale=alt.Scale(zero=True))
    intervals = base.mark_rule(strokeWidth=3, opacity=0.55).encode(x=x, x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x="ctr:Q")
    ends = named("rows").encode(y=y, x="high:Q", text=alt.Text("ctr:Q", format=_PERCENT))
    return finished(intervals + points + ends.mark_text(align="left", dx=6, color=INK), {"rows": rows}, sized=True)


def bars(rows: Rows, colours: Mapping[str, str], figure: str, title: str) -> Spec:
    """Bars of one figure, in the order of the rows.

    Args:
        rows: label, category, establishment_id, visits, stays, people.
        colours: Of the categories.
        figure: The column of the bars' lengths.
        title: Of the axis, with the unit.
    """
    tooltip = [
        alt.Tooltip("label:N", title="establishment"),
        alt.Tooltip("category:N"),
        *(alt.Tooltip(f"{name}:Q", format=",") for name in ("visits", "stays", "people")),
    ]
    y = _labels("label", rows)
    x = alt.X(f"{figure}:Q", title=title, axis=alt.Axis(format=",d", tickCount=6, tickMinStep=1))
    base = named("rows").encode(y=y, x=x, tooltip=tooltip)
    drawn = base.mark_bar(cornerRadiusEnd=2).encode(color=_category(rows, colours))
    texts = base.mark_text(align="left", dx=4, color=INK).encode(text=alt.Text(f"{figure}:Q", format=","))
    return finished(drawn + texts, {"rows": rows}, sized=True)


def shares(rows: Rows) -> Spec:
    """Attributed shares of visits, click-through and view-through one after the other, in the order of the rows.

    Args:
        rows: label, category, visits, people, click_through, view_through, attributed, share.
    """
    kinds = {"click_through": "after a click", "view_through": "after a view"}
    parts = [
        {**row, "through": said, "part": row[kind] / row["visits"], "number": row[kind], "order": number}
        for row in rows
        for number, (kind, said) in enumerate(kinds.items())
    ]
    tooltip = [
        alt.Tooltip("label:N", title="establishment"),
        alt.Tooltip("category:N"),
        alt.Tooltip("through:N", title="attributed"),
        alt.Tooltip("part:Q", format=_PERCENT, title="share of the visits"),
        alt.Tooltip("number:Q", format=",", title="visits"),
        alt.Tooltip("visits:Q", format=",", title="of all"),
        alt.Tooltip("people:Q", format=","),
    ]
    y = _labels("label", rows)
    colour = alt.Color("through:N", title=None, legend=_legend()).scale(
        domain=list(kinds.values()), range=[COLOURS[0], COLOURS[3]]
    )
    x = alt.X("part:Q", title="share of all visits", axis=alt.Axis(format=".0%"), stack="zero")
    drawn = named("parts").mark_bar(cornerRadiusEnd=2).encode(y=y, x=x, color=colour, order="order:Q", tooltip=tooltip)
    texts = named("rows").mark_text(align="left", dx=4, color=INK)
    texts = texts.encode(y=y, x="share:Q", text=alt.Text("share:Q", format=_PERCENT))
    return finished(drawn + texts, {"rows": rows, "parts": parts}, sized=True)


def lifts(rows: Rows, colours: Mapping[str, str]) -> Spec:
    """Differences of visit rates with their intervals, in the order of the rows.

    Args:
        rows: label, category, lift, low, high, exposed, exposed_rate, unexposed_rate.
        colours: Of the categories.
    """
    tooltip = [
        alt.Tooltip("label:N", title="establishment"),
        alt.Tooltip("category:N"),
        alt.Tooltip("points:Q", format="+.2f", title="lift in percentage points"),
        alt.Tooltip("from:Q", format="+.2f", title="interval from"),
        alt.Tooltip("to:Q", format="+.2f", title="interval to"),
        alt.Tooltip("exposed_rate:Q", format=".2%", title="days with the ad"),
        alt.Tooltip("unexposed_rate:Q", format=".2%", title="days without"),
        alt.Tooltip("exposed:Q", format=",", title="days of people with the ad"),
    ]
    scaled = [{**row, "points": 100 * row["lift"], "from": 100 * row["low"], "to": 100 * row["high"]} for row in rows]
    y = _labels("label", rows)
    base = named("rows").encode(y=y, color=_category(rows, colours), tooltip=tooltip)
    x = alt.X("from:Q", title="percentage points, with Newcombe's 95 % interval", axis=alt.Axis(format="+.0f"))
    intervals = base.mark_rule(strokeWidth=3, opacity=0.55).encode(x=x, x2="to:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x="points:Q")
    zero = named("zero").mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=alt.XDatum(0))
    return finished(zero + intervals + points, {"rows": scaled, "zero": [{}]}, sized=True)


def hours(rows: Rows) -> Spec:
    """Interactions by hour of the day, a panel a category, each with a scale of its own; the peak stands out.

    Args:
        rows: category, hour, interactions (null where suppressed), views, clicks, people, peak, suppressed.
    """
    tooltip = [
        alt.Tooltip("category:N"),
        alt.Tooltip("hour:Q"),
        *(alt.Tooltip(f"{name}:Q", format=",") for name in ("interactions", "views", "clicks", "people")),
    ]
    x = alt.X("hour:Q", title=None, scale=alt.Scale(domain=[-0.7, 23.7], nice=False))
    x = x.axis(values=[0, 6, 12, 18, 23], format="d", grid=False)
    y = alt.Y("interactions:Q", title=None, axis=alt.Axis(tickCount=3, tickMinStep=1, format=",d"))
    colour = alt.when("datum.peak").then(alt.value(ACCENT)).otherwise(alt.value(COLOURS[0]))
    drawn = alt.Chart().mark_bar(size=6).encode(x=x, y=y, color=colour, tooltip=tooltip)
    hidden = alt.Chart().mark_text(text="×", color=MUTED, baseline="bottom", fontSize=11)
    hidden = hidden.encode(x=x, y=alt.YDatum(0), tooltip=[*tooltip[:2], alt.Tooltip("said:N", title="figures")])
    panels = alt.layer(
        drawn.transform_filter("isValid(datum.interactions)"), hidden.transform_filter("datum.suppressed")
    ).properties(width=205, height=95)
    faceted = panels.facet(
        facet=alt.Facet("category:N", title=None, header=alt.Header(labelFontSize=13, labelFontWeight=600)),
        columns=4,
        data=alt.NamedData("rows"),
        spacing={"row": 18, "column": 18},
    )
    return finished(faceted.resolve_scale(y="independent"), {"rows": rows})


def profile(looks: Rows, goes: Rows) -> Spec:
    """What a person looks at by period of the day, and where the person goes by weekday.

    Args:
        looks: period, category, interactions, share, preferred.
        goes: weekday (1 is Monday), category, visits, share, preferred.
    """
    categories = sorted({row["category"] for row in (*looks, *goes)})
    days = [{**row, "weekday": WEEKDAYS[row["weekday"] - 1]} for row in goes]
    left = _cells("looks", "period", PERIODS, "interactions", "Ads by period of the day", categories)
    right = _cells("goes", "weekday", WEEKDAYS, "visits", "Stays by weekday", categories, labels=False)
    return finished(alt.hconcat(left, right, spacing=24), {"looks": looks, "goes": days})


def _cells(
    data: str,
    column: str,
    order: Sequence[str],
    figure: str,
    title: str,
    categories: Sequence[str],
    *,
    labels: bool = True,
) -> alt.LayerChart:
    tooltip = [
        alt.Tooltip(f"{column}:N"),
        alt.Tooltip("category:N"),
        alt.Tooltip("share:Q", format=_PERCENT),
        alt.Tooltip(f"{figure}:Q", format=","),
        alt.Tooltip("preferred:N"),
    ]
    x = alt.X(f"{column}:N", title=None, scale=alt.Scale(domain=list(order)), axis=alt.Axis(labelAngle=0))
    axis = alt.Axis(ticks=False, domain=False, labelPadding=6) if labels else None
    y = alt.Y("category:N", title=None, scale=alt.Scale(domain=list(categories)), axis=axis)
    base = named(data).encode(x=x, y=y, tooltip=tooltip)
    scale = alt.Scale(scheme="purpleblue", domain=[0, 1])
    legend = alt.Legend(title="share", format=".0%", gradientLength=110)
    cells = base.mark_rect(cornerRadius=2).encode(color=alt.Color("share:Q", scale=scale, legend=legend))
    dark = alt.when("datum.share > 0.55").then(alt.value("white")).otherwise(alt.value(INK))
    texts = base.mark_text().encode(text=alt.Text("share:Q", format=".0%"), color=dark)
    ring = base.mark_rect(filled=False, stroke=ACCENT, strokeWidth=2.5, cornerRadius=2)
    chart = cells + ring.transform_filter("datum.preferred") + texts
    head = alt.TitleParams(title, fontSize=12, fontWeight=600, anchor="start")
    return chart.properties(width=(58 if labels else 42) * len(order), height=26 * max(len(categories), 1), title=head)


def png(spec: Spec, title: str, notes: str) -> bytes:
    """A chart as a picture that stands by itself.

    Args:
        spec: What a function here gave.
        title: Above it.
        notes: Below the title, smaller.
    """
    titles = alt.TitleParams(
        _wrapped(title, 92), subtitle=_wrapped(notes, 125), anchor="start", frame="bounds", offset=14
    ).to_dict()
    return vl_convert.vegalite_to_png({**spec, "title": titles}, vl_version=vl_version(), scale=PNG_SCALE)


@cache
def vl_version() -> str:
    """The version of Vega-Lite that specifications are of, as vl-convert has it."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def named(data: str) -> alt.Chart:
    """A chart of data that `finished` brings: Altair copies and checks all that is inside a chart, again and again."""
    return alt.Chart(alt.NamedData(data))


def _labels(name: str, rows: Rows) -> alt.Y:
    order = list(dict.fromkeys(row[name] for row in rows))
    return alt.Y(f"{name}:N", sort=order, title=None, axis=alt.Axis(labelLimit=230, ticks=False, domain=False))


def _category(rows: Rows, colours: Mapping[str, str]) -> alt.Color:
    names = sorted({row["category"] for row in rows})
    scale = alt.Scale(domain=names, range=[colours[name] for name in names])
    return alt.Color("category:N", title=None, scale=scale, legend=_legend())


def _legend() -> alt.Legend:
    return alt.Legend(orient="bottom", direction="horizontal", columns=4, symbolType="circle", symbolOpacity=1)


def finished(chart: Any, data: Mapping[str, Rows], *, sized: bool = False) -> Spec:
    """The specification of a chart in the report's style, with its data inside.

    Args:
        chart: Of Altair, of `named` data.
        data: Names and rows.
        sized: Whether the chart is as high as its `rows` are many; else it has a size.
    """
    if sized:
        chart = chart.properties(width=_WIDTH, height=_STEP * len(data["rows"]))
    chart = (
        chart.configure(font=_FONT, background="white", padding=12)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=MUTED, titleFontWeight="normal", gridColor="#ececec", labelFontSize=11
        )
        .configure_legend(labelColor=INK, labelFontSize=11)
        .configure_title(fontSize=16, subtitleFontSize=11, subtitleColor=MUTED, color=INK, subtitlePadding=6)
    )
    return {**chart.to_dict(), "datasets": {name: [dict(row) for row in rows] for name, rows in data.items()}}
