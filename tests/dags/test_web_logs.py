"""The web logs' DAG, run for real: lines through stream, function and Firehose, then what the DAG makes of them."""

import os
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from include.streams import search
from local.data import web_logs
from tests.athena import query
from tests.dags import stream_runs
from tests.streams import client

DAG, STREAM, LAKE = "web_logs", "weblogs", "vitrine-lake"
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "apache_access.log"
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"THE PUBLISHED LOG IS NOT HERE: {PUBLISHED}")
LINES = 360
BROKEN = [b"", b"no line at all", b'203.0.113.9 - - [31/Feb/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"']
FOREVER = 36_500
TABLES = (("vitrine_bronze", "log_lines"), ("vitrine_silver", "web_logs"), ("vitrine", "page_requests"))
STATUS, MOMENT = re.compile(rb'" (\d{3}) (?:\d+|-)(?: |$)'), re.compile(rb"\[([^\]]+)\]")


class World:
    """What was sent."""

    def __init__(self) -> None:
        # Three minutes before an hour, and three after it.
        self.start = stream_runs.this_hour() - timedelta(minutes=63)
        made = islice(web_logs.lines(11, 0, self.start, timedelta(seconds=1)), LINES)
        self.made = [line.encode() for line in made]
        # Published in May 2015; its clients ask for the same thing several times within a second.
        self.published = PUBLISHED.read_bytes().splitlines() if PUBLISHED.exists() else []
        self.repeated = self.made[::9]

    @property
    def lines(self) -> list[bytes]:
        """All sound lines, each as often as it was written."""
        return [*self.made, *self.published]

    def send(self) -> None:
        """Puts everything, some of it twice, and waits for both ways to take it."""
        placed = [(line.split(b" ", 1)[0].decode() + f"#{number}", line) for number, line in enumerate(self.lines)]
        again = [(key, line) for key, line in placed if line in set(self.repeated)]
        broken = [(str(number), line or b" ") for number, line in enumerate(BROKEN)]
        stream_runs.put(STREAM, [*reversed(placed), *again, *broken])
        stream_runs.eventually(self.documents, len(self.lines))
        stream_runs.deliver(STREAM)
        self.date = stream_runs.after(stream_runs.this_hour())

    def documents(self) -> int:
        index = server()
        index.indices.refresh(index=search.INDICES)
        return index.count(index=search.INDICES)["count"]

    def requests(self) -> Counter[str]:
        """Requests of each hour, as 2026-03-01T10."""
        return Counter(f"{moment(line):%Y-%m-%dT%H}" for line in [*self.lines, *self.repeated])

    def server_errors(self) -> int:
        """Generated requests that the server failed to answer, those sent again counted."""
        return sum(STATUS.search(line)[1] >= b"500" for line in [*self.made, *self.repeated])


def server():
    return search.connect(os.environ["SEARCH_URL"])


