"""The files of a table's version in S3."""

from typing import Any, NamedTuple


class File(NamedTuple):
    """A file: its key in the bucket, its size in bytes, and S3's tag of its content."""

    key: str
    size: int
    etag: str


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
        File(item["Key"], item["Size"], item["ETag"].strip('"')) for page in pages for item in page.get("Contents", [])
    ]
