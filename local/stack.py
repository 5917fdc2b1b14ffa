"""The local stack as one thing: start it, know that it runs, ask how it is, stop it.

A running stack holds a lock on `<state>/pid` for as long as its process lives, however that ends. The file says which
process it is and where it listens; without the lock, it is what a crash left behind.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from local import airflow
from local.aws import settings
from local.aws.settings import Image, Settings
from local.snowflake import tls

REPOSITORY = Path(__file__).resolve().parents[1]
LAKE = "vitrine-lake"
IMAGES = {
    "vitrine-algorithms": Image(
        command=(str(REPOSITORY / ".venv-algorithms" / "bin" / "python"), "-m", "include.algorithms"),
        workdir=REPOSITORY,
        environment={"PYTHONPATH": str(REPOSITORY)},
    )
}
START_SECONDS = 120
STOP_SECONDS = 30


class StackError(RuntimeError):
    """What the user asked of the stack cannot be done; the message says what to do instead."""


@dataclass(frozen=True)
class Running:
    """A stack that runs.

    Attributes:
        pid: Its process.
        port: Port of the AWS endpoint.
        snowflake_port: Port of the Snowflake endpoint.
    """

    pid: int
    port: int
    snowflake_port: int

    @property
    def endpoint(self) -> str:
        """URL of the AWS endpoint."""
        return f"http://{settings.LOOPBACK}:{self.port}"

    @property
    def search_url(self) -> str:
        """URL of the search server: OpenSearch's API."""
        return self.endpoint + settings.SEARCH


# ------------------------------------------------------------------------------------------------------------ running


def running(state: Path) -> Running | None:
    """The stack that runs on this state, or ``None``; also ``None`` while it still starts."""
    try:
        with (state / "pid").open("r+") as file:
            if _lock(file):
                return None
            described = json.load(file)
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return Running(**described) if described.get("snowflake_port") else None


def require_running(state: Path) -> Running:
    """The stack that runs on this state.

    Raises:
        StackError: None does.
    """
    stack = running(state)
    if stack is None:
        raise StackError(f"No stack runs on {state}: start it with `python -m local up`")
    return stack


def _lock(file: IO[str], patience: float = 0.0) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


@contextlib.contextmanager
def _owned(state: Path) -> Iterator[IO[str]]:
    """Own the state until the end of the block, or of the process.

    Raises:
        StackError: Another process does.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "pid").open("a+") as file:
        # Whoever only asks whether a stack runs holds the lock for a moment too.
        if not _lock(file, patience=1):
            raise _already_running(state)
        try:
            yield file
        finally:
            (state / "env").unlink(missing_ok=True)
            # Emptied and not removed: somebody may wait for the lock of this very file.
            file.truncate(0)


def _already_running(state: Path) -> StackError:
    stack = running(state)
    which = (
        f"pid {stack.pid}, AWS on port {stack.port}, Snowflake on port {stack.snowflake_port}" if stack else "starting"
    )
    return StackError(f"A stack already runs on {state} ({which}): stop it with `python -m local down`")


def _describe(file: IO[str], facts: dict[str, Any]) -> None:
    file.truncate(0)
    file.write(json.dumps(facts))
    file.flush()


# ----------------------------------------------------------------------------------------------------------------- up


def up(state: Path, host: str, port: int, snowflake_port: int, images: dict[str, Image]) -> None:
    """Run a stack until it is told to stop (SIGTERM, SIGINT, SIGHUP) or one of its servers ends.

    Args:
        state: Where everything is kept; created when missing.
        host: The address both endpoints listen on: 127.0.0.1 or 0.0.0.0.
        port: Port of the AWS endpoint; 0 picks a free one.
        snowflake_port: Port of the Snowflake endpoint; 0 picks a free one.
        images: Image name to what stands in for it, in addition to `IMAGES`.

    Raises:
        StackError: A stack already runs on this state, a port is taken, or a server didn't start or ended.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # a profile or a region of the user's own account has no meaning here
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with _owned(state) as file:
        _describe(file, {"pid": os.getpid()})
        (state / "logs").mkdir(exist_ok=True)
        configuration = Settings(state, _free_port(host, port, "--port"), {**IMAGES, **images}, host)
        snowflake_port = _free_port(host, snowflake_port, "--snowflake-port")
        # moto takes seconds to import, and only a stack that starts needs it.
        from local.endpoints import EndpointError, Endpoints

        try:
            with Endpoints(configuration, snowflake_port, stop) as endpoints:
                stack = Running(os.getpid(), configuration.port, snowflake_port)
                _write_environment(state, shell_environment(state, stack))
                _describe(file, asdict(stack))
                print(_welcome(state, stack), flush=True)
                while not stop.wait(0.5):
                    endpoints.check()
        except EndpointError as error:
            raise StackError(str(error)) from error


