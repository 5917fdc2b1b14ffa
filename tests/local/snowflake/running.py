"""Local Snowflake servers and an S3 endpoint for tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from local.snowflake import connection, setup

ROOT = Path(__file__).parents[3]
BUCKET = "vitrine-lake"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Server:
    """A server process: where it listens, what it keeps, and how to connect to it."""

    port: int
    state: Path
    process: subprocess.Popen

    def connect(self, **options: Any):
        return connection.connect(self.port, self.state, **options)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(30)


def start(state: Path, s3: Any, patience: float = 1.0) -> Server:
    """Start a server on a free port and wait until it says where it listens."""
    command = [sys.executable, "-m", "local.snowflake.server", "--port", "0"]
    environment = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": s3.meta.endpoint_url}
    with (state / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--state", str(state), "--patience", str(patience)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    line = process.stdout.readline()
    assert line.startswith("Snowflake on "), (state / "server.log").read_text()
    return Server(int(line.strip().rpartition(":")[2]), state, process)


@contextmanager
def running(state: Path, s3: Any, patience: float = 1.0) -> Iterator[Server]:
    """A server for the body, and the trust in its authority taken back afterwards."""
    with restored("REQUESTS_CA_BUNDLE"):
        server = start(state, s3, patience)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()


@contextmanager
def s3_endpoint() -> Iterator[Any]:
    """A client of an S3 endpoint of its own, which has the lake's bucket."""
    endpoint = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    endpoint.start()
    host, port = endpoint.get_host_and_port()
    session = boto3.session.Session("test", "test", region_name="us-east-1")
    client = session.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket=BUCKET)
    yield client
    endpoint.stop()


@contextmanager
def restored(*names: str) -> Iterator[None]:
    """Put environment variables back after the body."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def prepared(server: Server) -> None:
    """Create what the pipelines expect of an account."""
    with server.connect(database=None, schema=None) as session:
        setup.set_up(session, BUCKET)
