"""The geo analyses as pages and pictures: what is published, and, apart from it, some people's days and likings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals as nw
import pyarrow as pa
from botocore.exceptions import ClientError

from include.jobs import arguments, engine, geo_tables, lake
from include.jobs.engine import Engine
from include.jobs.offer_reference import reference
from include.reports import basemap, charts, findings, page, tracks
from include.reports.findings import Finding, Tables
from include.reports.page import Page, Section
from include.streams import establishments
from include.streams.establishments import Establishment
from include.transforms.grouping import counted, summed
from include.transforms.months import WHOLE

PEOPLE = 6
"""People who are shown."""
CANDIDATES = 24
"""People with most location records, among whom those with most offers are shown."""
BASEMAP = "reference/basemap.geojson"
"""Key in the lake; maps have no land without it."""

_PROFILE = [("user_id", pa.string()), ("month", pa.string()), ("category", pa.string())]
_LIKING = [("share", pa.float64()), ("preferred", pa.bool_())]
SCHEMAS = {
    **{name: table.schema for name, table in geo_tables.PUBLISHED.items()},
    "interaction_profile": pa.schema([*_PROFILE, ("period", pa.string()), ("interactions", pa.int64()), *_LIKING]),
    "visit_profile": pa.schema([*_PROFILE, ("weekday", pa.int64()), ("visits", pa.int64()), *_LIKING]),
    "establishments": geo_tables.ESTABLISHMENTS,
    "campaigns": geo_tables.CAMPAIGNS,
    "location_records": geo_tables.LOCATIONS,
}
"""Columns of the tables that the report shows."""

SECTIONS = (
    Section("ctr", "Click-through rates", "There are no interactions."),
    Section("visits", "Most-visited establishments", "There are no visits."),
    Section("attribution", "Attributed visits", "There are no visits."),
    Section("lift", "Lift", "There is nothing to compare."),
    Section("hours", "Hours of the day", "There are no interactions."),
)
ABOUT_PEOPLE = (
    Section("tracks", "A day's way, and its offers", "There are no location records."),
    Section("profiles", "Preferred categories", "There are no interactions and no visits."),
)
_DEFINITIONS = (
    "Months, hours and weekdays are of the local clock. Figures of the whole period are counted from the records, not "
    "added up from months. Figures of fewer than five people are not published. Who has not consented is in none."
)


class InputsError(ValueError):
    """The job's inputs lack something; the message names it."""


@dataclass(frozen=True)
class Report:
    """What is to be written: names of files, and their bytes; and rows that it is made of."""

    files: dict[str, bytes]
    rows: dict[str, int]
    months: list[str]


def build(on: Engine, inputs: Mapping[str, Any], base: Mapping[str, Any], version: str) -> Report:
    """Makes pages and pictures.

    Args:
        on: The engine.
        inputs: `tables`: names, of `SCHEMAS`, to locations, perhaps none; `zone`: IANA name.
        base: The basemap, of `basemap.parse`.
        version: Of the report, which the pages name.

    Raises:
        InputsError: a table or the zone is missing.
    """
    missing = [name for name in SCHEMAS if name not in inputs.get("tables", {})]
    if missing or not inputs.get("zone"):
        raise InputsError(f"--inputs lacks {', '.join(missing or ['zone'])}: give `tables` and `zone`")
    frames = {name: on.read(inputs["tables"][name], schema) for name, schema in SCHEMAS.items()}
    rows = {name: _rows(frames[name]) for name in (*geo_tables.PUBLISHED, "establishments")}
    tables = Tables(**rows, basemap=base)
    published = [one for month in tables.months for one in findings.of_month(tables, month)]
    zone = inputs["zone"]
    single = [*_days(frames, rows, zone, base), *_likings(frames)]
    facts = _facts(tables.months, rows, zone, version)
    make = partial(Page, facts=facts, months=tables.months, definitions=_DEFINITIONS)
    index = make(
        title="Geo-advertising",
        lead="Which ads are clicked, which establishments are visited, and which visits follow an ad.",
        sections=SECTIONS,
        links=(("people.html", "Single people"),),
    )
    people = make(
        title="Geo-advertising: single people",
        lead="Those of whom there is most data: a day with the offers made on the way, and preferred categories.",
        sections=ABOUT_PEOPLE,
        links=(("index.html", "Published figures"),),
        warning="This page shows single people by pseudonym. It is for those who may see them; don't pass it on.",
    )
    files = {
        "index.html": page.render(index, published, base).encode(),
        "people.html": page.render(people, single, base).encode(),
    }
    for one in (*published, *single):
        files |= {f"{picture.name}.png": charts.png(picture.spec, one.title, one.notes) for picture in one.pictures}
    return Report(files, {name: len(found) for name, found in rows.items()}, tables.months)


