"""Publishes what passed its checks: bronze by delivery and month, visits and analyses by month.

Two runs may do this at once. Every run reads bronze after it has published its own, and the visits after it has
published its own; what has changed since a run read it is left to the run that changed it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from include.geo import landing, state
from include.geo.landing import Delivery, Landed, Loaded
from include.geo.tables import ANALYSES, ANCHOR, RECORDS, REFERRING, VISITS
from include.lakehouse.publish import PublishError, SupersededError
from include.tables import catalog, contract, parts
from include.tables.catalog import Place
from include.tables.contract import Table

log = logging.getLogger(__name__)

REJECTS = "geo_rejects"
FOLDER = "month="
NO_VISITS = {"tables": {name: {"location": None, "rows_out": 0} for name in VISITS}}
"""What the job would report of no months."""


def root(lake: str, table: Table) -> str:
    """The s3:// prefix of the versions of a table."""
    layers = {"vitrine_bronze": "bronze", "vitrine_silver": "silver", "vitrine_quarantine": "quarantine"}
    return f"s3://{lake}/{layers.get(table.database, 'gold')}/{table.name}/"


def publish_bronze(s3: Any, glue: Any, lake: str, planned: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Publishes the deliveries that the job loaded, unless a run that saw more or newer files has been faster.

    A delivery is left alone where a file of it has been replaced since the run was planned, and where what is published
    was made with more establishments: this run may be late, tried again, or cleared.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        planned: what the job was given, and `known`.
        report: what it says of itself; see `include.jobs.geo_bronze`.

    Returns:
        The published deliveries, `<load date> <table>`.

    Raises:
        PublishError: a file that a delivery was built from is gone from the landing zone.
    """
    there = state.bronze(glue).loaded
    given = {
        Delivery(one["load_date"], one["table"]): {file["key"]: file["etag"] for file in one["files"]}
        for one in planned["deliveries"]
    }
    landed = landing.listing(s3, lake, date.max)
    switched: dict[str, dict[tuple[str, ...], Place]] = defaultdict(dict)
    dropped: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    noted: dict[tuple[str, ...], Place] = {}
    for built in report["deliveries"]:
        delivery = Delivery(built["load_date"], built["table"])
        before = there.get(delivery)
        if before and (missing := before.files.keys() - given[delivery].keys()):
            _require_landed(landed, delivery, missing)
            continue
        if overtaken := _overtaken(landed, delivery, given[delivery], planned["known"], before):
            log.warning("%s of %s is left to another run: %s", delivery.table, delivery.load_date, overtaken)
            continue
        load_date, table = delivery
        months = {month: (of["location"], of["rows"]) for month, of in built["months"].items()}
        if table in RECORDS:
            switched[table] |= {(month, load_date): Place(location, {}) for month, (location, _) in months.items()}
            gone = before.months.keys() - months.keys() if before else ()
            dropped[table] += [(month, load_date) for month in gone]
        elif built["location"]:
            switched[table][(load_date,)] = Place(built["location"], {})
        elif before and before.location:
            dropped[table].append((load_date,))
        if built["quarantine"]:
            switched[REJECTS][table, load_date] = Place(built["quarantine"], {})
        elif before:
            dropped[REJECTS].append((table, load_date))
        made_of = Loaded(
            given[delivery], planned["zone"], planned["known"], built["unknown"], months, built["location"]
        )
        noted[load_date, table] = Place(built["deliveries"], made_of.noted())
    for table, places in switched.items():
        catalog.ensure_table(glue, contract.load(table), root(lake, contract.load(table)))
        catalog.switch_partitions(glue, contract.load(table), places)
    for table, values in dropped.items():
        if values and catalog.place(glue, contract.load(table)):
            catalog.drop_partitions(glue, contract.load(table), values)
    # Last, for they are what makes the rest count.
    deliveries = contract.load("geo_deliveries")
    catalog.ensure_table(glue, deliveries, f"s3://{lake}/deliveries/geo/")
    catalog.switch_partitions(glue, deliveries, noted)
    return [" ".join(values) for values in noted]


def _overtaken(
    landed: Landed, delivery: Delivery, given: Mapping[str, str], known: str, before: Loaded | None
) -> str | None:
    """Why what was made of these files and establishments is older than what has landed, or was published; or None."""
    now = {file.key: file.etag for file in landed.get(delivery, ())}
    if replaced := sorted(key for key, etag in given.items() if now.get(key, etag) != etag):
        return f"{', '.join(replaced)} has been replaced since the run was planned"
    if before and delivery.table in REFERRING:
        order = {those: number for number, those in enumerate(landing.known_by_day(landed))}
        if order.get(before.known, -1) > order.get(known, -1):
            return "what is published was made with more establishments"
    return None


def _require_landed(landed: Landed, delivery: Delivery, keys: Iterable[str]) -> None:
    there = {file.key for file in landed.get(delivery, ())}
    if gone := sorted(set(keys) - there):
        raise PublishError(
            f"{delivery.table} of {delivery.load_date} was built from {', '.join(gone)}, which landed once and is "
            "gone: put it back, or its rows would be lost"
        )


def publish_visits(
    s3: Any, glue: Any, lake: str, zone: str, report: Mapping[str, Any], digests: Mapping[str, str]
) -> dict[str, list[str]]:
    """Publishes the months that the job built, but those whose bronze has changed meanwhile.

    Months that bronze has nothing of any more are dropped, but for those whose records were deleted for their age.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        zone: time zone of the months.
        report: what the job says of itself.
        digests: of the bronze that it was given, by month.

    Returns:
        Table → the months that were switched or dropped.
    """
    bronze = state.bronze(glue)
    now = bronze.digests(zone)
    current = {month: digest for month, digest in digests.items() if now.get(month) == digest}
    changed = {}
    for name in (*(name for name in VISITS if name != ANCHOR), ANCHOR):
        table, made = contract.load(name), report["tables"][name]
        catalog.ensure_table(glue, table, root(lake, table))
        gone = dict.fromkeys(state.left_over(glue, bronze, name), "")
        location = made["location"] if made["rows_out"] else None
        switched = parts.switch(s3, glue, table, location, current, FOLDER, _values)
        # Not of this version, which may have them still.
        dropped = parts.switch(s3, glue, table, None, gone, FOLDER, _values)
        changed[name] = sorted([*switched, *dropped])
    return changed


def publish_analyses(
    s3: Any, glue: Any, lake: str, zone: str, reports: Iterable[Mapping[str, Any]], digest: str
) -> dict[str, list[str]]:
    """Publishes the tables of the analyses, month by month where bytes have changed.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        zone: time zone of the analyses.
        reports: what the job says of itself, of each analysis.
        digest: of what it was given.

    Returns:
        Table → the months that were switched or dropped.

    Raises:
        SupersededError: visits or interactions have changed meanwhile.
    """
    if state.analysed(glue, state.bronze(glue), zone).digest != digest:
        raise SupersededError(
            "visits or interactions have changed since this run read them; the run that did publishes"
        )
    changed = {}
    for report in reports:
        for name in ANALYSES[report["analysis"]]:
            table, made = contract.load(name), report["tables"][name]
            catalog.ensure_table(glue, table, root(lake, table))
            months = made["months"].keys() | state.published(glue, name).keys()
            location = made["location"] if made["rows_out"] else None
            noted = dict.fromkeys(sorted(months), digest)
            changed[name] = parts.switch(s3, glue, table, location, noted, FOLDER, _values)
            # Noted last, and of the table: one without rows has no months to note it with.
            catalog.switch_table(glue, table, root(lake, table), {"snapshot": digest})
    return changed


def _values(month: str) -> tuple[str]:
    return (month,)
