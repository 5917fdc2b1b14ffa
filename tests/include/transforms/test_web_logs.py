from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa
import pytest

from include.jobs import records
from include.streams import apache, weblogs
from include.transforms import web_logs
from local.data import web_logs as generator

START = datetime(2026, 3, 1, 10, 59, tzinfo=UTC)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """Lines of two hours; each fifth twice."""
    made = [line.encode() for line in islice(generator.lines(3, 0, START, timedelta(seconds=1)), 200)]
    return made + made[::5]


@pytest.fixture(scope="module")
def bronze(lines) -> pl.DataFrame:
    rows = [records.WEB_LOGS.parse(line, 0) for line in lines]
    return pl.from_arrow(pa.Table.from_pylist(rows, records.WEB_LOGS.columns))


def test_a_line_is_what_the_parser_makes_of_it(lines, bronze):
    for line, row in zip(lines, bronze.iter_rows(named=True), strict=True):
        entry = apache.parse(line)
        assert row.pop("event_time") == entry.time.replace(tzinfo=None)
        assert row.pop("remote_user") == entry.user
        assert row.pop("line_id") == weblogs._digest(line)
        assert row == {name: getattr(entry, name) for name in row}


def test_the_columns_are_the_parsers():
    assert set(web_logs.ENTRY) == set(records.WEB_LOGS.columns.names)


def test_requests_by_status_and_by_page(engine, lines, bronze):
    requests = engine.give(web_logs.web_logs(engine.take(bronze)))
    assert requests.height == len(set(lines))
    assert requests["copies"].sum() == len(lines)
    entries = [apache.parse(line) for line in lines]
    made = engine.take(requests)

    statuses = engine.give(web_logs.status_requests(made))
    expected = Counter((entry.status, f"{entry.time:%H}") for entry in entries)
    assert {(row["status"], row["hour"]): row["requests"] for row in statuses.iter_rows(named=True)} == expected
    assert statuses["bytes"].sum() == sum(entry.bytes or 0 for entry in entries)
    of_hour = {entry.client for entry in entries if entry.status == 200 and entry.time.hour == 11}
    assert statuses.filter(status=200, hour="11")["clients"].to_list() == [len(of_hour)]

    pages = engine.give(web_logs.page_requests(made))
    expected = Counter((urlsplit(entry.path).path, f"{entry.time:%H}") for entry in entries)
    assert {(row["path"], row["hour"]): row["requests"] for row in pages.iter_rows(named=True)} == expected
    assert pages["errors"].sum() == sum(entry.status >= 400 for entry in entries)
    assert pages["bytes"].sum() == statuses["bytes"].sum()
