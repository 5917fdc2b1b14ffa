"""Drops versions that nobody points at.

A version is everything below the first folder named `v=…` of a key. It may go when all its files are older than the
limit and no place that the catalog names is in it. The age keeps what a run is still writing, or has not published yet.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, NamedTuple

from include.maintenance import references
from include.tables.versions import File, files

LAYERS = ("bronze", "silver", "gold", "quarantine", "deliveries", "quality", "products", "raw")
CANDIDATES = "vitrine_audit"
SHOWN = 20

_VERSION = re.compile(r"(?:[^/]+/)*?v=[^/]+/")


class RetentionError(RuntimeError):
    """S3 refused to delete a file; the message names the first."""


class Version(NamedTuple):
    """A version: its key with a slash at the end, the keys and bytes of its files, and when the newest was written."""

    key: str
    files: tuple[str, ...]
    size: int
    written: datetime


def versions(s3: Any, bucket: str, layer: str) -> list[Version]:
    """The versions of a layer, in the order of their keys.

    Files outside of any version, such as those for people, are not looked at.

    Args:
        s3: a boto3 S3 client.
        bucket: the lake.
        layer: one of `LAYERS`.
    """
    found: dict[str, list[File]] = defaultdict(list)
    for file in files(s3, f"s3://{bucket}/{layer}/"):
        if match := _VERSION.match(file.key):
            found[match[0]].append(file)
    return [
        Version(key, tuple(file.key for file in those), sum(file.size for file in those), max(f.written for f in those))
        for key, those in sorted(found.items())
    ]


def expired(found: Iterable[Version], places: set[str], moment: datetime, days: int) -> list[Version]:
    """Those of the versions that may go.

    Args:
        found: versions.
        places: what the catalog names, read after the versions were: what is published meanwhile stays.
        moment: the run's own, so that a run that comes late decides as it would have then.
        days: how old the newest file must be.
    """
    limit = moment - timedelta(days=days)
    named = {match[0] for place in places if (match := _VERSION.match(f"{place.rstrip('/')}/"))}
    return [version for version in found if version.written < limit and version.key not in named]


def sweep(s3: Any, glue: Any, bucket: str, layer: str, moment: datetime, days: int, *, dry_run: bool) -> dict[str, Any]:
    """Drops the versions of a layer that may go, or tells which they are.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        bucket: the lake.
        layer: one of `LAYERS`.
        moment: the run's own.
        days: how old the newest file of a version must be.
        dry_run: whether only to tell.

    Returns:
        layer, kept (number of versions), versions and bytes that went or would go, and the keys of the first of them.
    """
    there = versions(s3, bucket, layer)
    going = expired(there, references.places(glue, bucket), moment, days)
    if not dry_run:
        for version in going:
            delete(s3, bucket, version.files)
    return {
        "layer": layer,
        "kept": len(there) - len(going),
        "versions": len(going),
        "bytes": sum(version.size for version in going),
        "keys": [version.key for version in going[:SHOWN]],
    }


def drop_candidates(glue: Any, moment: datetime, days: int, *, dry_run: bool) -> list[str]:
    """Drops tables of `vitrine_audit` that a run has left behind, or tells which they are; their files stay.

    Args:
        glue: a boto3 Glue client.
        moment: the run's own.
        days: how old a candidate must be.
        dry_run: whether only to tell.
    """
    limit = moment - timedelta(days=days)
    old = [
        table["Name"]
        for table in references.tables(glue, CANDIDATES)
        if table.get("UpdateTime", table["CreateTime"]) < limit
    ]
    if not dry_run:
        for name in old:
            glue.delete_table(DatabaseName=CANDIDATES, Name=name)
    return old


def delete(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    """Deletes files; those that are not there are no error.

    Raises:
        RetentionError: S3 refused one.
    """
    for batch in batched(keys, 1000):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True})
        for error in answer.get("Errors", []):
            raise RetentionError(f"{error['Key']} was not deleted: {error['Code']}: {error.get('Message', '')}")
