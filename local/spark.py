"""A standalone Spark cluster on this machine, one master and two workers, for the local Glue.

`python -m local.spark --help`
"""

import argparse
import json
import os
import sys
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from local import cluster as processes
from local.aws.glue_engines import require, spark_home
from local.aws.plugging import PluggingError
from local.aws.settings import LOOPBACK
from local.cluster import WORKERS, ClusterError


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        master: Its address, spark://….
        page: URL of the master's page.
        pids: The processes, the master first.
    """

    master: str
    page: str
    pids: list[int]

    @property
    def settings(self) -> dict[str, str]:
        """What makes a stack's Glue use it, in the environment that the stack is started in."""
        return {"VITRINE_GLUE_ENGINE": "spark", "VITRINE_SPARK_MASTER": self.master}

    @property
    def processes(self) -> list[psutil.Process]:
        """Those of its processes that are there."""
        return processes.alive(self.pids, "org.apache.spark.deploy")


def running(state: Path) -> Cluster | None:
    """The cluster that runs on this state, whole or in part."""
    try:
        cluster = Cluster(**json.loads((state / "spark.json").read_text()))
    except FileNotFoundError:
        return None
    return cluster if cluster.processes else None


def up(state: Path, port: int, cores: int = 1, memory: str = "2g") -> Cluster:
    """Starts a master and two workers that outlive this process, and waits until they know each other.

    Args:
        state: Keeps their logs (`logs/spark-*.log`) and their scratch files.
        port: Of the master; 0 picks a free one.
        cores: Of each worker.
        memory: Of each worker, as Spark writes it.

    Raises:
        ClusterError: One runs already, Spark or Java is missing, or the cluster did not start.
    """
    if found := running(state):
        raise ClusterError(f"A cluster runs on {state} already: {found.master}")
    try:
        require("spark")
    except PluggingError as error:
        raise ClusterError(str(error)) from error
    port, page = port or processes.free_port(), processes.free_port()
    master = f"spark://{LOOPBACK}:{port}"
    commands = {"master": ["master.Master", "--host", LOOPBACK, "--port", str(port), "--webui-port", str(page)]}
    for number in range(1, WORKERS + 1):
        scratch = state / "spark" / str(number)
        options = ["--cores", str(cores), "--memory", memory, "--work-dir", str(scratch), "--webui-port", "0"]
        commands[f"worker-{number}"] = ["worker.Worker", "--host", LOOPBACK, *options, master]
    pids = [_start(name, command, state) for name, command in commands.items()]
    cluster = Cluster(master, f"http://{LOOPBACK}:{page}", pids)
    (state / "spark.json").write_text(json.dumps(asdict(cluster)))
    try:
        complaint = f"The Spark cluster did not start; its logs: {state / 'logs'}/spark-*.log"
        processes.wait(lambda: _workers(cluster), lambda: len(cluster.processes) == len(pids), complaint)
    except BaseException:
        down(state)
        raise
    return cluster


def down(state: Path) -> None:
    """Stops the cluster that runs on this state.

    Raises:
        ClusterError: None does.
    """
    cluster = running(state)
    if cluster is None:
        raise ClusterError(f"No Spark cluster runs on {state}")
    processes.stop(cluster.processes)
    (state / "spark.json").unlink()


def _start(name: str, command: list[str], state: Path) -> int:
    environment = {**os.environ, "SPARK_HOME": str(spark_home()), "SPARK_LOCAL_IP": LOOPBACK}
    entry, *options = command
    # The launcher replaces itself by Java, so its id is that of the process to stop.
    launcher = [str(spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{entry}", *options]
    return processes.start(launcher, environment, state, state / "logs" / f"spark-{name}.log")


def _workers(cluster: Cluster) -> int:
    try:
        with urllib.request.urlopen(f"{cluster.page}/json/", timeout=5) as answer:  # noqa: S310 - our own URL
            return json.load(answer)["aliveworkers"]
    except (OSError, ValueError):
        return 0


def main() -> int:
    """Runs the command line.

    Returns:
        The exit code: 0, or 1 when the command could not do what was asked.
    """
    parser = argparse.ArgumentParser(prog="python -m local.spark", description="A Spark cluster on this machine.")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--state", type=Path, default=Path(".local"), help="where its logs are (default: .local)")
    parser.add_argument("--port", type=int, default=7077, help="of the master, 0 for a free one (default: %(default)s)")
    options = parser.parse_args()
    state = options.state.resolve()
    try:
        if options.command == "down":
            down(state)
            return 0
        cluster = up(state, options.port)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"A Spark master and {WORKERS} workers run at {cluster.master}; the master's page: {cluster.page}")
    settings = " ".join(f"{name}={value}" for name, value in cluster.settings.items())
    print(f"Start the local stack with them:  {settings} make run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
