"""Publishes hours that passed their checks: bronze by hour of arrival, the refined tables by event hour.

Two runs may do this at once, as of the lakehouse: every run reads bronze after it has published its own; an event hour
whose bronze has changed since a run read it is left to the run that changed it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from include.streams_lake import hours, raw
from include.streams_lake.streams import Stream
from include.tables import catalog, contract, parts, versions
from include.tables.catalog import Place
from include.tables.contract import Table

REJECTS = "stream_rejects"


class PublishError(RuntimeError):
    """Something stands in the way of publishing; the message says what, and what to do."""


class Snapshot(NamedTuple):
    """The event hours to build, and all of bronze that has events of them.

    Attributes:
        hours: In order.
        locations: Of bronze, in the order of the hours of arrival.
        digests: Event hour → a text that differs for different bronze.
        rows: Rows of bronze in these hours.
        waiting: Rows of bronze in hours that are not over yet.
    """

    hours: list[str]
    locations: list[str]
    digests: dict[str, str]
    rows: int
    waiting: int


def publish_bronze(
    s3: Any, glue: Any, lake: str, stream: Stream, version: str, report: Mapping[str, Any], files: raw.Arrived
) -> list[str]:
    """Publishes the hours of arrival that the job loaded, unless a run that saw more files has been faster.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        stream: the stream.
        version: of what the job wrote.
        report: what the job says of itself; see `include.jobs.records`.
        files: the files of each hour that the job was given.

    Returns:
        The published hours.

    Raises:
        PublishError: a file that an hour was built from is gone.
    """
    table = contract.load(stream.bronze)
    published = catalog.partitions(glue, table)
    manifest = f"{versions.location(lake, 'bronze', table.name, version)}files.json"
    bucket, key = versions.split(manifest)
    names = {hour: [file.key for file in those] for hour, those in files.items()}
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(names).encode())
    places: dict[tuple[str, ...], Place] = {}
    rejects: dict[tuple[str, ...], Place] = {}
    sound: list[tuple[str, ...]] = []
    for built in report["hours"]:
        hour = built["at"]
        if (there := published.get(hours.values(hour))) and (gone := _files(s3, there, hour) - set(names[hour])):
            _require_arrived(s3, lake, stream, hour, gone)
            continue
        noted = {
            "manifest": manifest,
            "digest": raw.digest(files[hour]),
            "rows": str(built["rows"]),
            "event_hours": json.dumps(built["event_hours"]),
        }
        places[hours.values(hour)] = Place(built["location"], noted)
        values = (table.name, *hours.values(hour))
        if built["quarantine"]:
            rejects[values] = Place(built["quarantine"], {})
        else:
            sound.append(values)
    quarantine = contract.load(REJECTS)
    catalog.ensure_table(glue, quarantine, f"s3://{lake}/quarantine/{REJECTS}/")
    catalog.switch_partitions(glue, quarantine, rejects)
    catalog.drop_partitions(glue, quarantine, sound)
    # Last, for they are what makes the rest count.
    catalog.ensure_table(glue, table, f"s3://{lake}/bronze/{table.name}/")
    catalog.switch_partitions(glue, table, places)
    return [hours.of(values) for values in places]


def _files(s3: Any, place: Place, hour: str) -> set[str]:
    """The raw files that a published hour was built from."""
    bucket, key = versions.split(place.parameters["manifest"])
    return set(json.load(s3.get_object(Bucket=bucket, Key=key)["Body"])[hour])


def _require_arrived(s3: Any, lake: str, stream: Stream, hour: str, keys: set[str]) -> None:
    dt, of_day = hours.values(hour)
    there = {file.key for file in versions.files(s3, f"s3://{lake}/raw/{stream.name}/dt={dt}/hour={of_day}/")}
    if gone := sorted(keys - there):
        raise PublishError(
            f"{stream.bronze} of {hour} was built from {', '.join(gone)}, which arrived once and is gone: "
            "put it back, or its rows would be lost"
        )


def snapshot(glue: Any, stream: Stream, until: str, rebuild: Iterable[str] = ()) -> Snapshot:
    """The event hours whose refined tables are behind bronze.

    An hour that is not over is left alone: whoever finds it in the batch layer may rely on its being whole, but for
    what comes late.

    Args:
        glue: a boto3 Glue client.
        stream: the stream.
        until: hours of arrival before this one are in bronze; event hours from it on are not over.
        rebuild: event hours to build although nothing has changed.
    """
    built = catalog.partitions(glue, contract.load(stream.anchor))
    found = _by_event_hour(glue, stream)
    digests = _digests(found, stream)
    behind = {
        hour
        for hour, digest in digests.items()
        if (place := built.get(hours.values(hour))) is None or place.parameters.get("snapshot") != digest
    }
    wanted = sorted(hour for hour in behind | (set(rebuild) & found.keys()) if hour < until)
    read = {near for hour in wanted for near in _near(hour, stream)}
    locations = {location for hour in read for location, _ in found.get(hour, [])}
    return Snapshot(
        wanted,
        sorted(locations, key=lambda location: location.rstrip("/").rpartition("/")[2]),
        {hour: digests[hour] for hour in wanted},
        sum(rows for hour in wanted for _, rows in found[hour]),
        sum(rows for hour, those in found.items() if hour >= until for _, rows in those),
    )


def _by_event_hour(glue: Any, stream: Stream) -> dict[str, list[tuple[str, int]]]:
    """Event hour → locations of bronze that have events of it, and how many."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for _, place in sorted(catalog.partitions(glue, contract.load(stream.bronze)).items()):
        for hour, rows in json.loads(place.parameters["event_hours"]).items():
            found[hour].append((place.location, rows))
    return found


