"""Publishes what passed its checks: bronze by delivery, silver and gold by version.

Two runs may do this at once. Every run reads bronze after it has published its own, so of all runs, the one that
published bronze last has read everything; any other finds, before it publishes, that bronze has changed since it read
it, and leaves the publishing to the later one.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from include.lakehouse import landing
from include.lakehouse.landing import Files, Partition, Snapshot
from include.tables import catalog, contract, parts, versions
from include.tables.catalog import Place
from include.tables.contract import Table

Switches = dict[str, dict[tuple[str, ...], Place]]
"""Table → partition values → where they are from now on."""


class PublishError(RuntimeError):
    """Something stands in the way of publishing; the message says what, and what to do."""


class SupersededError(RuntimeError):
    """Another run has newer inputs and publishes them; nothing is lost by leaving it to that one."""


def bronze_snapshot(glue: Any) -> Snapshot:
    """The published state of bronze.

    Args:
        glue: a boto3 Glue client.
    """
    return landing.snapshot(catalog.partitions(glue, contract.load("deliveries")))


def publish_bronze(
    s3: Any, glue: Any, lake: str, report: Mapping[str, Any], files: Mapping[Partition, Files]
) -> list[str]:
    """Publishes the partitions that the bronze job built, unless a run that saw more files has been faster.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        report: what the job says of itself; see `include.jobs.bronze`.
        files: the files of each partition that the job was given.

    Returns:
        The published partitions, `<load date> <table>`.

    Raises:
        PublishError: a file that a partition was built from is gone from the landing zone.
    """
    published = bronze_snapshot(glue).files
    bronze: Switches = defaultdict(dict)
    quarantine: Switches = defaultdict(dict)
    deliveries: dict[tuple[str, ...], Place] = {}
    for built in report["partitions"]:
        load_date, table = partition = Partition(built["load_date"], built["table"])
        if missing := published.get(partition, {}).keys() - files[partition].keys():
            _require_landed(s3, lake, partition, missing)
            continue
        if built["location"]:
            bronze[table][(load_date,)] = Place(built["location"], {})
        if built["quarantine"]:
            quarantine[table]["bronze", load_date] = Place(built["quarantine"], {})
        noted = {"files": json.dumps(files[partition]), "bronze": built["location"] or "", "rows": str(built["rows"])}
        deliveries[load_date, table] = Place(built["deliveries"], noted)
    for table, places in bronze.items():
        _switch(glue, contract.load(table).bronze(), f"s3://{lake}/bronze/{table}/", places)
    for table, places in quarantine.items():
        _switch(glue, contract.load(table).quarantine(), f"s3://{lake}/quarantine/{table}/", places)
    # Last, for they are what makes the rest count.
    _switch(glue, contract.load("deliveries"), f"s3://{lake}/deliveries/", deliveries)
    return [" ".join(partition) for partition in deliveries]


def _switch(glue: Any, table: Table, root: str, places: Mapping[tuple[str, ...], Place]) -> None:
    catalog.ensure_table(glue, table, root)
    catalog.switch_partitions(glue, table, places)


def _require_landed(s3: Any, lake: str, partition: Partition, keys: set[str]) -> None:
    there = {file.key for file in versions.files(s3, f"s3://{lake}/{landing.PREFIX}{partition.load_date}/")}
    if gone := sorted(keys - there):
        raise PublishError(
            f"{partition.table} of {partition.load_date} was built from {', '.join(gone)}, which landed once and is "
            "gone: put it back, or its rows would be lost"
        )


def require_current(glue: Any, digest: str) -> None:
    """Raises SupersededError when bronze is no longer the snapshot of this digest."""
    if bronze_snapshot(glue).digest != digest:
        raise SupersededError("bronze has changed since this run read it; the run that changed it publishes")


def publish_silver(glue: Any, table: Table, lake: str, version: str, digest: str, rejected: int) -> None:
    """Points a silver table, and the quarantine of the rows it rejected, at a version.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        lake: name of the lake's bucket.
        version: the version.
        digest: of the snapshot of bronze that it was made of.
        rejected: number of rejected rows.
    """
    noted = {"version": version, "snapshot": digest}
    catalog.switch_table(glue, table, versions.location(lake, "silver", table.name, version), noted)
    quarantine = table.quarantine()
    catalog.ensure_table(glue, quarantine, f"s3://{lake}/quarantine/{table.name}/")
    values = ("silver", "all")
    if rejected:
        place = Place(versions.rejected(lake, table.name, version), {})
        catalog.switch_partitions(glue, quarantine, {values: place})
    else:
        catalog.drop_partitions(glue, quarantine, [values])


def publish_gold(s3: Any, glue: Any, table: Table, lake: str, version: str, digest: str) -> list[str]:
    """Points a gold table at a version; of a table with partitions, only those whose files' bytes have changed.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        table: the table's contract; of the partition keys, there may be one, a day.
        lake: name of the lake's bucket.
        version: the version.
        digest: of the snapshot of bronze that it was made of.

    Returns:
        The partitions that were switched or dropped, sorted; [""] for a table without partitions.
    """
    location = versions.location(lake, "gold", table.name, version)
    noted = {"version": location, "snapshot": digest}
    if not table.partition_keys:
        catalog.switch_table(glue, table, location, noted)
        return [""]
    root = f"s3://{lake}/gold/{table.name}/"
    catalog.ensure_table(glue, table, root)
    published = catalog.partitions(glue, table)
    new: dict[tuple[str, ...], Place] = {}
    for day, tags in parts.tags(s3, location, "day=").items():
        new[(day,)] = Place(f"{location}day={day}/", {"files": tags})
    changed = {
        values: place
        for values, place in new.items()
        if values not in published or published[values].parameters.get("files") != place.parameters["files"]
    }
    gone = published.keys() - new.keys()
    catalog.switch_partitions(glue, table, changed)
    catalog.drop_partitions(glue, table, gone)
    catalog.switch_table(glue, table, root, noted)
    return sorted(day for (day,) in changed.keys() | gone)


def published_snapshot(glue: Any) -> str | None:
    """Digest of the snapshot that all gold tables were made of; None where they differ or one is not published."""
    places = [catalog.place(glue, table) for table in contract.of_layer("gold")]
    digests = {place.parameters.get("snapshot") if place else None for place in places}
    return digests.pop() if len(digests) == 1 else None
