"""A clickstream, really sent: what the producer put, what is in it by plain arithmetic, and when all of it is done."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from include.streams_lake.publish import REJECTS
from include.streams_lake.streams import CLICKSTREAM, SPEED
from include.tables import contract
from local.produce import Options, produce
from tests.dags import stream_runs
from tests.streams import client

STREAM = "vitrine-clickstream"
TEN, ELEVEN = "2026-03-05T10", "2026-03-05T11"
"""Event hours of what is sent; in the first, some came too late for the speed layer."""
LATE = 12
_FIELDS = ("custid", "trafficfrom", "url", "device", "touchproduct", "trans_timestamp")
_PATIENCE = 120


class Recorder:
    """A Kinesis client that keeps what was put."""

    def __init__(self) -> None:
        self._kinesis = boto3.client("kinesis", config=Config(retries={"max_attempts": 0}))
        self.taken: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kinesis, name)

    def put_records(self, **request: Any) -> Any:
        answer = self._kinesis.put_records(**request)
        for record, result in zip(request["Records"], answer["Records"], strict=True):
            if "ErrorCode" not in result:
                self.taken.append(record["Data"])
        return answer


@dataclass
class Sent:
    """What was put, and when it arrived.

    Attributes:
        data: The records, in order.
        late: Those of them that came long after their windows had closed.
        poison: How many can't be read.
        arrived: The start of the hour in which all of them arrived.
    """

    data: list[bytes] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    poison: int = 0
    arrived: datetime = datetime.min

    @property
    def clicks(self) -> list[dict[str, Any]]:
        """The distinct clicks."""
        found = {}
        for one in self.data:
            try:
                value = json.loads(one)
            except ValueError:
                continue
            if isinstance(value, dict) and set(value) == set(_FIELDS) and isinstance(value["custid"], int):
                found[json.dumps(value, sort_keys=True)] = value
        return list(found.values())


def send(state: Path) -> Sent:
    """Puts clicks of two hours with duplicates, disorder and poison, then late ones, and waits for both layers."""
    _wait_for_room()
    recorder, sent = Recorder(), Sent()
    sent.arrived = stream_runs.this_hour()
    wrong = {"duplicates": 0.1, "disorder": 2, "poison": 0.01}
    for seed, start, count in ((11, f"{TEN}:58:20", 1200), (12, f"{ELEVEN}:03:00", 800)):
        report = produce(
            state, recorder, Options("clickstream", 0, count, False, {"start": start, "seed": seed, **wrong})
        )
        sent.poison += sum(report["poison"].values())
    moments = (datetime.fromisoformat(f"{TEN}:58:30") + timedelta(milliseconds=number) for number in range(LATE))
    sent.late = [
        dict(zip(_FIELDS, (900_000 + number, "ads", "/late", "browser", 0, moment.isoformat()), strict=True))
        for number, moment in enumerate(moments)
    ]
    put(sent.late, recorder)
    sent.data = recorder.taken
    settle()
    return sent


def put(clicks: Iterable[dict[str, Any]], kinesis: Any = None) -> None:
    """Puts clicks as they are."""
    records = [{"Data": json.dumps(click).encode(), "PartitionKey": str(click["custid"])} for click in clicks]
    answer = (kinesis or client("kinesis")).put_records(StreamName=STREAM, Records=records)
    assert not answer["FailedRecordCount"]


def _wait_for_room() -> None:
    """So that what is sent now arrives within one hour."""
    left = 3600 - time.time() % 3600
    if left < _PATIENCE / 4:
        time.sleep(left)


def settle() -> None:
    """Waits until everything put is in the lake and in the speed layer."""
    stream_runs.deliver("clickstream")
    deadline = time.monotonic() + _PATIENCE
    while behind() > 0:
        assert time.monotonic() < deadline, "the functions don't keep up"
        time.sleep(0.1)


def behind() -> float:
    """How many seconds the slowest reader of the stream is behind at this moment."""
    now = datetime.now(UTC)
    points = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Kinesis",
        MetricName="GetRecords.IteratorAgeMilliseconds",
        Dimensions=[{"Name": "StreamName", "Value": STREAM}],
        StartTime=now.replace(microsecond=0),
        EndTime=now + timedelta(seconds=1),
        Period=1,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max((point["Maximum"] for point in points), default=0.0) / 1000


def sessions(clicks: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Customer, device, minute, events, first and last page of each session."""
    found: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for click in clicks:
        key = str(click["custid"]), click["device"], click["trans_timestamp"][:16]
        found[key].append((click["trans_timestamp"], click["url"]))
    return sorted((*key, str(len(of)), min(of)[1], max(of)[1]) for key, of in found.items())


def visitors(clicks: Iterable[dict[str, Any]], seconds: int) -> Counter[tuple[str, str]]:
    """Window's start and page → customers."""
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for click in clicks:
        moment = datetime.fromisoformat(click["trans_timestamp"])
        start = moment.replace(second=moment.second - moment.second % min(seconds, 60), microsecond=0)
        seen[start.isoformat(" "), click["url"]].add(click["custid"])
    return Counter({key: len(customers) for key, customers in seen.items()})


def sources(clicks: Iterable[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """Minute and source → clicks."""
    return Counter((click["trans_timestamp"][:16].replace("T", " "), click["trafficfrom"]) for click in clicks)


def clear() -> None:
    """Takes the clickstream's tables out of the catalog; raw files stay."""
    glue = client("glue")
    names = (CLICKSTREAM.bronze, *CLICKSTREAM.refined, *SPEED, REJECTS, "reconcile")
    for table in map(contract.load, names):
        try:
            glue.delete_table(DatabaseName=table.database, Name=table.name)
        except glue.exceptions.EntityNotFoundException:
            continue
