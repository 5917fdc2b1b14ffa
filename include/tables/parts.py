"""Parts of a table: folders of a version, such as `month=2026-07/`, each a partition of the published table.

Equal rows make equal files, as the jobs sort them, so a part is switched where its files' bytes have changed. Should S3
tag the same bytes differently (as with KMS keys), more parts are switched than need be, to the same rows.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from include.tables import catalog, versions
from include.tables.catalog import Place
from include.tables.contract import Table


def tags(s3: Any, location: str, folder: str) -> dict[str, str]:
    """Name of a part → what tells its files' bytes from others.

    Args:
        s3: a boto3 S3 client.
        location: s3:// prefix of a version.
        folder: what the names of the parts' folders begin with, such as `month=`.
    """
    prefix = versions.split(location)[1]
    found: dict[str, list[str]] = defaultdict(list)
    for file in versions.files(s3, location):
        part, _, name = file.key.removeprefix(prefix).partition("/")
        if name.endswith(".parquet"):
            found[part.removeprefix(folder)].append(f"{file.size}-{file.etag}")
    return {part: " ".join(sorted(those)) for part, those in found.items()}


def switch(
    s3: Any,
    glue: Any,
    table: Table,
    location: str | None,
    noted: Mapping[str, str],
    folder: str,
    values: Callable[[str], tuple[str, ...]],
) -> list[str]:
    """Points some parts of a table at a version; one of which the version has nothing is dropped.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        table: the table's contract; it is in the catalog.
        location: s3:// prefix of the version; None where nothing was written.
        noted: the parts, and of each what is noted with it as its snapshot.
        folder: what the names of the parts' folders begin with.
        values: from a part to the values of its partition.

    Returns:
        The parts whose bytes have changed, sorted.
    """
    published = catalog.partitions(glue, table)
    made = tags(s3, location, folder) if location else {}
    switched: dict[tuple[str, ...], Place] = {}
    changed = []
    for part, snapshot in noted.items():
        if part not in made:
            continue
        there = published.get(values(part))
        place = f"{location}{folder}{part}/"
        if there and there.parameters.get("files") == made[part]:
            place = there.location
        else:
            changed.append(part)
        switched[values(part)] = Place(place, {"files": made[part], "snapshot": snapshot})
    gone = [part for part in noted if part not in made and values(part) in published]
    catalog.switch_partitions(glue, table, switched)
    catalog.drop_partitions(glue, table, map(values, gone))
    return sorted([*changed, *gone])
