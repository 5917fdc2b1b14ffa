"""A Dask cluster on this machine, a scheduler and two workers, for the local Glue.

A worker is two processes: one computes, the other holds it to its memory limit and starts it again when it dies.
`python -m local.dask --help`
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from local import cluster as processes
from local.aws.glue_engines import require
from local.aws.plugging import PluggingError
from local.aws.settings import ACCESS_KEY, LOOPBACK, REGION, SECRET_KEY
from local.cluster import WORKERS, ClusterError

CONNECT_SECONDS = 20


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        scheduler: Its address, tcp://….
        pids: The scheduler's process, then those that watch over the workers.
    """

    scheduler: str
    pids: list[int]

    @property
    def settings(self) -> dict[str, str]:
        """What makes a stack's Glue use it for runs on Dask, in the environment that the stack is started in."""
        return {"VITRINE_DASK_SCHEDULER": self.scheduler}

    @property
    def processes(self) -> list[psutil.Process]:
        """Those of its processes that are there."""
        return processes.alive(self.pids, "dask")

    def workers(self) -> list[dict[str, Any]]:
        """What the scheduler knows of each worker, such as its `memory_limit`; nothing while it doesn't answer."""
        from distributed import Client

        try:
            with Client(self.scheduler, timeout=CONNECT_SECONDS, set_as_default=False) as client:
                return list(client.scheduler_info(n_workers=-1)["workers"].values())
        except OSError:
            return []


def running(state: Path) -> Cluster | None:
    """The cluster that runs on this state, whole or in part."""
    try:
        cluster = Cluster(**json.loads((state / "dask.json").read_text()))
    except FileNotFoundError:
        return None
    return cluster if cluster.processes else None


def require_running(state: Path) -> Cluster:
    """The cluster that runs on this state.

    Raises:
        ClusterError: None does.
    """
    cluster = running(state)
    if cluster is None:
        raise ClusterError(f"No Dask cluster runs on {state}")
    return cluster


def up(state: Path, port: int, threads: int = 1, memory: str = "2GB") -> Cluster:
    """Starts a scheduler and two workers that outlive this process, and waits until they know each other.

    Args:
        state: Keeps their logs (`logs/dask-*.log`) and what doesn't fit into memory (`dask`).
        port: Of the scheduler; 0 picks a free one.
        threads: Of each worker.
        memory: Of each worker, as Dask writes it.

    Raises:
        ClusterError: One runs already, Dask is missing, or the cluster did not start.
    """
    if found := running(state):
        raise ClusterError(f"A cluster runs on {state} already: {found.scheduler}")
    try:
        require("dask")
    except PluggingError as error:
        raise ClusterError(str(error)) from error
    port = port or processes.free_port()
    scheduler = f"tcp://{LOOPBACK}:{port}"
    shared = ["--host", LOOPBACK, "--dashboard-address", f"{LOOPBACK}:0"]
    commands = {"scheduler": ["scheduler", *shared, "--port", str(port)]}
    for number in range(1, WORKERS + 1):
        limits = ["--nworkers", "1", "--nthreads", str(threads), "--memory-limit", memory]
        place = ["--name", f"worker-{number}", "--local-directory", str(state / "dask")]
        commands[f"worker-{number}"] = ["worker", *shared, *limits, *place, scheduler]
    cluster = Cluster(scheduler, [_start(name, command, state) for name, command in commands.items()])
    (state / "dask.json").write_text(json.dumps(asdict(cluster)))
    try:
        complaint = f"The Dask cluster did not start; its logs: {state / 'logs'}/dask-*.log"
        processes.wait(lambda: len(cluster.workers()), lambda: len(cluster.processes) == len(cluster.pids), complaint)
    except BaseException:
        down(state)
        raise
    return cluster


def down(state: Path) -> None:
    """Stops the cluster that runs on this state.

    Raises:
        ClusterError: None does.
    """
    processes.stop(require_running(state).processes)
    (state / "dask.json").unlink()


def _start(name: str, command: list[str], state: Path) -> int:
    # What the workers need of ours comes with the jobs, and of an account of the user's they are to know nothing.
    own = {word: value for word, value in os.environ.items() if word != "PYTHONPATH" and not word.startswith("AWS_")}
    lake = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_DEFAULT_REGION": REGION}
    launcher = [sys.executable, "-m", "dask", *command]
    return processes.start(launcher, own | lake, state / "dask", state / "logs" / f"dask-{name}.log")


def main() -> int:
    """Runs the command line.

    Returns:
        The exit code: 0, or 1 when the command could not do what was asked.
    """
    parser = argparse.ArgumentParser(prog="python -m local.dask", description="A Dask cluster on this machine.")
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--state", type=Path, default=Path(".local"), help="where its logs are (default: .local)")
    parser.add_argument("--port", type=int, default=8786, help="of the scheduler, 0 for a free one (default: 8786)")
    parser.add_argument("--memory", default="2GB", help="of each worker (default: %(default)s)")
    options = parser.parse_args()
    state = options.state.resolve()
    try:
        if options.command == "down":
            down(state)
            return 0
        cluster = (
            require_running(state) if options.command == "status" else up(state, options.port, memory=options.memory)
        )
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    workers = cluster.workers()
    print(f"A Dask scheduler and {len(workers)} workers run at {cluster.scheduler}")
    if options.command == "status":
        return 0 if len(workers) == WORKERS else 1
    settings = " ".join(f"{name}={value}" for name, value in cluster.settings.items())
    print(f"Start the local stack with it, for runs with --engine dask:  {settings} make stack")
    return 0


if __name__ == "__main__":
    sys.exit(main())