def _near(hour: str, stream: Stream) -> list[str]:
    """The hours that an event hour's tables are made of."""
    return [hours.before(hour, number) for number in range(stream.reach + 1)]


def _digests(found: Mapping[str, list[tuple[str, int]]], stream: Stream) -> dict[str, str]:
    """Event hour → a text that differs for different bronze of what its tables are made of."""
    digests = {}
    for hour in found:
        places = sorted(f"{near} {location}" for near in _near(hour, stream) for location, _ in found.get(near, []))
        digests[hour] = hashlib.sha256("\n".join(places).encode()).hexdigest()[:16]
    return digests


def publish_refined(
    s3: Any, glue: Any, lake: str, stream: Stream, report: Mapping[str, Any], digests: Mapping[str, str]
) -> dict[str, list[str]]:
    """Publishes the event hours that the job built, but those whose bronze has changed meanwhile.

    An hour of a table is switched where its bytes have changed: equal rows make equal files.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        stream: the stream.
        report: what the job says of itself.
        digests: of the snapshot that it was given.

    Returns:
        Table → the hours that were switched or dropped.
    """
    now = _digests(_by_event_hour(glue, stream), stream)
    current = {hour: digest for hour, digest in digests.items() if now.get(hour) == digest}
    tables = [name for name in stream.refined if name != stream.anchor]
    return {
        name: publish_hours(s3, glue, lake, contract.load(name), report["tables"].get(name), current)
        for name in (*tables, stream.anchor)
    }


def root(lake: str, table: Table) -> str:
    """The s3:// prefix of the versions of a refined table."""
    layer = "silver" if table.database == "vitrine_silver" else "gold"
    return f"s3://{lake}/{layer}/{table.name}/"


def publish_hours(
    s3: Any, glue: Any, lake: str, table: Table, made: Mapping[str, Any] | None, noted: Mapping[str, str]
) -> list[str]:
    """Points the hours of a table at a version; one of which the version has nothing is dropped.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        table: the table's contract.
        made: location of the version; None where the job wrote nothing of the table.
        noted: the hours, and of each what is noted with it as its snapshot.

    Returns:
        The hours whose bytes have changed.
    """
    catalog.ensure_table(glue, table, root(lake, table))
    return parts.switch(s3, glue, table, made["location"] if made else None, noted, "at=", hours.values)


def earlier_alarms(glue: Any, wanted: Iterable[str]) -> list[str]:
    """Locations of the published alarms of the hours just before some others, and not among them.

    Args:
        glue: a boto3 Glue client.
        wanted: event hours.
    """
    there = catalog.partitions(glue, contract.load("order_alarms"))
    wanted = set(wanted)
    earlier = sorted({hours.before(hour, 1) for hour in wanted} - wanted)
    return [there[hours.values(hour)].location for hour in earlier if hours.values(hour) in there]


def publish_differences(s3: Any, glue: Any, lake: str, location: str, compared: Iterable[str]) -> list[str]:
    """Publishes what `include.streams_lake.reconcile.unload` wrote; an hour without differences has no partition.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        lake: name of the lake's bucket.
        location: s3:// prefix that was written to.
        compared: the hours that were compared.

    Returns:
        The hours with differences.
    """
    table = contract.load("reconcile")
    catalog.ensure_table(glue, table, f"s3://{lake}/gold/{table.name}/")
    prefix = versions.split(location)[1]
    folders = {file.key.removeprefix(prefix).rpartition("/")[0] for file in versions.files(s3, location)}
    found = {tuple(part.partition("=")[2] for part in folder.split("/")): folder for folder in folders if "=" in folder}
    catalog.switch_partitions(
        glue, table, {values: Place(f"{location}{folder}/", {}) for values, folder in found.items()}
    )
    published = catalog.partitions(glue, table)
    without = [values for hour in compared if (values := hours.values(hour)) in published and values not in found]
    catalog.drop_partitions(glue, table, without)
    return sorted(hours.of(values) for values in found)
