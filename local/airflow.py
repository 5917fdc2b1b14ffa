"""Airflow beside the local stack: its settings, one run in the foreground, and the UI."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
AIRFLOW = Path(sys.executable).with_name("airflow")

STARTED = re.compile(r"\[DAG TEST\] starting task_id=(\S+) map_index=(-?\d+)")
ENDED = re.compile(r"\[DAG TEST\] end task task_id=(\S+)")
STATE = re.compile(r"new_state=(\w+)")
# What a person wants to see of the log: our own code, our Batch jobs, which bring their own time, and errors.
SAID = (
    re.compile(r"^\S+ \[\w+ *\] (.*?) +\[(?:include\.|airflow\.task\.operators\.include\.warehouse\.)"),
    re.compile(r"^\S+ \[\w+ *\] \S+ \S+ \w+ include\.algorithms\.(.*?) +\[airflow\.task\.operators\.include\."),
    re.compile(r"^[\w.]+\.(\w+(?:Exception|Error): .+)"),
)
WIDTH = 100
# What hooks collect is never forgotten within a process: in a run of `dags test`, every task would tell again the
# statements of all before it. Operators tell their own.
EMISSION = {"hook_lineage": False, "include_source_code": False}


class RunError(RuntimeError):
    """An Airflow command failed; the message says where its log is."""


def settings(state: Path) -> dict[str, str]:
    """The variables that make a shell's `airflow` use this repository's DAGs and keep its files below `state`.

    Lineage goes to `logs/lineage.jsonl`, an OpenLineage event a line; `AIRFLOW__OPENLINEAGE__DISABLED=True` ends that.
    """
    lineage = {"type": "file", "log_file_path": str((state / "logs" / "lineage.jsonl").resolve()), "append": True}
    home = (state / "airflow").resolve()
    return {
        "AIRFLOW_HOME": str(home),
        # The scheduler's processes and a shell's `airflow` write by turns; SQLite's own 5 s of patience are too short.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "vitrine",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(lineage),
        "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": json.dumps([{"scope": {}, "controls": EMISSION}]),
        # A fork imports everything anew at each event.
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        "PYTHONPATH": str(REPOSITORY),
    }


def migrate(state: Path, environment: dict[str, str]) -> None:
    """Creates or upgrades Airflow's metadata database, once for each version of Airflow."""
    version = subprocess.run([AIRFLOW, "version"], env=environment, capture_output=True, text=True, check=True)
    marker = state / "airflow" / f"migrated-{version.stdout.split()[-1]}"
    if not marker.exists():
        _logged(["db", "migrate"], state / "logs" / "airflow-migrate.log", environment)
        marker.touch()


def run_dag(
    dag_id: str,
    conf: dict[str, object],
    state: Path,
    environment: dict[str, str],
    begun: Callable[[], None] = lambda: None,
    logical_date: datetime | None = None,
) -> None:
    """Runs a DAG once in the foreground, as `airflow dags test` does, with a line for every task.

    Args:
        dag_id: The DAG.
        conf: Its params.
        state: The stack's state directory.
        environment: Of the process.
        begun: Called as the first task starts.
        logical_date: Of the run, from which its data interval follows; now by default.

    Raises:
        RunError: the run failed; the message names the failed tasks and the log.
    """
    log = state / "logs" / f"{dag_id}.log"
    dated = [logical_date.isoformat()] if logical_date else []
    command = [str(AIRFLOW), "dags", "test", dag_id, *dated, "--conf", json.dumps(conf)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        failed = list(_followed(dag_id, process, log, begun))
    if process.returncode:
        raise RunError(f"{dag_id} failed{': ' + ', '.join(failed) if failed else ''}; its log: {log}")


@dataclass(frozen=True)
class Run:
    """A run of a DAG, to be done.

    Attributes:
        dag_id: The DAG.
        conf: Its params.
        logical_date: From which its data interval follows; now by default.
    """

    dag_id: str
    conf: dict[str, object] = field(default_factory=dict)
    logical_date: datetime | None = None


def run_side_by_side(chains: Sequence[Sequence[Run]], state: Path, environment: dict[str, str]) -> list[str]:
    """Runs DAGs at the same time, those of a chain one after the other.

    Args:
        chains: The runs.
        state: The stack's state directory.
        environment: Of the processes.

    Returns:
        How those failed that did; what follows in their chain was not run.
    """

    def follow(chain: Sequence[Run], begun: threading.Event) -> None:
        try:
            for run in chain:
                run_dag(run.dag_id, run.conf, state, environment, begun.set, run.logical_date)
        finally:
            begun.set()

    with ThreadPoolExecutor(len(chains)) as beside:
        followed: list[Future[None]] = []
        for chain in chains:
            begun = threading.Event()
            followed.append(beside.submit(follow, chain, begun))
            # Before its first task, a run enters all DAGs into Airflow's database; two must not do that at once.
            begun.wait()
    failures = []
    for future in followed:
        try:
            future.result()
        except RunError as error:
            failures.append(str(error))
    return failures


def _followed(dag_id: str, process: subprocess.Popen[str], log: Path, begun: Callable[[], None]) -> Iterator[str]:
    """Writes the log, prints a line for each task as it ends, and yields the tasks that failed."""
    began, task_state = time.monotonic(), ""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        for line in process.stdout or ():
            file.write(line)
            if STARTED.search(line):
                began, task_state = time.monotonic(), ""
                begun()
            elif match := ENDED.search(line):
                seconds = time.monotonic() - began
                print(f"  {dag_id:18} {task_state:8} {match[1]:26} {seconds:5.1f} s", flush=True)
                if task_state == "failed":
                    yield match[1]
            elif match := STATE.search(line):
                task_state = match[1]
            elif match := next(filter(None, (pattern.match(line) for pattern in SAID)), None):
                said = match[1]
                print(f"  {dag_id:18} {said if len(said) <= WIDTH else said[: WIDTH - 1] + '…'}", flush=True)


def standalone(state: Path, environment: dict[str, str]) -> int:
    """Runs Airflow's UI, scheduler, DAG processor and triggerer until interrupted; returns the exit code."""
    port = environment.get("AIRFLOW__API__PORT", "8080")
    print(f"Airflow starts on http://127.0.0.1:{port}; log in as admin with {_password(state)}", flush=True)
    # It starts its components by name. A group of its own, so that an interrupt ends all of them.
    environment = {
        **environment,
        "PATH": f"{AIRFLOW.parent}{os.pathsep}{environment['PATH']}",
        # By itself, a task looks for the API at port 8080.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }
    process = subprocess.Popen([AIRFLOW, "standalone"], env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        return 0


def _password(state: Path) -> str:
    """The admin's password, made at the first start; Airflow takes it from the file where it would write its own."""
    file = state / "airflow" / "simple_auth_manager_passwords.json.generated"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))
    return json.loads(file.read_text())["admin"]


def _logged(arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        result = subprocess.run(
            [AIRFLOW, *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode:
        raise RunError(f"airflow {' '.join(arguments)} failed; its log: {log}")
