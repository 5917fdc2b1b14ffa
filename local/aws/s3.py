"""S3 on plain files: the object ``s3://bucket/key`` is the file ``<state>/s3/bucket/key``.

Engines such as DuckDB and Polars read the files directly, and the objects survive the process. Versioned buckets, and
keys that cannot be a file name, are refused. The configuration of buckets lasts as long as the process; lifecycle rules
are kept and listed, but nothing expires here.
"""

import contextlib
import hashlib
import mmap
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from moto.core.responses import ActionResult
from moto.s3 import models
from moto.s3.exceptions import (
    EntityTooSmall,
    InvalidBucketName,
    InvalidPart,
    MalformedXML,
    MissingBucket,
    S3ClientError,
)
from moto.s3.models import FakeBucket, FakeKey, FakeMultipart, S3Backend
from moto.s3.responses import S3Response
from moto.s3.utils import compute_checksum

from local.aws import notifications, plugging
from local.aws.s3_index import Index, Stamp
from local.aws.settings import ACCOUNT, REGION, current

BLOCK = 1 << 20

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_NAME = 255  # bytes: of every file system in question

# A file and what is known of it change together.
_changes = threading.RLock()
_writers = 0  # processes that write files beside this server, as Spark does


class UnsupportedByFilesError(S3ClientError, ValueError):
    """A request that real S3 accepts and plain files cannot keep."""

    code = "NotImplemented"


class _ChangedMeanwhileError(S3ClientError):
    code = "OperationAborted"
    message = "The file of the object was changed while it was read: try again"


# ------------------------------------------------------------------------------------------------------------- places


def path(bucket: str, key: str = "") -> Path:
    """Where an object, or everything under a prefix, lives.

    Args:
        bucket: Name of the bucket; it need not exist.
        key: Key, or a prefix that ends with ``/``; empty for the bucket's folder.

    Returns:
        The path of the file or folder, always inside the bucket's folder.

    Raises:
        UnsupportedByFilesError: The key has an empty, ``.`` or ``..`` segment, a NUL, or one longer than 255 bytes.
        InvalidBucketName: The bucket's name breaks S3's rules.
    """
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidBucketName
    folder = current().state / "s3" / bucket
    if not key:
        return folder
    segments = key.removesuffix("/").split("/")
    for segment in segments:
        if segment in ("", ".", "..") or "\0" in segment or len(segment.encode()) > _LONGEST_NAME:
            raise UnsupportedByFilesError(
                f"The local S3 keeps objects as files: {segment!r} in the key {key!r} cannot be the name of one"
            )
    return folder.joinpath(*segments)


def path_of(uri: str) -> Path:
    """Where the object or prefix of an ``s3://bucket/key`` URI lives; errors as :func:`path`."""
    return path(*split(uri))


