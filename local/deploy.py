"""Packs what AWS runs of this repository: the Glue jobs' scripts and modules, and the Lambda functions.

All of it goes below `vitrine/<version>/` of a bucket; the version is a hash of the content and a parameter of the
template, so a deployment never changes what a run, or a retry of it, has begun with.
`python -m local.deploy --help`
"""

import argparse
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
MODULES, FUNCTIONS = "modules.zip", "functions.zip"
JOBS = ("jobs", "tables", "transforms", "streams", "reports")
"""Folders of `include` that the Glue jobs import from."""
BUNDLED = "opensearch-py"
"""What the functions import that Lambda's Python lacks; the dependency group `streams`."""

_SUFFIXES = {".py", ".yaml", ".json", ".pem"}
_SHOWN = {".css", ".html", ".js", ".txt"}  # what pages are made of
_ENTRY = 'if __name__ == "__main__":'


@cache
def files() -> dict[str, bytes]:
    """What is to be uploaded: name to content; the same sources give the same bytes."""
    jobs = sorted((ROOT / "include" / "jobs").glob("*.py"))
    scripts = {file.name: file.read_bytes() for file in jobs if _ENTRY in file.read_text(encoding="utf-8")}
    return {**scripts, MODULES: _zip(_modules()), FUNCTIONS: _zip(_functions())}


@cache
def version() -> str:
    """A name for this content."""
    digest = hashlib.sha256()
    for name, content in files().items():
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def upload(s3: Any, bucket: str) -> str:
    """Uploads what is not there yet below `vitrine/<version>/`.

    Args:
        s3: A boto3 client.
        bucket: Where the template's `CodeBucketName` says.

    Returns:
        The version.
    """
    for name, content in files().items():
        key = f"vitrine/{version()}/{name}"
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            s3.put_object(Bucket=bucket, Key=key, Body=content)
    return version()


def _zip(entries: Iterator[tuple[str, Path]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _modules() -> Iterator[tuple[str, Path]]:
    """Names in the jobs' zip, and the files."""
    yield "include/__init__.py", ROOT / "include" / "__init__.py"
    for folder in JOBS:
        yield from _package(ROOT / "include" / folder, f"include/{folder}", _SUFFIXES | _SHOWN)
    # Glue has no narwhals; it has no dependencies of its own.
    narwhals = importlib.util.find_spec("narwhals")
    if narwhals is None or narwhals.origin is None:
        raise ModuleNotFoundError("narwhals is not installed; it is in the dependency group glue")
    yield from _package(Path(narwhals.origin).parent, "narwhals")


def _functions() -> Iterator[tuple[str, Path]]:
    """Names in the functions' zip, and the files."""
    yield "include/__init__.py", ROOT / "include" / "__init__.py"
    yield from _package(ROOT / "include" / "streams", "include/streams")
    for name in sorted(_required(BUNDLED, set())):
        for file in distribution(name).files or ():
            # What is compiled for this machine stays here; all of these work without.
            if file.suffix in _SUFFIXES and ".." not in file.parts and not file.parts[0].endswith(".dist-info"):
                yield file.as_posix(), Path(str(file.locate()))


def _required(name: str, seen: set[str]) -> set[str]:
    """A distribution and all that it requires."""
    if name not in seen:
        seen.add(name)
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _required(requirement.name.lower(), seen)
    return seen


def _package(folder: Path, name: str, suffixes: set[str] = _SUFFIXES) -> Iterator[tuple[str, Path]]:
    for file in folder.rglob("*"):
        if file.suffix in suffixes:
            yield f"{name}/{file.relative_to(folder).as_posix()}", file


def main() -> None:
    """Uploads the code to a bucket in AWS and prints the version, the template's parameter CodeVersion."""
    parser = argparse.ArgumentParser(prog="python -m local.deploy", description=main.__doc__)
    parser.add_argument("bucket", nargs="?", help="the bucket; without it, nothing is uploaded")
    bucket = parser.parse_args().bucket
    if bucket:
        import boto3

        upload(boto3.client("s3"), bucket)
    print(version())


if __name__ == "__main__":
    main()
