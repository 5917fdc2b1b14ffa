"""What has landed, and what of it is not in bronze yet: a function of the files in the landing zone, not of the clock.

Files lie at `landing/olist/<load date>/<file>`. All files of one table and day make one partition of bronze, which is
built again, whole, whenever one of them is new or has changed. So a run may come twice, late, or out of order.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

from include.tables import contract, versions

PREFIX = "landing/olist/"
UNKNOWN = "unknown"
"""The table of a file whose name tells none; such files are quarantined."""

_KEY = re.compile(rf"{PREFIX}(\d{{4}}-\d{{2}}-\d{{2}})/([^/]+)")
_NAMES = (re.compile(r"olist_(\w+?)_dataset"), re.compile(r"product_(category)_name_(translation)"))

Files = dict[str, str]
"""Key of a landed file → S3's tag of its content."""


class Partition(NamedTuple):
    """A day's delivery of one table."""

    load_date: str
    table: str


class Landed(NamedTuple):
    """A landed file: where, when it arrived (UTC), and S3's size and tag of its content."""

    key: str
    landed_at: datetime
    size: int
    etag: str

    @property
    def partition(self) -> Partition:
        """The partition of bronze that the file is part of."""
        load_date, name = _match(self.key)
        for pattern in _NAMES:
            if found := pattern.match(name):
                table = "_".join(found.groups())
                return Partition(load_date, table if table in _tables() else UNKNOWN)
        return Partition(load_date, UNKNOWN)


def _match(key: str) -> tuple[str, str]:
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"{key} is not of the form {PREFIX}YYYY-MM-DD/file")
    return found[1], found[2]


@cache
def _tables() -> frozenset[str]:
    return frozenset(table.name for table in contract.of_layer("silver"))


def listing(s3: Any, lake: str, until: date) -> list[Landed]:
    """The files that have landed up to a day (inclusive), in the order of their keys.

    Objects elsewhere than in a folder named after a day, and folder markers, are no deliveries.

    Args:
        s3: a boto3 S3 client.
        lake: name of the lake's bucket.
        until: the last load date that counts.
    """
    return [
        Landed(file.key, file.written, file.size, file.etag)
        for file in versions.files(s3, f"s3://{lake}/{PREFIX}")
        if (match := _KEY.fullmatch(file.key)) and match[1] <= until.isoformat()
    ]


def files_of(landed: Iterable[Landed]) -> dict[Partition, Files]:
    """The files of each partition."""
    partitions: dict[Partition, Files] = defaultdict(dict)
    for file in landed:
        partitions[file.partition][file.key] = file.etag
    return dict(partitions)


def outstanding(landed: Iterable[Landed], loaded: Mapping[Partition, Files]) -> list[dict[str, Any]]:
    """The files to load: all files of each partition of which a file is new or has changed.

    A file with the bytes of an earlier one of its table (by key, so by day and name) is to be skipped; which one is
    skipped depends on the landing zone alone, not on what was loaded when.

    Args:
        landed: the landing zone.
        loaded: the files that each partition of bronze was built from.

    Returns:
        As JSON values, what the bronze job reads: table, key, load_date, landed_at, bytes, etag, and skip, the reason
        to leave the file out, or None.
    """
    landed = sorted(landed)
    wanted = {
        partition
        for partition, files in files_of(landed).items()
        if not files.items() <= loaded.get(partition, {}).items()
    }
    first: dict[tuple[str, int, str], str] = {}
    chosen = []
    for file in landed:
        load_date, table = file.partition
        original = first.setdefault((table, file.size, file.etag), file.key)
        if file.partition in wanted:
            skip = None if original == file.key else f"the same file as {original}"
            chosen.append(
                {
                    "table": table,
                    "key": file.key,
                    "load_date": load_date,
                    "landed_at": file.landed_at.isoformat(),
                    "bytes": file.size,
                    "etag": file.etag,
                    "skip": skip,
                }
            )
    return chosen


class Snapshot(NamedTuple):
    """All of bronze at one moment.

    Attributes:
        locations: Table → locations of its partitions, in the order of their days.
        rows: Table → rows in all of them.
        files: The files that each partition was built from.
    """

    locations: dict[str, list[str]]
    rows: dict[str, int]
    files: dict[Partition, Files]

    @property
    def digest(self) -> str:
        """A text that differs for different snapshots."""
        return hashlib.sha256(json.dumps(self.locations, sort_keys=True).encode()).hexdigest()[:16]


def snapshot(places: Mapping[tuple[str, ...], Any]) -> Snapshot:
    """Reads the state of bronze from the partitions of the table `deliveries`.

    Args:
        places: values (load date, table) → `include.tables.catalog.Place`, whose parameters hold `files` and,
            where rows were loaded, `bronze`, their location, and `rows`, their number.
    """
    locations: dict[str, list[str]] = {table: [] for table in sorted(_tables())}
    rows = dict.fromkeys(locations, 0)
    files = {}
    for (load_date, table), found in sorted(places.items()):
        files[Partition(load_date, table)] = json.loads(found.parameters["files"])
        if bronze := found.parameters.get("bronze"):
            locations[table].append(bronze)
            rows[table] += int(found.parameters["rows"])
    return Snapshot(locations, rows, files)
