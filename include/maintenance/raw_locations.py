"""Lets go of where people were once it is old: location records, the files that they came in, and what was rejected.

With them goes whatever else was delivered and may tell of people by their own ids: interactions, and files whose names
tell nothing. Interactions stay in bronze, by pseudonym.

Made of location records are visits and active days, without coordinates and by pseudonym; those stay. A month whose
records have gone can't be made again, so it is noted in the catalog (`months_gone`). No run may build, empty or drop
what it has of it, nor load what was delivered in it of people.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any

from include.geo import landing
from include.geo.tables import REFERENCE
from include.maintenance import retention
from include.tables import catalog, contract, versions
from include.tables.versions import File

TABLE, REJECTS = "location_records", "geo_rejects"
GONE = "months_gone"
"""Parameter of the table of location records in the catalog: the months, separated by commas."""

_MONTHS = {
    f"bronze/{TABLE}/": re.compile(r"/month=(\d{4}-\d{2})/"),
    f"quarantine/{REJECTS}/table_name={TABLE}/": re.compile(r"/load_date=(\d{4}-\d{2})-\d{2}/"),
}
"""Prefix of the lake → what tells the month of a file's key."""
_DAY = re.compile(rf"{landing.PREFIX}(\d{{4}}-\d{{2}}-\d{{2}})/")
_WRITTEN = ("quarantine/streams/live_offers/", "reports/geo_advertising/")
"""Prefixes whose files tell no month: rejected positions, and reports, which show the ways of some people."""


def months_gone(glue: Any) -> set[str]:
    """The months of which location records have been deleted.

    Args:
        glue: a boto3 Glue client.

    Returns:
        Local months, as 2026-07.
    """
    place = catalog.place(glue, contract.load(TABLE))
    return set(filter(None, place.parameters.get(GONE, "").split(","))) if place else set()


def last_day(month: str) -> date:
    """The last day of a month like 2026-07.

    Raises:
        ValueError: there is no such month.
    """
    year, number = map(int, month.split("-"))
    return date(year, number, monthrange(year, number)[1])


def sweep(s3: Any, glue: Any, bucket: str, today: date, days: int, *, dry_run: bool) -> dict[str, Any]:
    """Deletes what is too old, or tells what that is.

    A month is too old when its last day is. Delivered files and rejected rows are of the month of their delivery;
    delivered files in no folder of a day, or of one after they were written, rejected positions of the live offers, and
    reports are as old as the file. Of what was delivered, only establishments and campaigns stay.

    Months are noted before their partitions leave the catalog, and these leave it before files are deleted, so it may
    stop anywhere and be done again. Files go whether or not the catalog has them: a version that was replaced has
    coordinates, too.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        bucket: the lake.
        today: the run's own day.
        days: what is older by more than so many days goes.
        dry_run: whether only to tell.

    Returns:
        `before`, the first day that stays; the `months` that go; how many `partitions`, `files` and `bytes`; and the
        `keys` of the first files.

    Raises:
        RetentionError: S3 refused to delete a file.
        CatalogError: the catalog refused to drop a partition.
    """
    before = today - timedelta(days=days)
    records, rejects = contract.load(TABLE), contract.load(REJECTS)
    old = _partitions(glue, records, lambda values: _over(values["month"], before))
    rejected = _partitions(
        glue, rejects, lambda values: values["table_name"] == TABLE and _over(values["load_date"][:7], before)
    )
    files = {
        file.key: file for place in (*old.values(), *rejected.values()) for file in versions.files(s3, place.location)
    }
    months = {_named(records, values)["month"] for values in old}
    for month, file in _files(s3, bucket, before):
        files[file.key] = file
        if month:
            months.add(month)
    keys = sorted(files)
    if not dry_run:
        if months - months_gone(glue):
            _note(glue, records, months)
        catalog.drop_partitions(glue, records, old)
        catalog.drop_partitions(glue, rejects, rejected)
        retention.delete(s3, bucket, keys)
    return {
        "before": before.isoformat(),
        "months": sorted(months),
        "partitions": len(old) + len(rejected),
        "files": len(keys),
        "bytes": sum(file.size for file in files.values()),
        "keys": keys[: retention.SHOWN],
    }


def _named(table: contract.Table, values: Iterable[str]) -> dict[str, str]:
    return dict(zip((key.name for key in table.partition_keys), values, strict=True))


def _partitions(
    glue: Any, table: contract.Table, goes: Callable[[dict[str, str]], bool]
) -> dict[tuple[str, ...], catalog.Place]:
    return {values: place for values, place in catalog.partitions(glue, table).items() if goes(_named(table, values))}


def _files(s3: Any, bucket: str, before: date) -> Iterator[tuple[str | None, File]]:
    """The files that are too old, each with its month, where it tells one."""
    for prefix, pattern in _MONTHS.items():
        for file in versions.files(s3, f"s3://{bucket}/{prefix}"):
            if (match := pattern.search(file.key)) and _over(match[1], before):
                yield match[1], file
    yield from _delivered(s3, bucket, before)
    for prefix in _WRITTEN:
        for file in versions.files(s3, f"s3://{bucket}/{prefix}"):
            if file.written.date() < before:
                yield None, file


def _delivered(s3: Any, bucket: str, before: date) -> Iterator[tuple[str | None, File]]:
    """Of what landed, the files that are too old, but for those that tell of no people."""
    there = versions.files(s3, f"s3://{bucket}/{landing.PREFIX}")
    deliveries = landing.listing(s3, bucket, date.max)
    stay = {file.key for delivery, files in deliveries.items() if delivery.table in REFERENCE for file in files}
    for file in there:
        if file.key in stay:
            continue
        written = file.written.date()
        day = _day(file.key)
        if day is not None and day <= written:
            if _over(f"{day:%Y-%m}", before):
                yield f"{day:%Y-%m}", file
        elif written < before:
            yield None, file


def _day(key: str) -> date | None:
    """The day of the folder that a delivered file is in."""
    match = _DAY.match(key)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def _over(month: str, before: date) -> bool:
    try:
        return last_day(month) < before
    except ValueError:  # A folder that is named like a month, and is none.
        return False


def _note(glue: Any, table: contract.Table, months: set[str]) -> None:
    place = catalog.place(glue, table)
    if place:
        noted = ",".join(sorted(months | months_gone(glue)))
        catalog.switch_table(glue, table, place.location, {**place.parameters, GONE: noted})
