from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.snowflake.running import Server, prepared, restored, running, s3_endpoint


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    with s3_endpoint() as client:
        yield client


@pytest.fixture(scope="session")
def server(s3, tmp_path_factory) -> Iterator[Server]:
    """One server for all modules; `s3` has the lake's bucket."""
    with running(tmp_path_factory.mktemp("snowflake"), s3) as started:
        prepared(started)
        yield started


@pytest.fixture(autouse=True)
def trust():
    """Every connection makes the process trust its server; nobody else is to inherit that."""
    with restored("REQUESTS_CA_BUNDLE"):
        yield


@pytest.fixture
def session(server):
    with server.connect() as opened:
        yield opened


@pytest.fixture
def run(session):
    """Run a statement and return its rows."""

    def fetch(sql: str) -> list[tuple]:
        return session.cursor().execute(sql).fetchall()

    return fetch
