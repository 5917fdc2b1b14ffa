"""The short way for the S3 requests that data engines make by the thousand: plain PutObject, GetObject and HeadObject.

moto spends several milliseconds on parsing each of them. Whatever isn't plain, or goes wrong, is left to moto.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeBucket, FakeKey
from moto.s3.utils import metadata_from_headers
from moto.utilities.aws_headers import gen_amzn_requestid_long

from local.aws import s3

_Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

_SIGNED_FOR_S3 = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d+/[a-z0-9-]+/s3/aws4_request\b.*")
_HOST_WITHOUT_BUCKET = re.compile(r"(?:localhost|[^.:]+|(?:\d+\.){3}\d+)(?::\d+)?")
_OBJECT = re.compile(r"/([a-z0-9.-]+)/([^?]*[^/?])")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")

# A condition, a tag, a signature in the body …: any header that isn't known to change nothing here makes a request
# unusual.
_UNUSUAL = re.compile(
    r"HTTP_(?:IF_\w+|ORIGIN|CONTENT_ENCODING|TRANSFER_ENCODING|X_MOTO_\w+"
    r"|X_AMZ_(?!(?:DATE|SECURITY_TOKEN|USER_AGENT|CONTENT_SHA256|SDK_CHECKSUM_ALGORITHM"
    r"|CHECKSUM_(?:MODE|CRC32|CRC32C|CRC64NVME|SHA1|SHA256)|META_\w+)$)\w+)"
)


class _Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    content: Iterable[bytes] = ()


def before(application: _Application) -> _Application:
    """Answer plain requests about objects, and pass the others on.

    Args:
        application: moto's.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = _answer(environ)
        if found is None:
            return application(environ, start_response)
        gen_amzn_requestid_long(found.headers)
        start_response(found.status, list(found.headers.items()))
        return found.content

    return answer


def _answer(environ: WSGIEnvironment) -> _Answer | None:
    place = _OBJECT.fullmatch(environ["REQUEST_URI"])
    act = {"GET": _get, "HEAD": _head, "PUT": _put}.get(environ["REQUEST_METHOD"])
    if place is None or act is None or not _is_plain(environ):
        return None
    bucket = s3.backend().buckets.get(place[1])
    if bucket is None or bucket.policy or bucket.logging or bucket.object_lock_enabled or bucket.is_versioned:
        return None
    try:
        return act(bucket, unquote(place[2]), environ)
    except S3ClientError:
        environ["wsgi.input"].seek(0)
        return None


def _is_plain(environ: WSGIEnvironment) -> bool:
    return (
        _SIGNED_FOR_S3.fullmatch(environ.get("HTTP_AUTHORIZATION", "")) is not None
        and _HOST_WITHOUT_BUCKET.fullmatch(environ.get("HTTP_HOST", "")) is not None
        and not environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-")
        and not environ.get(PRESERVED_HEADER_NAMES_ENVIRON_KEY)
        and not any(_UNUSUAL.fullmatch(name) for name in environ)
    )


def _put(bucket: FakeBucket, key: str, environ: WSGIEnvironment) -> _Answer | None:
    algorithm = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM")
    checksum = environ.get(f"HTTP_X_AMZ_CHECKSUM_{algorithm.upper()}") if algorithm else None
    if algorithm and not checksum:
        return None
    sent = {name.removeprefix("HTTP_").replace("_", "-").lower(): value for name, value in environ.items()}

    def describe(stored: FakeKey) -> None:
        stored.set_metadata(metadata_from_headers(sent))
        stored.set_acl(bucket.acl)
        stored.checksum_algorithm = algorithm
        s3.backend().put_object_tagging(stored, None)

    body = environ["wsgi.input"].read()
    stored = s3.backend().put_object(
        bucket.name, key, body, storage="STANDARD", checksum_value=checksum, describe=describe
    )
    headers = {**stored.response_dict, "content-length": "0", "Content-Type": "text/html; charset=utf-8"}
    if algorithm and checksum:
        headers[f"x-amz-checksum-{algorithm.lower()}"] = checksum
    return _Answer("200 OK", headers)


def _head(bucket: FakeBucket, key: str, environ: WSGIEnvironment) -> _Answer | None:
    stored = s3.backend().get_object(bucket.name, key)
    if stored is None or stored.storage_class != "STANDARD" or stored.checksum_type or "HTTP_RANGE" in environ:
        return None
    return _Answer("200 OK", _headers(stored, environ))


def _get(bucket: FakeBucket, key: str, environ: WSGIEnvironment) -> _Answer | None:
    stored = s3.backend().get_object(bucket.name, key)
    wanted = _RANGE.fullmatch(environ["HTTP_RANGE"]) if "HTTP_RANGE" in environ else None
    if stored is None or stored.storage_class != "STANDARD" or stored.checksum_type:
        return None
    if "HTTP_RANGE" in environ and wanted is None:
        return None
    headers, content = _headers(stored, environ), cast(s3.Contents, stored.value)
    if wanted is None:
        return _Answer("200 OK", headers, content)
    first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
    if first > last:
        return None
    part = content[first : last + 1]
    if len(part) < len(content):
        headers = {name: value for name, value in headers.items() if not name.startswith("x-amz-checksum-")}
    headers |= {"content-range": f"bytes {first}-{last}/{len(content)}", "content-length": str(len(part))}
    return _Answer("206 PARTIAL CONTENT", headers, [part])


def _headers(stored: FakeKey, environ: WSGIEnvironment) -> dict[str, Any]:
    headers = {**stored.response_dict, "Accept-Ranges": "bytes"}
    if environ.get("HTTP_X_AMZ_CHECKSUM_MODE") == "ENABLED" and stored.checksum_algorithm:
        headers[f"x-amz-checksum-{stored.checksum_algorithm.lower()}"] = stored.checksum_value
    return {**headers, **stored.metadata}
