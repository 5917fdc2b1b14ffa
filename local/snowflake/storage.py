"""Where COPY reads and writes: an S3 prefix behind the local endpoint, or the directory of an internal stage."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from fakesnow.transforms import stage as fakesnow_stage
from sqlglot import exp

from local.snowflake import errors
from local.snowflake.integrations import allow

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

ENDPOINT = "AWS_ENDPOINT_URL"
# One request per file up to here: the local endpoint gains nothing from parts.
_WHOLE_FILES = TransferConfig(multipart_threshold=256 * 1024 * 1024, use_threads=False)


@dataclass(frozen=True)
class StoredFile:
    """A file in a location: its key there, its size in bytes, and its checksum."""

    key: str
    size: int
    checksum: str = ""
    modified: str = ""


class Location(Protocol):
    """A prefix that files are listed under, read from, written to and removed from."""

    @property
    def prefix(self) -> str:
        """What every key here starts with."""
        ...

    def url(self, key: str) -> str:
        """Return what Snowflake calls the file."""
        ...

    def files(self) -> Iterator[StoredFile]:
        """Yield the files whose keys start with the prefix."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether the file is there."""
        ...

    def read(self, key: str, target: Path) -> Path:
        """Return a local file with the content, `target` if it has to be fetched."""
        ...

    def write(self, source: Path, key: str) -> None:
        """Store the local file `source` as `key`."""
        ...

    def remove(self, key: str) -> None:
        """Delete the file."""
        ...


@dataclass(frozen=True)
class S3Location:
    """A key prefix in a bucket of the local S3."""

    bucket: str
    prefix: str

    def url(self, key: str) -> str:
        """Return the s3:// address of `key`."""
        return f"s3://{self.bucket}/{key}"

    def files(self) -> Iterator[StoredFile]:
        """Yield every object whose key starts with the prefix; folder markers are none."""
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):
                    modified = item["LastModified"].strftime("%a, %d %b %Y %H:%M:%S GMT")
                    yield StoredFile(item["Key"], item["Size"], item["ETag"].strip('"'), modified)

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        found = _s3().list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1).get("Contents", ())
        return any(item["Key"] == key for item in found)

    def read(self, key: str, target: Path) -> Path:
        """Download `key` to the file `target`."""
        _s3().download_file(self.bucket, key, str(target), Config=_WHOLE_FILES)
        return target

    def write(self, source: Path, key: str) -> None:
        """Upload the file `source` as `key`."""
        _s3().upload_file(str(source), self.bucket, key, Config=_WHOLE_FILES)

    def remove(self, key: str) -> None:
        """Delete the object."""
        _s3().delete_object(Bucket=self.bucket, Key=key)


@dataclass(frozen=True)
class DirectoryLocation:
    """A path in an internal stage, which is a directory beside the databases."""

    root: Path
    name: str
    prefix: str

    def url(self, key: str) -> str:
        """Return the name that Snowflake shows for a staged file."""
        return f"{self.name}/{key}"

    def files(self) -> Iterator[StoredFile]:
        """Yield every staged file whose path starts with the prefix."""
        for path in sorted(self.root.rglob("*")):
            key = path.relative_to(self.root).as_posix()
            if path.is_file() and key.startswith(self.prefix):
                yield StoredFile(key, path.stat().st_size)

    def exists(self, key: str) -> bool:
        """Tell whether the file is there."""
        return self._path(key).exists()

    def read(self, key: str, target: Path) -> Path:
        """Return the staged file itself: there is nothing to download."""
        del target
        return self._path(key)

    def write(self, source: Path, key: str) -> None:
        """Move the file `source` into the stage."""
        self._path(key).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, self._path(key))

    def remove(self, key: str) -> None:
        """Delete the staged file."""
        self._path(key).unlink()

    def _path(self, key: str) -> Path:
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise errors.error(errors.SYNTAX, f"The path '{key}' leaves the stage {self.name}")
        return path


def resolve(cursor: "Cursor", written: exp.Expr, integration: str | None = None) -> Location:
    """Find the location that a statement names.

    Args:
        cursor: The cursor that runs the statement.
        written: `@stage/path` or `'s3://bucket/path'` as sqlglot parsed it.
        integration: The statement's STORAGE_INTEGRATION, which has to allow an s3:// location.

    Raises:
        ProgrammingError: The stage does not exist, the integration does not allow the location or is missing, the
            path contains "..", or the scheme is not s3.
    """
    node = written.this if isinstance(written, exp.Table) else written
    text = str(node.name).strip("'") if isinstance(node, exp.Literal | exp.Identifier) else str(node.this).strip("'")
    if ".." in text.split("/"):
        raise errors.error(errors.INVALID_OPTION, f"Invalid location '{text}': a path must not contain '..'.")
    if not text.startswith("@"):
        location = _s3_location(text)
        if not integration:
            raise errors.error(
                errors.INVALID_OPTION,
                f"Location '{text}' needs credentials: add STORAGE_INTEGRATION = <name>, or use a stage that has one.",
            )
        allow(cursor, integration, text)
        return location
    name, _, path = text[1:].partition("/")
    return _stage_location(cursor, name, path)


def _stage_location(cursor: "Cursor", written: str, path: str) -> Location:
    connection = cursor.connection
    if "~" in written:
        raise errors.unsupported("user stage @~", "Name a stage.")
    database, schema, name = fakesnow_stage.parts_from_var(written, connection.database, connection.schema)
    if fakesnow_stage.is_table_stage(name):
        raise errors.unsupported(f"table stage @{name}", "Name a stage.")
    row = cursor.fetch(
        "SELECT url, storage_integration FROM _fs_global._fs_information_schema._fs_stages"
        " WHERE database_name = ? AND schema_name = ? AND name = ?",
        [database, schema, name],
    )
    if row is None:
        raise fakesnow_stage.not_found_error(f"{database}.{schema}.{name}")
    url, integration = row
    if not url:
        root = Path(fakesnow_stage.internal_dir(f"{database}.{schema}.{name}"))
        return DirectoryLocation(root, name.lower(), path)
    full = f"{url.rstrip('/')}/{path}"
    if integration:
        # Checked at every use: an integration may be disabled or narrowed after the stage was made.
        allow(cursor, integration, full)
    return _s3_location(full)


def _s3_location(url: str) -> S3Location:
    scheme, _, rest = url.partition("://")
    if scheme != "s3" or not rest:
        raise errors.unsupported(f"location '{url}'", "Locations are @stage/path or 's3://bucket/path'.")
    bucket, _, prefix = rest.partition("/")
    return S3Location(bucket, prefix)


@cache
def _s3() -> Any:
    endpoint = os.environ.get(ENDPOINT)
    if not endpoint:
        raise errors.error(
            errors.FILE_ERROR,
            f"{ENDPOINT} is not set in the local Snowflake's environment, so it knows no local S3 (and it never "
            "touches the real one). Start it with `python -m local up`.",
        )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
