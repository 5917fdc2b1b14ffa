"""Objects of the lake: small JSON documents, and files brought to this machine and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError


class ChangedFileError(RuntimeError):
    """A file of the lake is not the one that the job was told of."""


def client() -> Any:
    """A client of S3; the endpoint, where it is not AWS's, is in `AWS_ENDPOINT_URL`."""
    return boto3.client("s3")


def read_json(s3: Any, uri: str) -> Any:
    """The JSON document at an s3:// URI."""
    bucket, key = _split(uri)
    return json.load(s3.get_object(Bucket=bucket, Key=key)["Body"])


def write_json(s3: Any, uri: str, value: Any) -> None:
    """Writes a JSON document to an s3:// URI."""
    bucket, key = _split(uri)
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(value, indent=1).encode())


def download(s3: Any, bucket: str, key: str, etag: str, target: Path) -> None:
    """Copies an object to a file, if it is still the one of that ETag.

    Raises:
        ChangedFileError: it is gone, or another one.
    """
    try:
        body = s3.get_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"')["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "PreconditionFailed"):
            raise
        raise ChangedFileError(f"{key} was replaced or removed after the run was planned: plan it again") from error
    with target.open("wb") as file:
        shutil.copyfileobj(body, file, 1 << 20)


def upload(s3: Any, file: Path, uri: str) -> None:
    """Copies a file to an s3:// URI."""
    bucket, key = _split(uri)
    s3.upload_file(str(file), bucket, key)


def _split(uri: str) -> tuple[str, str]:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        raise ValueError(f"{uri!r} is no place in S3: write s3://bucket/key")
    return bucket, key
