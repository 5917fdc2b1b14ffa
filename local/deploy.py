"""Puts the Glue jobs where Glue finds them: their scripts, and one zip of the modules that they import.

The key has the content's hash, which the template takes as a parameter: a deployment never changes what a run, or a
retry of it, has begun with. `python -m local.deploy --help`
"""

import argparse
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODULES = "modules.zip"
SHIPPED = ("jobs", "tables", "transforms")
"""Folders of `include` that the jobs import from."""

_SUFFIXES = {".py", ".yaml"}
_ENTRY = 'if __name__ == "__main__":'


@cache
def files() -> dict[str, bytes]:
    """What is to be uploaded: name to content; the same sources give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(_modules()):
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    jobs = sorted((ROOT / "include" / "jobs").glob("*.py"))
    scripts = {file.name: file.read_bytes() for file in jobs if _ENTRY in file.read_text(encoding="utf-8")}
    return {**scripts, MODULES: packed.getvalue()}


def version() -> str:
    """A name for this content."""
    digest = hashlib.sha256()
    for name, content in files().items():
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def upload(s3: Any, bucket: str) -> str:
    """Uploads the jobs below `jobs/<version>/`.

    Args:
        s3: A boto3 client.
        bucket: The lake.

    Returns:
        The version.
    """
    for name, content in files().items():
        s3.put_object(Bucket=bucket, Key=f"jobs/{version()}/{name}", Body=content)
    return version()


def _modules() -> Iterator[tuple[str, Path]]:
    """Names in the zip, and the files."""
    yield "include/__init__.py", ROOT / "include" / "__init__.py"
    for folder in SHIPPED:
        yield from _package(ROOT / "include" / folder, f"include/{folder}")
    # Glue has no narwhals; it has no dependencies of its own.
    narwhals = importlib.util.find_spec("narwhals")
    if narwhals is None or narwhals.origin is None:
        raise ModuleNotFoundError("narwhals is not installed; it is in the dependency group glue")
    yield from _package(Path(narwhals.origin).parent, "narwhals")


def _package(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for file in folder.rglob("*"):
        if file.suffix in _SUFFIXES:
            yield f"{name}/{file.relative_to(folder).as_posix()}", file


def main() -> None:
    """Uploads the jobs to a lake in AWS and prints the version, the template's parameter JobsVersion."""
    parser = argparse.ArgumentParser(prog="python -m local.deploy", description=main.__doc__)
    parser.add_argument("bucket", nargs="?", help="the lake; without it, nothing is uploaded")
    bucket = parser.parse_args().bucket
    if bucket:
        import boto3

        upload(boto3.client("s3"), bucket)
    print(version())


if __name__ == "__main__":
    main()