def detach(state: Path, host: str, port: int, snowflake_port: int, images: list[str]) -> Running:
    """Start a stack in a process of its own and wait until it is ready.

    Args:
        state: As for :func:`up`.
        host: As for :func:`up`.
        port: As for :func:`up`.
        snowflake_port: As for :func:`up`.
        images: ``NAME=COMMAND`` for each image.

    Returns:
        The stack, which runs.

    Raises:
        StackError: It didn't start; the message is what it said.
    """
    if running(state):
        raise _already_running(state)
    log = state / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "local", "up", "--state", str(state), "--host", host]
    command += ["--port", str(port), "--snowflake-port", str(snowflake_port)]
    command += [argument for image in images for argument in ("--image", image)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=Path.cwd(),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while (stack := running(state)) is None:
        if process.poll() is not None:
            raise StackError(log.read_text().strip() or f"The stack ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            process.terminate()
            raise StackError(f"The stack was not ready after {START_SECONDS} s; its log: {log}")
        time.sleep(0.1)
    print(_welcome(state, stack), flush=True)
    return stack


def _welcome(state: Path, stack: Running) -> str:
    return (
        f"The local stack runs on {state}\n"
        f"  AWS        {stack.endpoint}\n"
        f"  Snowflake  https://localhost:{stack.snowflake_port}\n"
        f"Let a shell use it:  source {shlex.quote(str(state / 'env'))}"
    )


def _free_port(host: str, port: int, option: str) -> int:
    """A port nobody listens on: the wanted one, or any for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"Port {port} cannot be used ({error.strerror}): choose another with {option}, or 0 for any free one"
            ) from error
        return probe.getsockname()[1]


# --------------------------------------------------------------------------------------------------------------- down


def down(state: Path) -> Running:
    """Stop the stack and every process it started; its data stays.

    Returns:
        The stack that ran.

    Raises:
        StackError: None did.
    """
    stack = require_running(state)
    process = psutil.Process(stack.pid)
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for survivor in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return stack


# -------------------------------------------------------------------------------------------------------- environment


def environment(state: Path, stack: Running) -> dict[str, str]:
    """What the process of a DAG needs to use the stack as if it were AWS and Snowflake, and nothing else."""
    from local.snowflake import connection

    return {
        **aws_environment(stack.endpoint),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws", "extra": {"region_name": settings.REGION}}),
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": connection.airflow_connection(stack.snowflake_port, state),
        "AIRFLOW_VAR_VITRINE_LAKE": LAKE,
        "AIRFLOW_VAR_VITRINE_SEARCH_URL": stack.search_url,
        "SEARCH_URL": stack.search_url,
        **connection.environment(state),
    }


def shell_environment(state: Path, stack: Running) -> dict[str, str]:
    """What lets a shell's `airflow` run the DAGs of this repository on the stack."""
    return {**environment(state, stack), **airflow.settings(state)}


def aws_environment(endpoint: str) -> dict[str, str]:
    """What any AWS SDK needs to use an endpoint of the local stack."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": settings.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": settings.SECRET_KEY,
        "AWS_DEFAULT_REGION": settings.REGION,
    }


def _write_environment(state: Path, variables: dict[str, str]) -> None:
    """Write what a shell can source, in one step."""
    staged = state / "env.new"
    staged.write_text("".join(f"export {name}={_quoted(value)}\n" for name, value in variables.items()))
    staged.replace(state / "env")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


# ------------------------------------------------------------------------------------------------------------- status


@dataclass(frozen=True)
class Health:
    """How a running stack is.

    Attributes:
        aws: Whether the AWS endpoint answers.
        snowflake: Whether the Snowflake endpoint answers.
        buckets: Number of objects and of bytes of each bucket.
    """

    aws: bool
    snowflake: bool
    buckets: dict[str, tuple[int, int]]

    @property
    def good(self) -> bool:
        """Whether everything answers."""
        return self.aws and self.snowflake


def health(state: Path, stack: Running) -> Health:
    """Ask a running stack how it is."""
    return Health(
        aws=_aws_answers(state, stack),
        snowflake=snowflake_answers(state, stack.snowflake_port),
        buckets={folder.name: _size(folder) for folder in sorted((state / "s3").iterdir())},
    )


def _aws_answers(state: Path, stack: Running) -> bool:
    try:
        with urllib.request.urlopen(stack.endpoint + settings.HEALTH, timeout=5) as response:  # noqa: S310 - our own URL
            return Path(json.load(response)["state"]) == state
    except (OSError, ValueError):
        return False


def snowflake_answers(state: Path, port: int) -> bool:
    """Whether the local Snowflake of this state, known by its certificate, answers at the port."""
    context = ssl.create_default_context(cafile=str(tls.certificates(state).authority))
    try:
        with urllib.request.urlopen(f"https://localhost:{port}/health", timeout=5, context=context):
            return True
    except OSError:
        return False


def _size(bucket: Path) -> tuple[int, int]:
    files = [file for file in bucket.rglob("*") if file.is_file()]
    return len(files), sum(file.stat().st_size for file in files)
