"""Where a run reads and writes: prefixes of S3 or folders of this machine, behind the same few calls."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.algorithms.outcome import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEME = "s3://"

_WRONG_PLACE = {"404", "InvalidBucketName", "NoSuchBucket", "NoSuchKey"}
"""Error codes of S3 that a wrong prefix is the cause of."""


class ServiceError(RuntimeError):
    """AWS did not do what it was asked for: network, credentials, permissions or throttling; not the input's fault.

    The command line prints the message on one line and exits with code 3.
    """


def _s3() -> Any:
    # Imported here: a run on local folders needs no AWS library. boto3 honours AWS_ENDPOINT_URL by itself.
    import boto3

    return boto3.client("s3")


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise InputError(f"{uri!r} names no bucket: write s3://bucket/prefix")
    return bucket, key.rstrip("/")


@contextmanager
def _aws_errors(uri: str) -> Iterator[None]:
    """Turns what AWS says into one clear line: an `InputError` where the place is wrong, else a `ServiceError`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        # boto3 wraps what S3 says of an upload.
        said = error.__context__ if isinstance(error, Boto3Error) else error
        code = said.response["Error"]["Code"] if isinstance(said, ClientError) else None
        wrong_place = code in _WRONG_PLACE or isinstance(said, ParamValidationError)
        raise (InputError if wrong_place else ServiceError)(f"{uri}: {error}") from error


def parquet_files(prefix: str) -> list[str]:
    """The Parquet files below a prefix, at any depth, sorted: s3:// URIs or paths.

    Hidden objects (a part of whose path below the prefix starts with "_" or ".") are not data and are left out.

    Raises:
        InputError: the prefix does not exist, or has no Parquet file.
        ServiceError: AWS fails.
    """
    if prefix.startswith(SCHEME):
        bucket, key = _split(prefix)
        below = f"{key}/" if key else ""
        with _aws_errors(prefix):
            pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
            names = [item["Key"].removeprefix(below) for page in pages for item in page.get("Contents", [])]
        root = f"{SCHEME}{bucket}/{below}"
    else:
        folder = Path(prefix)
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        root = f"{folder}/"
    files = sorted(root + name for name in names if name.endswith(".parquet") and not _is_hidden(name))
    if not files:
        raise InputError(f"no Parquet files below {prefix}: is it the prefix the extract wrote to?")
    return files


def _is_hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


@contextmanager
def local_copies(files: list[str], scratch: Path) -> Iterator[list[Path]]:
    """The files on this machine: as they are where they are local, else downloaded to `scratch` and deleted after."""
    if not files[0].startswith(SCHEME):
        yield [Path(file) for file in files]
        return
    copies: list[Path] = []
    try:
        with _aws_errors(files[0]):
            s3 = _s3()
        for number, file in enumerate(files):
            bucket, key = _split(file)
            copies.append(scratch / f"{number}.parquet")
            with _aws_errors(file):
                s3.download_file(bucket, key, str(copies[-1]))
        yield copies
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)


def publish(folder: Path, names: list[str], prefix: str) -> None:
    """Puts the files `names` of `folder` below `prefix`, in that order, all or none.

    The last file is the one whose presence says that the others are complete: an older one is removed first, and when
    a file cannot be written those already written are removed.

    Raises:
        InputError: the bucket does not exist, or the folder cannot be written.
        ServiceError: AWS fails.
    """
    target = _S3Folder(prefix) if prefix.startswith(SCHEME) else _LocalFolder(prefix)
    with target.errors():
        target.remove(names[-1])
        written = []
        try:
            for name in names:
                written.append(name)
                target.put(folder / name, name)
        except BaseException:
            for name in written:
                with suppress(Exception):
                    target.remove(name)
            raise


class _S3Folder:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.bucket, self.key = _split(prefix)
        with self.errors():
            self.s3 = _s3()

    def errors(self) -> Any:
        return _aws_errors(self.prefix)

    def put(self, file: Path, name: str) -> None:
        self.s3.upload_file(str(file), self.bucket, f"{self.key}/{name}".lstrip("/"))

    def remove(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=f"{self.key}/{name}".lstrip("/"))


class _LocalFolder:
    def __init__(self, prefix: str) -> None:
        self.folder = Path(prefix)

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"the output folder {self.folder} cannot be written: {error}") from error

    def put(self, file: Path, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            shutil.copyfile(file, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
