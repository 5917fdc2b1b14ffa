"""What tests of several rooms share: one local stack for the whole session."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from local import stack as local_stack

REPOSITORY = Path(__file__).resolve().parents[1]
START_SECONDS = 180

# Airflow reads these when it is first imported, by whichever test comes first.
os.environ.update(
    AIRFLOW_HOME=tempfile.mkdtemp(prefix="vitrine-airflow-"),
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    PYTHONPATH=str(REPOSITORY),
)


_TOGETHER = {
    "spark": ("tests/include/transforms/", "tests/include/jobs/test_engine.py", "tests/include/jobs/test_offers.py"),
    "clicks": ("tests/dags/test_kinesis_to_s3.py", "tests/dags/test_speed_reconcile.py"),
}


class Workers(LoadFileScheduling):
    """Gives the tests of a file to one worker, for its fixtures, and files that share more to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((group for group, files in _TOGETHER.items() if file.startswith(files)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Workers:
    """Hook of pytest-xdist."""
    return Workers(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Hook of pytest: compressed bytes may hold the time, and every worker has to name a test alike."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


@dataclass(frozen=True)
class Stack:
    """A running local stack.

    Attributes:
        state: Its folder.
        endpoint: URL of the AWS endpoint.
        env: What a process must have in its environment to use it; this process has.
        process: The stack's process.
    """

    state: Path
    endpoint: str
    env: dict[str, str]
    process: "subprocess.Popen[bytes]"


def start_stack(state: Path, *options: str) -> Stack:
    """Start a stack as a user would, on free ports, and wait until it is ready."""
    state.mkdir(parents=True, exist_ok=True)
    log = state.parent / f"{state.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--state", state, "--port", "0", "--snowflake-port", "0", *options],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + START_SECONDS
    while (running := local_stack.running(state)) is None:
        assert process.poll() is None, f"the stack did not start:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the stack is not ready after {START_SECONDS} s:\n{log.read_text()}"
        time.sleep(0.1)
    return Stack(state, running.endpoint, local_stack.environment(state, running), process)


def stop_stack(stack: Stack) -> None:
    """Stop a stack as an interrupt would."""
    if stack.process.poll() is None:
        stack.process.send_signal(signal.SIGINT)
        stack.process.wait(timeout=60)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One local stack for the session; the environment points at it."""
    started = start_stack(tmp_path_factory.mktemp("stack") / "state")
    before = dict(os.environ)
    os.environ.update(started.env)
    yield started
    os.environ.clear()
    os.environ.update(before)
    stop_stack(started)