def _facts(months: Sequence[str], rows: Mapping[str, Sequence[Any]], zone: str, version: str) -> list[tuple[str, str]]:
    named = [month for month in months if month != WHOLE]
    period = findings.said(named[0]) if named else "no month"
    if len(named) > 1:
        period += f" to {findings.said(named[-1])}"
    return [
        ("Period", period),
        ("Time zone", zone),
        ("Establishments", f"{len(rows['establishments']):,}"),
        ("Campaigns", f"{len({row['campaign_id'] for row in rows['campaign_ctr']}):,}"),
        ("Run", version),
    ]


def _days(
    frames: Mapping[str, nw.LazyFrame], rows: Mapping[str, Any], zone: str, base: Mapping[str, Any]
) -> list[Finding]:
    records = frames["location_records"]
    users = _most(counted(records, ["user_id"], "records"), "records", CANDIDATES)
    mine = _rows(records.filter(nw.col("user_id").is_in(users))) if users else []
    found = tracks.tracks(mine, _advertisers(rows, _rows(frames["campaigns"])), zone, PEOPLE)
    return [findings.of_track(track, _named(track.user), base) for track in found]


def _advertisers(rows: Mapping[str, Any], ads: Sequence[Mapping[str, Any]]) -> list[Establishment]:
    """What the live offers would read of these tables."""
    if not ads:
        return []
    return establishments.parse(reference(rows["establishments"], ads, rows["campaign_ctr"])[0])


def _likings(frames: Mapping[str, nw.LazyFrame]) -> list[Finding]:
    kinds = {"interaction_profile": "interactions", "visit_profile": "visits"}
    of_whole = [
        frames[name].filter(nw.col("month") == WHOLE).select("user_id", nw.col(figure).alias("figures"))
        for name, figure in kinds.items()
    ]
    users = _most(summed(nw.concat(of_whole), ["user_id"], ["figures"]), "figures", PEOPLE)
    if not users:
        return []
    looks, goes = (_rows(frames[name].filter(nw.col("user_id").is_in(users))) for name in kinds)
    months = sorted({row["month"] for row in (*looks, *goes)})
    return [
        findings.of_person(user, month, _mine(looks, user, month), _mine(goes, user, month), _named(user))
        for user in users
        for month in months
    ]


def _most(counts: nw.LazyFrame, figure: str, count: int) -> list[str]:
    """The people with the greatest figures, of equal ones the first by name."""
    first = counts.sort(figure, "user_id", descending=[True, False]).head(count)
    return [row["user_id"] for row in _rows(first)]


def _mine(rows: Sequence[Mapping[str, Any]], user: str, month: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["user_id"] == user and row["month"] == month]


def _named(user: str) -> str:
    return f"Person {user[:8]}"


def _rows(frame: nw.LazyFrame) -> list[dict[str, Any]]:
    columns = frame.collect_schema().names()  # Dask hands over its index as well.
    return frame.collect("pyarrow").to_native().select(columns).to_pylist()


def main() -> None:
    """Runs the job."""
    given = arguments.read("inputs", "version", "lake", "report", optional=("engine", "dask_scheduler"))
    s3 = lake.client()
    with engine.chosen(given.engine, given.dask_scheduler) as on:
        made = build(on, lake.read_json(s3, given.inputs), _basemap(s3, given.lake), given.version)
    prefix = f"reports/geo_advertising/v={given.version}/"
    kinds = {"html": "text/html; charset=utf-8", "png": "image/png"}
    listed = {}
    for name, content in sorted(made.files.items()):
        kind = kinds[name.rpartition(".")[2]]
        s3.put_object(Bucket=given.lake, Key=prefix + name, Body=content, ContentType=kind)
        listed[prefix + name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    index = f"s3://{given.lake}/{prefix}index.html"
    print(f"{len(listed)} files, see {index}", flush=True)
    report = {"index": index, "files": listed, "months": made.months, "tables": made.rows}
    lake.write_json(s3, given.report, report)


def _basemap(s3: Any, bucket: str) -> dict[str, Any]:
    try:
        data = s3.get_object(Bucket=bucket, Key=BASEMAP)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        print(f"s3://{bucket}/{BASEMAP} is not there: the maps have no land", flush=True)
        return basemap.NONE
    return basemap.parse(data)


if __name__ == "__main__":
    main()
