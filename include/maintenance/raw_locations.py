"""Lets go of where people were once it is old: location records, the files that they came in, and what was rejected.

Made of them are visits and active days, without coordinates and by pseudonym; those stay. A month whose records have
gone cannot be made again, so it is noted in the catalog (`months_gone`), and no run may build or empty what came of it.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any

from include.maintenance import retention
from include.tables import catalog, contract, versions
from include.tables.versions import File

TABLE, REJECTS = "location_records", "geo_rejects"
GONE = "months_gone"
"""Parameter of the table of location records in the catalog: the months, separated by commas."""

_MONTH = re.compile(r"/month=(\d{4}-\d{2})/")
_DAY = re.compile(r"/load_date=(\d{4}-\d{2}-\d{2})/")
_LANDED = re.compile(r"landing/geo/(\d{4}-\d{2}-\d{2})/locations")


def months_gone(glue: Any) -> set[str]:
    """The months of which location records have been deleted: what was made of them stays as it is.

    Args:
        glue: a boto3 Glue client.

    Returns:
        Local months, as 2026-07.
    """
    place = catalog.place(glue, contract.load(TABLE))
    return set(filter(None, place.parameters.get(GONE, "").split(","))) if place else set()


def last_day(month: str) -> date:
    """The last day of a month like 2026-07."""
    year, number = map(int, month.split("-"))
    return date(year, number, monthrange(year, number)[1])


def sweep(s3: Any, glue: Any, bucket: str, today: date, days: int, *, dry_run: bool) -> dict[str, Any]:
    """Deletes what is too old, or tells what that is.

    A month is too old when its last day is. A delivered file or a rejected row is as old as its delivery, and a
    rejected position of the live offers as its file. Months are noted before their partitions leave the catalog, and
    these leave it before files are deleted, so it may stop anywhere and be done again. Files go whether or not the
    catalog has them: a version that was replaced has coordinates, too.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        bucket: the lake.
        today: the run's own day.
        days: what is older by more than so many days goes.
        dry_run: whether only to tell.

    Returns:
        `before`, the first day that stays; `months` whose partitions go; how many `partitions`, `files` and `bytes`;
        and the `keys` of the first files.

    Raises:
        RetentionError: S3 refused to delete a file.
        CatalogError: the catalog refused to drop a partition.
    """
    before = today - timedelta(days=days)
    records, rejects = contract.load(TABLE), contract.load(REJECTS)
    old = _partitions(glue, records, lambda values: last_day(values["month"]) < before)
    rejected = _partitions(
        glue, rejects, lambda values: values["table_name"] == TABLE and values["load_date"] < before.isoformat()
    )
    months = {dict(zip(_names(records), values, strict=True))["month"] for values in old}
    going = sorted({file.key: file for file in _files(s3, bucket, before, [*old.values(), *rejected.values()])}.items())
    if not dry_run:
        if months - months_gone(glue):
            _note(glue, records, months)
        catalog.drop_partitions(glue, records, old)
        catalog.drop_partitions(glue, rejects, rejected)
        retention.delete(s3, bucket, [key for key, _ in going])
    return {
        "before": before.isoformat(),
        "months": sorted(months),
        "partitions": len(old) + len(rejected),
        "files": len(going),
        "bytes": sum(file.size for _, file in going),
        "keys": [key for key, _ in going[: retention.SHOWN]],
    }


def _names(table: contract.Table) -> list[str]:
    return [key.name for key in table.partition_keys]


def _partitions(
    glue: Any, table: contract.Table, goes: Callable[[dict[str, str]], bool]
) -> dict[tuple[str, ...], catalog.Place]:
    found = catalog.partitions(glue, table)
    return {values: place for values, place in found.items() if goes(dict(zip(_names(table), values, strict=True)))}


def _files(s3: Any, bucket: str, before: date, places: Iterable[catalog.Place]) -> Iterator[File]:
    """The files to delete; those of a place more than once."""
    lake = f"s3://{bucket}/"
    for place in places:
        yield from versions.files(s3, place.location)
    for prefix, found in (
        (f"bronze/{TABLE}/", lambda file: _of(_MONTH, file, last_day)),
        (f"quarantine/{REJECTS}/table_name={TABLE}/", lambda file: _of(_DAY, file, date.fromisoformat)),
        ("landing/geo/", lambda file: _of(_LANDED, file, date.fromisoformat)),
        ("quarantine/streams/live_offers/", lambda file: file.written.date()),
    ):
        for file in versions.files(s3, f"{lake}{prefix}"):
            day = found(file)
            if day is not None and day < before:
                yield file


def _of(pattern: re.Pattern[str], file: File, day: Callable[[str], date]) -> date | None:
    """The day that a file's key tells, if any; 31 February is none."""
    match = pattern.search(file.key)
    try:
        return day(match[1]) if match else None
    except ValueError:
        return None


def _note(glue: Any, table: contract.Table, months: set[str]) -> None:
    place = catalog.place(glue, table)
    if place:
        noted = ",".join(sorted(months | months_gone(glue)))
        catalog.switch_table(glue, table, place.location, {**place.parameters, GONE: noted})
