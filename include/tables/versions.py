"""The versions of a table in S3: where each is, and its files."""

from datetime import datetime
from typing import Any, NamedTuple


class File(NamedTuple):
    """A file: its key in the bucket, its size in bytes, S3's tag of its content, and when it was written (UTC)."""

    key: str
    size: int
    etag: str
    written: datetime


def location(lake: str, layer: str, table: str, version: str) -> str:
    """The s3:// prefix of a version of a silver or gold table.

    Args:
        lake: name of the lake's bucket.
        layer: the layer.
        table: the table's name.
        version: the version.
    """
    return f"s3://{lake}/{layer}/{table}/v={version}/"


def rejected(lake: str, table: str, version: str) -> str:
    """The s3:// prefix of the rows that the silver of this version has rejected."""
    return f"s3://{lake}/quarantine/{table}/layer=silver/delivery=all/v={version}/"


def split(location: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key


def files(s3: Any, location: str) -> list[File]:
    """The files below an s3:// prefix, in the order of their keys.

    Args:
        s3: a boto3 S3 client.
        location: the prefix, with a slash at its end unless neighbours that begin like it are meant as well.
    """
    bucket, prefix = split(location)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [
        File(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
        for page in pages
        for item in page.get("Contents", [])
    ]
