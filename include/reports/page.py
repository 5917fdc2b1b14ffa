"""A page of findings: one file of HTML with its data and libraries inside, which asks nobody for anything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from include.reports import basemap as land
from include.reports.charts import INK, MUTED, vl_version
from include.reports.findings import Finding, said
from include.reports.maps import BORDER, LAND, OFFER, SEA

_SOURCES = files("include.reports")  # A zip, on Glue.
_COLOURS = {"offer": OFFER, "ink": INK, "muted": MUTED, "land": LAND, "sea": SEA, "border": BORDER}


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        key: Of its findings, and the page's anchor.
        title: Of it.
        empty: What stands there if it has no finding.
    """

    key: str
    title: str
    empty: str


@dataclass(frozen=True)
class Page:
    """What a page says beside its findings.

    Attributes:
        title: Of it.
        lead: Below that.
        facts: Names and values: of which run and data it is.
        sections: In their order.
        months: As in the tables, in the selector's order; at least one.
        definitions: What holds for all figures.
        links: Files and what they are.
        warning: Who may see it.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    months: Sequence[str]
    definitions: str
    links: Sequence[tuple[str, str]] = ()
    warning: str = ""


def render(page: Page, findings: Sequence[Finding], base: Mapping[str, Any]) -> str:
    """The page, equal for equal arguments.

    Args:
        page: What it says.
        findings: Of all sections and months.
        base: The basemap.
    """
    data = {
        "charts": {one.name: one.chart for one in findings if one.chart},
        "maps": {one.name: one.map for one in findings if one.map},
        "basemap": base,
        "names": land.labels(dict(base)),
        "colours": _COLOURS,
    }
    sections = [
        {
            "key": part.key,
            "title": part.title,
            "empty": part.empty,
            "findings": [f for f in findings if f.section == part.key],
        }
        for part in page.sections
    ]
    shown = {
        **vars(page),
        "sections": sections,
        "months": [(month, said(month).capitalize()) for month in page.months],
        "basemap": base["name"],
        "data": embedded(data),
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_text("page.html")).render(page=shown, code=_code())


def embedded(value: Any) -> Markup:
    """JSON that can stand in a script element: whatever a name contains, it does not end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 - escaped


@cache
def _code() -> dict[str, Any]:
    """The libraries, none of which contains the end of a script element."""
    return {
        "vega": Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version())),  # noqa: S704 - a library
        "vega_lite": vl_version(),
        "maplibre": _text("maplibre/VERSION.txt").split(",")[0].rpartition(" ")[2],
        **{
            name: Markup(_text(file))  # noqa: S704 - our own files
            for name, file in {
                "maplibre_js": "maplibre/maplibre-gl.js",
                "maplibre_css": "maplibre/maplibre-gl.css",
                "css": "page.css",
                "js": "page.js",
            }.items()
        },
    }


def _text(name: str) -> str:
    return _SOURCES.joinpath(name).read_text(encoding="utf-8")
