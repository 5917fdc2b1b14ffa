"""Runs the lakehouse's jobs through the local Glue, on a lake of the tests' own."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from local.data import marketplace, marketplace_dirt

LAKE = "lake-of-the-jobs"
OLIST = Path(__file__).resolve().parents[4] / "shared" / "data" / "olist"


class FailedRunError(AssertionError):
    """A run of a job failed; the message is Glue's."""


class Jobs:
    """The jobs of a stack, as a DAG uses them.

    Args:
        state: The stack's.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.s3, self.glue = boto3.client("s3"), boto3.client("glue")
        self.s3.create_bucket(Bucket=LAKE)

    def run(self, layer: str, version: str, **arguments: Any) -> dict[str, Any]:
        """Runs a job to its end; arguments that are no text are handed over as JSON documents."""
        report = f"s3://{LAKE}/runs/{version}/{layer}.json"
        given = {"--lake": LAKE, "--version": version, "--report": report}
        for name, value in arguments.items():
            uri = value if isinstance(value, str) else self.put_json(f"runs/{version}/{name}.json", value)
            given[f"--{name.replace('_', '-')}"] = uri
        run = self.glue.start_job_run(JobName=f"vitrine-{layer}", Arguments=given)["JobRunId"]
        deadline = time.monotonic() + 300
        while (found := self.glue.get_job_run(JobName=f"vitrine-{layer}", RunId=run)["JobRun"])["JobRunState"] in (
            "STARTING",
            "RUNNING",
        ):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        if found["JobRunState"] != "SUCCEEDED":
            raise FailedRunError(found["ErrorMessage"])
        return self.read_json(report)

    def refine(self, files: list[dict[str, Any]], version: str) -> "Refined":
        """Runs all three, one after the other."""
        refined = Refined(self, version)
        refined.bronze = self.run("bronze", version, files=files)
        refined.silver = self.run("silver", version, inputs=refined.snapshot)
        refined.gold = self.run("gold", version, silver_version=version)
        return refined

    def land(self, files: Iterable[tuple[str, str, Path]], skip: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Uploads files: table, path in the landing zone, path here. Gives what the bronze job is given of them."""
        landed = []
        for table, name, file in files:
            key = f"landing/{name}"
            self.s3.put_object(Bucket=LAKE, Key=key, Body=file.read_bytes())
            found = self.s3.head_object(Bucket=LAKE, Key=key)
            landed.append(
                {
                    "table": table,
                    "key": key,
                    "load_date": Path(name).parent.name,
                    "landed_at": found["LastModified"].isoformat(),
                    "bytes": found["ContentLength"],
                    "etag": found["ETag"].strip('"'),
                    "skip": "the same file as another" if name in skip else None,
                }
            )
        return landed

    def put_json(self, key: str, value: Any) -> str:
        self.s3.put_object(Bucket=LAKE, Key=key, Body=json.dumps(value))
        return f"s3://{LAKE}/{key}"

    def read_json(self, uri: str) -> Any:
        return json.loads(self.path(uri).read_text())

    def path(self, uri: str) -> Path:
        return self.state / "s3" / uri.removeprefix("s3://")

    def rows(self, location: str) -> pl.DataFrame:
        """All rows below a location."""
        return pl.scan_parquet(f"{self.path(location)}/**/*.parquet", hive_partitioning=False).collect()

    def files(self, *prefixes: str) -> dict[str, str]:
        """ETags of the objects below prefixes, by key."""
        found = {}
        for prefix in prefixes:
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=LAKE, Prefix=prefix):
                found |= {item["Key"]: item["ETag"] for item in page.get("Contents", [])}
        return found


@dataclass
class Refined:
    """What the three jobs reported of a version."""

    jobs: Jobs
    version: str
    bronze: dict[str, Any] = field(default_factory=dict)
    silver: dict[str, Any] = field(default_factory=dict)
    gold: dict[str, Any] = field(default_factory=dict)

    @property
    def snapshot(self) -> dict[str, list[str]]:
        """Locations in bronze by table."""
        found: dict[str, list[str]] = {}
        for partition in self.bronze["partitions"]:
            if partition["location"]:
                found.setdefault(partition["table"], []).append(partition["location"])
        return found

    def table(self, layer: str, name: str) -> pl.DataFrame:
        return self.jobs.rows(f"s3://{LAKE}/{layer}/{name}/v={self.version}/")

    def quarantine(self, table: str) -> pl.DataFrame:
        """What silver rejected of a table."""
        return self.jobs.rows(f"s3://{LAKE}/quarantine/{table}/layer=silver/delivery=all/v={self.version}/")


@pytest.fixture(scope="session")
def jobs(stack: Any) -> Jobs:
    return Jobs(stack.state)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[marketplace_dirt.Case, Path]]:
    """The cases of the dirty landing zone, with their files."""
    directory = tmp_path_factory.mktemp("landing")
    return {name: (case, directory / case.file) for name, case in marketplace_dirt.write(directory).items()}


@pytest.fixture(scope="session")
def dirty_files(jobs: Jobs, cases: Any) -> list[dict[str, Any]]:
    """What the bronze job is given of the dirty landing zone."""
    skip = [f"dirty/{case.file}" for case, _ in cases.values() if case.outcome == "skipped"]
    return jobs.land(((case.table, f"dirty/{case.file}", file) for case, file in cases.values()), skip)


@pytest.fixture(scope="session")
def dirty(jobs: Jobs, dirty_files: list[dict[str, Any]]) -> Refined:
    """What the jobs make of the dirty landing zone."""
    return jobs.refine(dirty_files, "dirty-1")


@pytest.fixture(scope="session")
def olist(jobs: Jobs) -> Refined:
    """What the jobs make of the real sample, which has no translations."""
    if not OLIST.exists():
        pytest.skip(f"the sample of Olist is not in {OLIST}")
    tables = [table for table in marketplace.TABLES if table != "category_translation"]
    names = {table: marketplace.file_name(table, "csv") for table in tables}
    files = jobs.land((table, f"olist/2018-09-02/{name}", OLIST / name) for table, name in names.items())
    return jobs.refine(files, "olist-1")
