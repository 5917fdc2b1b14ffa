"""A stream's way into the lake, step by step as a DAG takes it, on a lake and a catalog of the tests' own."""

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import boto3
import pytest

from include.jobs import clicks, engine, orders, records, web_logs
from include.lakehouse import candidates
from include.streams.encoding import canonical
from include.streams_lake import publish, raw
from include.streams_lake.streams import CLICKSTREAM, ORDERS, SPEED, STREAMS, WEB_LOGS, Stream
from include.tables import audit, catalog, contract
from tests import athena

LAKE = "lake-of-the-streams"
JOBS: dict[str, tuple[ModuleType, records.Stream]] = {
    CLICKSTREAM.name: (clicks, records.CLICKS),
    ORDERS.name: (orders, records.ORDERS),
    WEB_LOGS.name: (web_logs, records.WEB_LOGS),
}
RULE = {"threshold": 10, "window": 1_000_000, "cooldown": 60_000_000, "unit": "orders"}


@dataclass
class Run:
    """What a run did, step by step."""

    loaded: dict[str, Any] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    snapshot: publish.Snapshot | None = None
    refined: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)


class Lake:
    """The lake, and runs of its streams."""

    def __init__(self) -> None:
        self.s3, self.glue = boto3.client("s3"), boto3.client("glue")
        self._runs = 0

    def deliver(self, stream: Stream, hour: str, name: str, lines: Iterable[Any]) -> str:
        """Puts a raw file as Firehose does; lines are bytes, or JSON values."""
        dt, _, of_day = hour.partition("T")
        key = f"raw/{stream.name}/dt={dt}/hour={of_day}/{name}.gz"
        body = b"".join((line if isinstance(line, bytes) else canonical(line)) + b"\n" for line in lines)
        self.s3.put_object(Bucket=LAKE, Key=key, Body=gzip.compress(body, mtime=0))
        return key

    def version(self) -> str:
        self._runs += 1
        return f"run-{self._runs}"

    def load(self, stream: Stream, since: str, until: str) -> Run:
        """Raw to bronze."""
        run, version = Run(), self.version()
        listed = raw.listing(self.s3, LAKE, stream.name, since, until)
        new = raw.outstanding(listed, catalog.partitions(self.glue, contract.load(stream.bronze)))
        if new:
            run.loaded = records.build(self.s3, JOBS[stream.name][1], raw.described(new), LAKE, version)
            run.arrived = publish.publish_bronze(self.s3, self.glue, LAKE, stream, version, run.loaded, new)
        return run

    def run(self, stream: Stream, since: str, until: str, rebuild: Iterable[str] = (), *, check: bool = False) -> Run:
        """Raw to refined tables."""
        run = self.load(stream, since, until)
        run.snapshot = publish.snapshot(self.glue, stream, until, rebuild)
        if run.snapshot.hours:
            run.refined = self.refine(stream, run.snapshot)
            if check:
                self.check(run.refined)
            run.changed = publish.publish_refined(self.s3, self.glue, LAKE, stream, run.refined, run.snapshot.digests)
        return run

    def refine(self, stream: Stream, snapshot: publish.Snapshot) -> dict[str, Any]:
        """Bronze to refined tables, not published."""
        inputs: dict[str, Any] = {"hours": snapshot.hours, "locations": snapshot.locations}
        if stream is ORDERS:
            inputs |= {"rule": RULE, "alarms": publish.earlier_alarms(self.glue, snapshot.hours)}
        with engine.chosen("polars") as on:
            return JOBS[stream.name][0].refine(on, self.s3, inputs, LAKE, self.version())

    def check(self, report: dict[str, Any]) -> None:
        """Runs the checks of the contracts on what a job wrote."""
        names = {}
        for name, made in report["tables"].items():
            if made["rows_out"]:
                version = made["location"].rstrip("/").rpartition("v=")[2]
                candidates.register(self.glue, contract.load(name), version, made["location"])
                names[name] = f"vitrine_audit.{candidates.name(contract.load(name), version)}"
        for name in names:
            header, values = athena.rows(audit.query(contract.load(name), names))
            verdict = audit.judge(contract.load(name), dict(zip(header, values, strict=True)))
            assert verdict.failures == (), verdict
            assert verdict.rows == report["tables"][name]["rows_out"]

    def clear(self) -> None:
        """Takes all of the streams out of the lake and the catalog."""
        boto3.resource("s3").Bucket(LAKE).objects.all().delete()
        names = {*(stream.bronze for stream in STREAMS.values()), *SPEED, publish.REJECTS, "reconcile"}
        names |= {name for stream in STREAMS.values() for name in stream.refined}
        for table in map(contract.load, names):
            try:
                self.glue.delete_table(DatabaseName=table.database, Name=table.name)
            except self.glue.exceptions.EntityNotFoundException:
                continue


@pytest.fixture(scope="session")
def streams(stack: Any) -> Lake:
    """The lake, with whatever the tests before have left."""
    boto3.client("s3").create_bucket(Bucket=LAKE)
    glue = boto3.client("glue")
    there = {database["Name"] for database in glue.get_databases()["DatabaseList"]}
    for name in {"vitrine_audit", "vitrine_bronze", "vitrine_silver", "vitrine_quarantine"} - there:
        glue.create_database(DatabaseInput={"Name": name})
    return Lake()


@pytest.fixture
def lake(streams: Lake) -> Iterator[Lake]:
    """The lake, empty."""
    streams.clear()
    yield streams
    streams.clear()


@pytest.fixture
def query() -> Callable[[str], list[athena.Row]]:
    return athena.query