def split(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` (also ``s3a``, ``s3n``) into bucket and key.

    Raises:
        ValueError: It is not such a URI.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in ("s3", "s3a", "s3n") or not separator or not bucket:
        raise ValueError(f"{uri!r} is not an S3 URI: write s3://bucket/key")
    return bucket, key


# -------------------------------------------------------------------------------------------------- for other backends


def put(uri: str, data: bytes) -> None:
    """Write one object, in one step.

    Raises:
        MissingBucket: The bucket does not exist.
        UnsupportedByFilesError: The key cannot be a file; see :func:`path`.
    """
    bucket, key = split(uri)
    backend().put_object(bucket, key, data)


def adopt(bucket: str, prefix: str = "") -> None:
    """Make the files that other processes wrote visible as objects, and forget objects whose files are gone.

    Call it after the writer has finished: a half-written file would become a half-written object.

    Args:
        bucket: The bucket; one that only exists as a folder is created.
        prefix: Only keys that start with it are looked at.

    Raises:
        MissingBucket: There is no such bucket and no such folder.
    """
    backend().adopt(bucket, prefix)


@contextlib.contextmanager
def written_directly() -> Iterator[None]:
    """While files are written beside this server, listings look at the disk: what is complete there is an object."""
    global _writers
    with _changes:
        _writers += 1
    try:
        yield
    finally:
        with _changes:
            _writers -= 1


def backend() -> "FileS3Backend":
    """The backend that answers."""
    return models.s3_backends[ACCOUNT]["aws"]  # type: ignore[return-value]


def plug() -> None:
    """Let this module answer S3, with the files of the current settings' state."""
    uploads = _uploads()
    shutil.rmtree(uploads, ignore_errors=True)  # parts of uploads that a crash left without an owner
    uploads.mkdir(parents=True)
    (current().state / "s3").mkdir(exist_ok=True)
    models.FakeKey = StoredKey  # type: ignore[misc]
    models.FakeMultipart = StoredMultipart  # type: ignore[misc]
    plugging.plug(FileS3Backend)


# -------------------------------------------------------------------------------------------------------------- bytes


def _uploads() -> Path:
    return current().state / "s3-uploads"


class _Staged:
    """Bytes in a file of their own, on their way to becoming an object or a part."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.file = _uploads() / uuid.uuid4().hex
        digest = hashlib.md5(usedforsecurity=False)
        with self.file.open("wb") as file:
            for block in blocks:
                file.write(block)
                digest.update(block)
        self.md5 = digest.hexdigest()

    def discard(self) -> None:
        self.file.unlink(missing_ok=True)


class Contents:
    """The bytes of an object, read from its file only as far as they are wanted.

    It stands where moto has ``bytes``: it has a length, gives ``bytes`` for a slice, streams when iterated, and
    offers the buffer protocol to whoever needs everything at once. An object that is replaced meanwhile doesn't change.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        status = os.fstat(self._file.fileno())
        self.stamp = Stamp(status.st_size, status.st_mtime_ns)

    def __len__(self) -> int:
        return self.stamp.size

    def __getitem__(self, wanted: slice) -> bytes:
        start, stop, _ = wanted.indices(len(self))
        return os.pread(self._file.fileno(), max(stop - start, 0), start)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            yield self[start : start + BLOCK]

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self[:])

    def decode(self, *arguments: str) -> str:
        """As ``bytes.decode``."""
        return self[:].decode(*arguments)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _blocks(value: Any) -> Iterable[bytes]:
    if isinstance(value, str):
        return (value.encode(),)
    if isinstance(value, Contents):
        return value
    return (value,)


# ------------------------------------------------------------------------------------------------------------ objects

# Attributes of moto's key that a restart must not lose, beside its metadata and tags.
_FACTS = (
    "_storage_class",
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
    "website_redirect_location",
)


class StoredKey(FakeKey):
    """An object, or a part of an upload, whose bytes are a file."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "StoredKey":
        """Make a key that can be forgotten: moto would keep every one alive for its dashboard."""
        return object.__new__(cls)

    def __init__(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        bucket = kwargs.get("bucket_name")
        self.path = path(bucket, name) if bucket else _uploads() / uuid.uuid4().hex
        self.stamp = Stamp(0, 0)
        super().__init__(name, value, *args, **kwargs)

    @property
    def is_folder(self) -> bool:
        """Whether this is the empty object by which consoles mark a folder."""
        return self.bucket_name is not None and self.name.endswith("/")

    @property
    def value(self) -> Any:
        """The bytes, as :class:`Contents`."""
        if self.is_folder:
            return b""
        contents = Contents(self.path)
        if contents.stamp != self.stamp:
            # Headers may already have been written from what was known of the file before.
            self.on_disk(contents.stamp)
            raise _ChangedMeanwhileError
        return contents

    @value.setter
    def value(self, new_value: Any) -> None:
        if isinstance(new_value, Stamp):
            self.on_disk(new_value)
        elif self.is_folder:
            self._create_folder(new_value)
        else:
            self._replace_file(new_value)

    def on_disk(self, stamp: Stamp) -> None:
        """Take the file as it is, with nothing known of it; its ETag is computed when somebody asks."""
        self.stamp = stamp
        self.contentsize = stamp.size
        self._etag = None
        for name in _FACTS:
            setattr(self, name, None)
        self._storage_class = "STANDARD"
        self._metadata.clear()
        self._metadata["Content-Type"] = "binary/octet-stream"
        self.last_modified = datetime.fromtimestamp(stamp.mtime_ns / 1e9, UTC).replace(tzinfo=None)

    def _create_folder(self, value: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.contentsize = 0
        self._etag = hashlib.md5(usedforsecurity=False).hexdigest()

    def _replace_file(self, value: Any) -> None:
        staged = value if isinstance(value, _Staged) else _Staged(_blocks(value))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged.file.replace(self.path)
        status = self.path.stat()
        self.stamp = Stamp(status.st_size, status.st_mtime_ns)
        self.contentsize = status.st_size
        if self._etag is None:
            self._etag = staged.md5

    @property
    def etag(self) -> str:
        """The ETag in quotes."""
        if self._etag is None:
            digest = hashlib.md5(usedforsecurity=False)
            for block in Contents(self.path):
                digest.update(block)
            self._etag = digest.hexdigest()
        return f'"{self._etag}"'

    def dispose(self, garbage: bool = False) -> None:
        """Remove the file of a part; the file of an object is removed with the object alone."""
        if self.bucket_name is None:
            self.path.unlink(missing_ok=True)
        self.disposed = True

    def facts(self) -> dict[str, Any]:
        """What a restart must not lose."""
        facts = {name: getattr(self, name, None) for name in _FACTS}
        return {
            **{name: fact for name, fact in facts.items() if fact is not None},
            "etag": self.etag.strip('"'),
            "metadata": dict(self._metadata),
            "modified": self.last_modified.isoformat(),
        }

    def restore_facts(self, facts: dict[str, Any]) -> None:
        """Undo :meth:`facts`."""
        for name in _FACTS:
            if name in facts:
                setattr(self, name, facts[name])
        self._etag = facts["etag"]
        self._metadata.update(facts["metadata"])
        self.last_modified = datetime.fromisoformat(facts["modified"])


class StoredMultipart(FakeMultipart):
    """An upload whose parts are files, joined without ever being held in memory together."""

    def complete(self, body: Iterable[tuple[int, str]]) -> Any:
        """Join the parts.

        Args:
            body: Number and ETag of each part, in order.

        Returns:
            The joined bytes (staged), the ETag without quotes, and (type, value, parts) of the checksum, if one was
            asked for.
        """
        parts = [self._part(number, etag) for number, etag in body]
        if not parts:
            raise MalformedXML
        if any(part.contentsize < models.S3_UPLOAD_PART_MIN_SIZE for part in parts[:-1]):
            raise EntityTooSmall
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            digest.update(bytes.fromhex(part.etag.strip('"')))
        staged = _Staged(block for part in parts for block in _blocks(part.value))
        return staged, f"{digest.hexdigest()}-{len(parts)}", self._checksum(parts, staged)

    def _part(self, number: int, etag: str) -> FakeKey:
        part = self.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise InvalidPart
        return part

    def _checksum(self, parts: list[FakeKey], staged: _Staged) -> tuple[str, str, int] | None:
        algorithm = self.metadata.get("x-amz-checksum-algorithm")
        if not algorithm:
            return None
        whole = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
        kind = self.metadata.get("x-amz-checksum-type") or whole
        if kind == "COMPOSITE":
            checksums = b"".join(compute_checksum(part.value, algorithm, encode_base64=False) for part in parts)
            return kind, compute_checksum(checksums, algorithm).decode(), len(parts)
        if staged.file.stat().st_size == 0:
            return kind, compute_checksum(b"", algorithm).decode(), 1
        with staged.file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as joined:
            return kind, compute_checksum(joined, algorithm).decode(), 1  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ backend


_XML = '<?xml version="1.0" encoding="utf-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def _elements(result: dict[str, Any]) -> Iterator[str]:
    """The elements of a structure in XML; a list is an element for each of its items."""
    for name, value in result.items():
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, dict):
                yield f"<{name}>{''.join(_elements(item))}</{name}>"
            elif item is not None:
                yield f"<{name}>{escape(str(item).lower() if isinstance(item, bool) else str(item))}</{name}>"


class FileS3Response(S3Response):
    """moto's parsing of requests, after which what it learnt about an object is kept."""

    @classmethod
    def _enrich_response(cls, headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:  # type: ignore[override]
        # moto looks for a place to write the request's id into, which would read the whole object.
        enriched, other = super()._enrich_response(headers, b"" if isinstance(body, Contents) else body)
        return enriched, body if isinstance(body, Contents) else other

    def serialized(self, action_result: ActionResult) -> Any:
        """Write an answer; a listing by ourselves, as moto takes a quarter of a millisecond for each object."""
        result = action_result.result
        if not isinstance(result, dict) or "Contents" not in result:
            return super().serialized(action_result)
        listing = f'{_XML}<ListBucketResult xmlns="{_NAMESPACE}">{"".join(_elements(result))}</ListBucketResult>'
        return 200, {"Content-Type": "application/xml", **self.response_headers}, listing

    def key_response(self, request: Any, full_url: str, headers: dict[str, Any]) -> Any:
        """Answer a request about one object."""
        try:
            return super().key_response(request, full_url, headers)
        finally:
            # Requests sit in reference cycles: uploaded bodies would pile up until the next full collection.
            for body in ("data", "_cached_data"):
                vars(request).pop(body, None)

    def get_object(self) -> Any:
        """Answer with headers that fit the bytes, also while the file is being replaced."""
        try:
            return super().get_object()
        except _ChangedMeanwhileError:
            return super().get_object()

    def _key_response_put(self, query: dict[str, Any], key_name: str) -> Any:
        response = super()._key_response_put(query, key_name)
        backend().record(self.bucket_name, key_name)
        return response

    def _key_response_post(self, request: Any, body: bytes, bucket_name: str, query: Any, key_name: str) -> Any:
        response = super()._key_response_post(request, body, bucket_name, query, key_name)
        backend().record(bucket_name, key_name)
        return response

    def _key_response_delete(self, bucket_name: str, query: dict[str, Any], key_name: str) -> Any:
        response = super()._key_response_delete(bucket_name, query, key_name)
        backend().record(bucket_name, key_name)
        return response


class FileS3Backend(plugging.Plugged, S3Backend):
    """moto's S3, whose objects are files."""

    service = "s3"
    response = FileS3Response

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        index = current().state / "s3-index.sqlite"
        self._index = Index(index)
        self._folds_case = index.with_name(index.name.upper()).exists()
        self._readopted: set[str] = set()

    def reset(self) -> None:
        """Forget everything; the files stay."""
        self._index.close()
        super().reset()

    def create_bucket(self, bucket_name: str, region_name: str, *args: Any, **kwargs: Any) -> FakeBucket:
        """Create a bucket; one that a previous run left as a folder is taken over with its objects."""
        folder = path(bucket_name)
        with _changes:
            if bucket_name in self._readopted:
                self._readopted.discard(bucket_name)
                del self.buckets[bucket_name], models.s3_backends.bucket_accounts[bucket_name]
            bucket = super().create_bucket(bucket_name, region_name, *args, **kwargs)
            folder.mkdir(parents=True, exist_ok=True)
            self.adopt(bucket_name)
        return bucket

    def delete_bucket(self, bucket_name: str) -> FakeBucket | None:
        """Delete a bucket that has no objects, not even files that nobody adopted yet."""
        with _changes:
            self.adopt(bucket_name)
            bucket = super().delete_bucket(bucket_name)
            if bucket is not None:
                self._readopted.discard(bucket_name)
                shutil.rmtree(path(bucket_name))
        return bucket

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        """Refuse versions: one file cannot be several."""
        if status == "Enabled":
            raise UnsupportedByFilesError(
                f"The local S3 keeps no versions: the bucket {bucket_name} cannot be versioned"
            )
        super().put_bucket_versioning(bucket_name, status)

    def put_bucket_notification_configuration(self, bucket_name: str, notification_config: dict[str, Any]) -> None:
        """Tell queues and topics; nobody else runs here."""
        for target in ("CloudFunctionConfiguration", "EventBridgeConfiguration"):
            if target in notification_config:
                raise UnsupportedByFilesError(f"The local S3 does not send notifications to a {target}")
        notifications.check(bucket_name, notification_config)
        super().put_bucket_notification_configuration(bucket_name, notification_config)

    def put_bucket_inventory_configuration(self, bucket_name: str, *args: Any, **kwargs: Any) -> None:
        """Refuse: no inventory would be written."""
        raise UnsupportedByFilesError(f"The local S3 writes no inventories: {bucket_name}")

    def put_object(
        self,
        bucket_name: str,
        key_name: str,
        value: Any,
        *args: Any,
        describe: Callable[[FakeKey], None] | None = None,
        **kwargs: Any,
    ) -> FakeKey:
        """Write one object; nobody ever sees a part of it.

        Args:
            bucket_name: The bucket.
            key_name: The key.
            value: The bytes.
            args: As moto's.
            describe: Completes the object before what is known of it is kept.
            kwargs: As moto's.

        Raises:
            UnsupportedByFilesError: The key cannot be a file, or is at the place of another object's folder or file.
        """
        if self.get_bucket(bucket_name).is_versioned:
            raise UnsupportedByFilesError(
                f"The local S3 keeps no versions: the bucket {bucket_name} cannot be versioned"
            )
        if kwargs.get("multipart") is not None:
            kwargs["disable_notification"] = True  # of an upload's end and of a copy, moto tells by itself
        file = path(bucket_name, key_name)
        if key_name.endswith("/") and len(value):
            raise UnsupportedByFilesError(f"The local S3 cannot keep bytes in the folder marker {key_name!r}")
        staged = value if isinstance(value, _Staged) else _Staged(_blocks(value))
        try:
            with _changes:
                self._make_room(bucket_name, key_name, file)
                key = super().put_object(bucket_name, key_name, staged, *args, **kwargs)  # type: ignore[arg-type]
                if describe is not None:
                    describe(key)
                self.record(bucket_name, key_name)
        finally:
            staged.discard()
        return key

    def _make_room(self, bucket_name: str, key_name: str, file: Path) -> None:
        """Refuse a key at the place of a folder with objects, below an object, or of another key's file."""
        if not key_name.endswith("/") and file.is_dir():
            _remove_empty_folders(file)
            if file.is_dir():
                raise UnsupportedByFilesError(
                    f"The local S3 keeps objects as files: {key_name!r} cannot be written beside the objects below it"
                )
        root = path(bucket_name)
        if self._folds_case:
            _check_spelling(root, file)
        if not key_name.endswith("/") and file.parent.is_dir():
            return
        for parent in (file, *file.parents) if key_name.endswith("/") else file.parents:
            if parent == root:
                break
            if parent.is_file():
                raise UnsupportedByFilesError(
                    f"The local S3 keeps objects as files: {key_name!r} cannot be written beside the object "
                    f"{parent.relative_to(root).as_posix()!r}"
                )

    def get_object(self, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> FakeKey | None:
        """Find an object; one whose file is gone is gone."""
        if kwargs.get("part_number"):
            raise UnsupportedByFilesError("The local S3 forgets the parts of an upload: partNumber is not supported")
        key = super().get_object(bucket_name, key_name, *args, **kwargs)
        if isinstance(key, StoredKey) and not key.path.exists():
            self.adopt(bucket_name, key_name)
            return None
        return key

    def list_objects(self, bucket: FakeBucket, prefix: str | None, *args: Any, **kwargs: Any) -> Any:
        """List objects, and what others have written meanwhile; every kind of listing ends here."""
        if _writers:
            self.adopt(bucket.name, prefix or "")
        return super().list_objects(bucket, prefix, *args, **kwargs)

    def delete_object(self, bucket_name: str, key_name: str, *args: Any, **kwargs: Any) -> tuple[bool, dict[str, Any]]:
        """Delete an object, its file and the folders that are empty without it."""
        with _changes:
            key = self.get_bucket(bucket_name).keys.get(key_name)
            result = super().delete_object(bucket_name, key_name, *args, **kwargs)
            if isinstance(key, StoredKey):
                self._index.forget(bucket_name, key_name)
                if not key.is_folder:
                    key.path.unlink(missing_ok=True)
                self._prune(bucket_name, key.path if key.is_folder else key.path.parent)
        return result

    def _prune(self, bucket_name: str, folder: Path) -> None:
        root, keys = path(bucket_name), self.get_bucket(bucket_name).keys
        while folder != root and f"{folder.relative_to(root).as_posix()}/" not in keys:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def record(self, bucket_name: str, key_name: str) -> None:
        """Keep what is known about an object, if there is one."""
        bucket = self.buckets.get(bucket_name)
        key = bucket.keys.get(key_name) if bucket else None
        if isinstance(key, StoredKey):
            tags = self.tagger.get_tag_dict_for_resource(key.arn)
            self._index.record(bucket_name, key_name, key.stamp, {**key.facts(), "tags": tags})

    def adopt(self, bucket_name: str, prefix: str = "") -> None:
        """See :func:`adopt`."""
        root = path(bucket_name)
        if bucket_name not in self.buckets:
            if not root.is_dir():
                raise MissingBucket(bucket=bucket_name)
            super().create_bucket(bucket_name, REGION)
            self._readopted.add(bucket_name)
        with _changes:
            keys = self.get_bucket(bucket_name).keys
            known = self._index.under(bucket_name, prefix)
            found = _files(root, prefix)
            found.update({key: Stamp(0, 0) for key in known if key.endswith("/") and path(bucket_name, key).is_dir()})
            for name, stamp in found.items():
                present = keys.get(name)
                if isinstance(present, StoredKey) and present.stamp == stamp:
                    continue
                keys.setlist(name, [self._adopted(bucket_name, name, stamp, known.get(name))])
            for name in [name for name in {*keys, *known} if name.startswith(prefix) and name not in found]:
                self._index.forget(bucket_name, name)
                if name in keys:
                    keys.pop(name)

    def _adopted(self, bucket: str, name: str, stamp: Stamp, row: tuple[Stamp, dict[str, Any]] | None) -> StoredKey:
        key = StoredKey(
            name, stamp, bucket_name=bucket, account_id=self.account_id, region_name=self.region_name, version_id="null"
        )
        if row and row[0] == stamp:
            key.restore_facts(row[1])
            self.tagger.tag_resource(key.arn, self.tagger.convert_dict_to_tags_input(row[1].get("tags")))
        return key


def _files(root: Path, prefix: str) -> dict[str, Stamp]:
    """Key and stamp of every file of a bucket whose key starts with a prefix."""
    folder = root / prefix.rpartition("/")[0]
    found = {}
    for parent, _, names in os.walk(folder):
        below = Path(parent).relative_to(root).as_posix()
        for name in names:
            key = name if below == "." else f"{below}/{name}"
            if key.startswith(prefix):
                # A job that still writes may have moved or removed it since the folder was listed.
                with contextlib.suppress(FileNotFoundError):
                    status = (root / key).stat()
                    found[key] = Stamp(status.st_size, status.st_mtime_ns)
    return found


def _check_spelling(root: Path, file: Path) -> None:
    """Refuse a path whose file or folder is there under another spelling: this disk has one for both.

    Raises:
        UnsupportedByFilesError: It is.
    """
    for place in (file, *file.parents):
        if place == root:
            return
        if place.exists() and place not in place.parent.iterdir():
            raise UnsupportedByFilesError(
                f"The local S3 keeps objects as files, and this disk takes {place.relative_to(root).as_posix()!r} for "
                "what is there in other letters: use the same case"
            )


def _remove_empty_folders(folder: Path) -> None:
    """Remove a tree of folders as far as it holds no files."""
    for parent, _, _ in os.walk(folder, topdown=False):
        try:
            Path(parent).rmdir()
        except OSError:
            continue