def moment(line: bytes) -> datetime:
    return datetime.strptime(MOMENT.search(line)[1].decode(), "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)


def report(day: str) -> str:
    return client("s3").get_object(Bucket=LAKE, Key=f"reports/web_logs/{day}.html")["Body"].read().decode()


@pytest.fixture(scope="module")
def world(stack):
    sent = World()
    sent.send()
    return sent


@pytest.fixture(scope="module")
def first(world, run_dag):
    outcome = run_dag(DAG, world.date, hours=4, retention_days=FOREVER, least_requests=1_000)
    assert set(outcome.tasks.values()) == {"success"}, outcome.tasks
    return outcome


def test_every_request_is_in_the_lake(world, first):
    sql = "SELECT concat(cast(dt AS varchar), 'T', hour), sum(copies) FROM vitrine_silver.web_logs GROUP BY 1"
    assert {hour: int(count) for hour, count in query(sql)} == world.requests()
    ((distinct,),) = query("SELECT count(*) FROM vitrine_silver.web_logs")
    assert int(distinct) == len(set(world.lines))


def test_broken_lines_are_in_quarantine_with_their_reason(world, first):
    found = query("SELECT record, field FROM vitrine_quarantine.stream_rejects WHERE bronze = 'log_lines'")
    assert len(found) == len(BROKEN)
    assert {field for _, field in found} >= {"time"}


def test_the_index_has_what_the_lake_has(world, first):
    of_hours = dict(line.split(": ", 1) for line in first.xcom("index.judge"))
    assert of_hours.keys() == world.requests().keys()
    assert {line.rpartition(": ")[2] for line in of_hours.values()} == {"equal"}
    documents = Counter(f"{moment(line):%Y-%m-%dT%H}" for line in world.lines)
    assert {hour: int(re.search(r"(\d+) documents", said)[1]) for hour, said in of_hours.items()} == documents


def test_the_server_s_errors_are_counted(world, first):
    recent = [line for line in first.xcom("report.error_rate") if not line.startswith("2015")]
    assert sum(int(line.split(": ")[1].split()[0]) for line in recent) == world.server_errors() > 0


def test_the_report_is_a_page_of_the_day(world, first):
    days = {hour[:10] for hour in world.requests()}
    assert first.xcom("report.write_report") == [f"s3://{LAKE}/reports/web_logs/{day}.html" for day in sorted(days)]
    day = f"{world.start:%Y-%m-%d}"
    page = report(day)
    of_day = [line for line in [*world.lines, *world.repeated] if f"{moment(line):%Y-%m-%d}" == day]
    assert f"<b>{len(of_day):,}</b>requests" in page
    paths = Counter(path for line in of_day if (path := line.split(b'"')[1].split()[1].decode().partition("?")[0]))
    most = min(paths, key=lambda path: (-paths[path], path))
    first_row = re.search(r"<td>1</td><td class=\"text\">([^<]*)</td><td>([\d,]+)</td>", page)
    assert first_row.groups() == (most, f"{paths[most]:,}")
    assert "http" not in page.replace("https://shop", "")


@needs_published
def test_the_published_log_is_all_there(world, first):
    assert sum(count for hour, count in world.requests().items() if hour.startswith("2015")) == len(world.published)
    page = report("2015-05-17")
    assert f"<b>{sum(moment(line).day == 17 for line in world.published):,}</b>requests" in page


@pytest.mark.long
def test_a_document_that_is_gone_is_named_until_it_is_there_again(world, first, run_dag, capfd):
    index, before = server(), stream_runs.partitions(TABLES)
    name = search.index_of(world.start)
    found = index.search(index=name, body={"size": 1, "sort": [{"@timestamp": "asc"}]})["hits"]["hits"][0]
    index.delete(index=name, id=found["_id"])
    index.indices.refresh(index=name)

    outcome = run_dag(DAG, world.date, hours=4, retention_days=FOREVER)
    assert {task for task, state in outcome.tasks.items() if state == "failed"} == {"index.judge"}
    said = capfd.readouterr().out
    assert f"line {found['_source']['line']}: 0 documents of " in said
    gaps = query("SELECT line_id, client, cause FROM vitrine.index_gaps")
    assert gaps == [(found["_source"]["line"], found["_source"]["client"], "missing")]

    index.create(index=name, id=found["_id"], body=found["_source"])
    again = run_dag(DAG, world.date, hours=4, retention_days=FOREVER)
    assert again.state == "success"
    assert {task for task, state in again.tasks.items() if state == "skipped"} >= {"bronze.load", "report.write_report"}
    assert query("SELECT count(*) FROM vitrine.index_gaps") == [("0",)]
    assert stream_runs.partitions(TABLES) == before


@pytest.mark.long
def test_an_interval_without_requests_ends_well_and_drops_what_is_older_than_the_retention(world, first, run_dag):
    outcome = run_dag(DAG, datetime(2026, 2, 1, 5, 10, tzinfo=UTC))
    assert outcome.state == "success"
    assert outcome.xcom("index.judge") == []
    kept = {search.index_of(moment(line)) for line in world.made}
    assert set(server().indices.get(index=search.INDICES)) == kept
