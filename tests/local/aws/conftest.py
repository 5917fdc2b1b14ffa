"""What the tests of Athena and of the catalog share: an endpoint in this process and shorthands for boto3."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from moto.core.base_backend import BackendDict

from local.aws.server import Server
from local.aws.settings import Settings, client

BUCKET = "test-lake"
RESULTS = f"s3://{BUCKET}/results/"


class Athena:
    """Runs statements through boto3.

    Attributes:
        state: The folder of the stack.
        client: Of Athena.
        glue: The client of the catalog.
        s3: The client of the lake.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state: Path = server.settings.state
        self.client, self.glue, self.s3 = client("athena"), client("glue"), client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.run("CREATE DATABASE shop", database="default")

    def start(self, sql: str, *, database: str = "shop", output: str | None = RESULTS, **request: Any) -> str:
        configuration = {"ResultConfiguration": {"OutputLocation": output}} if output else {}
        started = self.client.start_query_execution(
            QueryString=sql, QueryExecutionContext={"Database": database}, **configuration, **request
        )
        return started["QueryExecutionId"]

    def describe(self, execution: str) -> dict[str, Any]:
        return self.client.get_query_execution(QueryExecutionId=execution)["QueryExecution"]

    def wait(self, execution: str, *states: str) -> dict[str, Any]:
        wanted = states or ("SUCCEEDED", "FAILED", "CANCELLED")
        deadline = time.monotonic() + 60
        while (described := self.describe(execution))["Status"]["State"] not in wanted:
            assert time.monotonic() < deadline, described
            time.sleep(0.005)
        return described

    def end(self, sql: str, **request: Any) -> dict[str, Any]:
        return self.wait(self.start(sql, **request))

    def run(self, sql: str, **request: Any) -> dict[str, Any]:
        described = self.end(sql, **request)
        assert described["Status"]["State"] == "SUCCEEDED", described["Status"]
        return described

    def fail(self, sql: str, **request: Any) -> str:
        described = self.end(sql, **request)
        status = described["Status"]
        assert status["State"] == "FAILED", sql
        assert status["AthenaError"]["ErrorMessage"] == status["StateChangeReason"]
        return status["StateChangeReason"]

    def results(self, execution: str, **request: Any) -> dict[str, Any]:
        return self.client.get_query_results(QueryExecutionId=execution, **request)

    def table(self, sql: str, **request: Any) -> list[list[str | None]]:
        """All rows of a statement, without the header of a query."""
        described = self.run(sql, **request)
        pages = self.client.get_paginator("get_query_results").paginate(QueryExecutionId=described["QueryExecutionId"])
        rows = [
            [datum.get("VarCharValue") for datum in row["Data"]] for page in pages for row in page["ResultSet"]["Rows"]
        ]
        return rows[1:] if described["StatementType"] == "DML" else rows

    def row(self, sql: str, **request: Any) -> list[str | None]:
        (row,) = self.table(sql, **request)
        return row

    def put(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    def put_parquet(self, key: str, sql: str) -> None:
        """The rows of a DuckDB query as a Parquet object."""
        staged = self.state / "staged.parquet"
        duckdb.execute(f"COPY ({sql}) TO '{staged}' (FORMAT parquet)")
        self.put(key, staged.read_bytes())

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for found in listed.get("Contents", [])]


@pytest.fixture(scope="module", autouse=True)
def nothing_is_built() -> None:
    """No backend that another test's moto has left in this process: ours are plugged before the first use."""
    BackendDict.reset()


@pytest.fixture(scope="module")
def athena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Athena]:
    """An endpoint of this module's own with the database ``shop`` and an empty lake."""
    server = Server(Settings(tmp_path_factory.mktemp("athena") / "state", 0)).start()
    yield Athena(server)
    server.stop()
