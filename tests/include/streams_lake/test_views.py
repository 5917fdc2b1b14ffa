"""The views over the streams' tables, beside the same question asked of the events."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from include import aws
from include.sql import SQL
from include.streams import apache
from include.streams_lake import tasks
from include.streams_lake.streams import CLICKSTREAM, VIEWS, WEB_LOGS
from local.data import clickstream, web_logs
from tests import athena
from tests.include.streams_lake.conftest import LAKE

START = datetime(2026, 2, 28, 23, 55, tzinfo=UTC)
FROM, UNTIL = "2026-02-28T23", "2026-03-01T01"


@pytest.fixture
def created(lake, monkeypatch):
    """Creates the views of a stream."""
    monkeypatch.setattr(aws, "lake", lambda: LAKE)

    def create(stream):
        for statement in tasks.views.function(stream.name):
            athena.rows(statement)

    return create


def test_every_view_is_of_a_stream():
    files = {file.stem for file in (SQL / "athena" / "views" / "streams").glob("*.sql")}
    assert files == {name for names in VIEWS.values() for name in names}


def test_clicks(lake, created):
    clicks = list(islice(clickstream.clicks(4, 0, START, timedelta(seconds=1)), 500))
    days = defaultdict(list)
    for click in clicks:
        days[click["trans_timestamp"][:10]].append(click)
    for (day, those), hour in zip(days.items(), ("23", "00"), strict=True):
        lake.deliver(CLICKSTREAM, f"{day}T{hour}", "a", those)
    created(CLICKSTREAM)
    assert athena.query("SELECT count(*) FROM vitrine.sessions_now") == [("0",)]
    lake.run(CLICKSTREAM, FROM, UNTIL)
    visitors = athena.query("SELECT dt, visitors, accesses FROM vitrine.visitors_by_day ORDER BY dt")
    assert visitors == [
        (day, str(len({click["custid"] for click in those})), str(len(those))) for day, those in days.items()
    ]
    top = athena.query("SELECT dt, place, product, accesses FROM vitrine.top_products ORDER BY dt, place")
    assert len(top) == 20
    for day, those in days.items():
        touched = Counter(click["touchproduct"] for click in those if click["touchproduct"])
        ranked = sorted(touched.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
        expected = [(day, str(place), str(product), str(n)) for place, (product, n) in enumerate(ranked, start=1)]
        assert [row for row in top if row[0] == day] == expected
    assert athena.query("SELECT sum(events) FROM vitrine.sources_now WHERE layer = 'batch'") == [("500",)]


def test_the_web_servers_day(lake, created):
    lines = [line.encode() for line in islice(web_logs.lines(6, 0, START, timedelta(seconds=1)), 400)]
    lake.deliver(WEB_LOGS, FROM, "a", lines)
    lake.run(WEB_LOGS, FROM, UNTIL)
    created(WEB_LOGS)
    days = defaultdict(list)
    for entry in map(apache.parse, lines):
        days[f"{entry.time:%Y-%m-%d}"].append(entry)
    report = athena.query(
        "SELECT dt, requests, clients, bytes, client_errors + server_errors, error_rate "
        "FROM vitrine.web_report ORDER BY dt"
    )
    for (day, entries), row in zip(sorted(days.items()), report, strict=True):
        errors = sum(entry.status >= 400 for entry in entries)
        sizes = sum(entry.bytes or 0 for entry in entries)
        assert row[:5] == (day, *map(str, (len(entries), len({entry.client for entry in entries}), sizes, errors)))
        assert float(row[5]) == pytest.approx(errors / len(entries), abs=1e-4)
    urls = athena.query("SELECT dt, path, requests FROM vitrine.top_urls WHERE place = 1 ORDER BY dt")
    for (day, entries), row in zip(sorted(days.items()), urls, strict=True):
        paths = Counter(entry.path for entry in entries)
        assert row == (day, *(map(str, min(paths.items(), key=lambda pair: (-pair[1], pair[0])))))
