"""DAG runs in the foreground, as `airflow dags test` does them, a line for every task: side by side, or in turn."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from local.airflow import RunError
from local.dag_runner import BEGIN, END

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


class Runners:
    """Processes that run DAGs, each one at a time; they import Airflow while others do something else.

    Args:
        state: The stack's state directory; `logs/<DAG>.log` has what a run said.
        processes: Those of `local.dag_runner`.
    """

    def __init__(self, state: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._state, self._processes = state, processes

    def side_by_side(self, chains: Sequence[Sequence[Run]], environment: Mapping[str, str]) -> list[str]:
        """Runs DAGs at the same time, those of a chain one after the other.

        Args:
            chains: The runs; as many chains as there are processes, or fewer.
            environment: What the processes' environment gets besides what it has.

        Returns:
            How those failed that did; what follows in their chain was not run.

        Raises:
            ValueError: there are more chains than processes.
        """
        if len(chains) > len(self._processes):
            raise ValueError(f"{len(chains)} chains for {len(self._processes)} processes")

        def follow(chain: Sequence[Run], process: subprocess.Popen[str], begun: threading.Event) -> None:
            try:
                for run in chain:
                    self._run(run, process, environment, begun.set)
            finally:
                begun.set()

        with ThreadPoolExecutor(len(chains)) as beside:
            followed: list[Future[None]] = []
            for chain, process in zip(chains, self._processes, strict=False):
                begun = threading.Event()
                followed.append(beside.submit(follow, chain, process, begun))
                # Before its first task, a run enters all DAGs into Airflow's database; two must not do that at once.
                begun.wait()
        failures = []
        for future in followed:
            try:
                future.result()
            except RunError as error:
                failures.append(str(error))
        return failures

    def _run(
        self, run: Run, process: subprocess.Popen[str], environment: Mapping[str, str], begun: Callable[[], None]
    ) -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError("the process has no pipes")
        dated = [run.logical_date.isoformat()] if run.logical_date else []
        request = {"arguments": [run.dag_id, *dated, "--conf", json.dumps(run.conf)], "environment": dict(environment)}
        log = self._state / "logs" / f"{run.dag_id}.log"
        failed: list[str] = []
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            ended = _follow(run.dag_id, process.stdout, log, begun, failed)
        except BrokenPipeError:
            ended = False
        if not ended:
            raise RunError(f"{run.dag_id} failed{': ' + ', '.join(failed) if failed else ''}; its log: {log}")


@contextmanager
def runners(state: Path, environment: Mapping[str, str], processes: int = 2) -> Iterator[Runners]:
    """Processes for runs, until the end of the block.

    Args:
        state: The stack's state directory.
        environment: Of the processes.
        processes: How many.
    """
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "local.dag_runner"],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            stack.callback(_end, process)
            started.append(process)
        yield Runners(state, started)


def _end(process: subprocess.Popen[str]) -> None:
    # What one that has died could not be told is still in the pipe to it.
    with suppress(BrokenPipeError), process:
        process.terminate()


def _follow(dag_id: str, lines: Iterator[str], log: Path, begun: Callable[[], None], failed: list[str]) -> bool:
    """Writes the log of a run, prints a line for each task as it ends, and notes the tasks that failed.

    Returns:
        Whether the run ended well; a process that dies in it does not.
    """
    began, task_state = time.monotonic(), ""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        for line in lines:
            if line.startswith(END):
                return line.split()[-1] == "0"
            if line.startswith(BEGIN):
                continue
            file.write(line)
            if STARTED.search(line):
                began, task_state = time.monotonic(), ""
                begun()
            elif match := ENDED.search(line):
                seconds = time.monotonic() - began
                print(f"  {dag_id:18} {task_state:8} {match[1]:26} {seconds:5.1f} s", flush=True)
                if task_state == "failed":
                    failed.append(match[1])
            elif match := STATE.search(line):
                task_state = match[1]
            elif match := next(filter(None, (pattern.match(line) for pattern in SAID)), None):
                said = match[1]
                print(f"  {dag_id:18} {said if len(said) <= WIDTH else said[: WIDTH - 1] + '…'}", flush=True)
    return False
