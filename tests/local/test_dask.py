import importlib.util
import json
import os
import subprocess
import sys

import boto3
import psutil
import pyarrow as pa
import pytest

from include.jobs import engine
from local import dask
from local.aws import glue_engines
from local.cluster import ClusterError
from tests.conftest import REPOSITORY
from tests.local.clusters import SECONDS, job, kill_while_busy, same_as_polars, until, write_city


def described(state, pid):
    (state / "dask.json").write_text(json.dumps({"scheduler": "tcp://x:1", "pids": [pid]}))


def test_a_second_cluster_on_the_same_state_is_refused(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "dask"]) as process:
        described(tmp_path, process.pid)
        with pytest.raises(ClusterError, match=r"A cluster runs on .* already: tcp://x:1"):
            dask.up(tmp_path, 0)
        dask.down(tmp_path)
        assert not psutil.pid_exists(process.pid)
    assert dask.running(tmp_path) is None


def test_what_a_crash_left_is_no_cluster(tmp_path):
    described(tmp_path, 2**22)
    assert dask.running(tmp_path) is None
    with pytest.raises(ClusterError, match="No Dask cluster runs on"):
        dask.down(tmp_path)


def test_without_dask_it_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(glue_engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"^Dask is not installed: `make .* installs it$"):
        dask.up(tmp_path, 0)


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: dependency group dask")
    made = dask.up(tmp_path / "state", 0)
    yield made
    if dask.running(tmp_path / "state"):
        dask.down(tmp_path / "state")


def family(cluster):
    return [member for process in cluster.processes for member in [process, *process.children(recursive=True)]]


def command(word, state):
    arguments = [sys.executable, "-m", "local.dask", word, "--state", state, "--port", "0"]
    return subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.long
def test_a_cluster_outlives_its_command_and_leaves_nothing(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: dependency group dask")
    assert command("status", tmp_path).returncode == 1
    started = command("up", tmp_path)
    cluster = dask.running(tmp_path)
    assert f"A Dask scheduler and 2 workers run at {cluster.scheduler}" in started.stdout, started.stderr
    assert f"VITRINE_DASK_SCHEDULER={cluster.scheduler} make stack" in started.stdout
    assert command("status", tmp_path).returncode == 0
    members = family(cluster)
    listening = [
        socket.laddr.ip for process in members for socket in process.net_connections() if socket.status == "LISTEN"
    ]
    assert set(listening) == {"127.0.0.1"}
    assert [worker["nthreads"] for worker in cluster.workers()] == [1, 1]
    assert {worker["memory_limit"] for worker in cluster.workers()} == {2_000_000_000}
    assert command("down", tmp_path).returncode == 0
    assert [process for process in members if process.is_running()] == []
    assert dask.running(tmp_path) is None


@pytest.mark.long
def test_workers_reach_the_lake_of_the_job(cluster, stack):
    rows = pa.table({"id": [3, 1, 4, 2], "month": ["2026-07", "2026-07", "2026-08", "2026-07"]})
    boto3.client("s3").create_bucket(Bucket="dask-lake")
    with engine.chosen("dask", cluster.scheduler) as on:
        on.rows = 1
        on.write(on.take(rows), "s3://dask-lake/rows/")
        on.write_months(on.read(["s3://dask-lake/rows/"]), "s3://dask-lake/months/", ["id"])
        written = [f"s3://dask-lake/months/month=2026-{month}/" for month in ("07", "08")]
        for location, ids in zip(written, ([1, 2, 3], [4]), strict=True):
            assert on.read([location]).collect("pyarrow").to_native()["id"].to_pylist() == ids


@pytest.mark.long
def test_a_worker_dies_in_the_middle_of_a_job(cluster, tmp_path):
    from distributed import Client

    write_city(tmp_path)
    with Client(cluster.scheduler, set_as_default=False) as client:
        # What the job brings along is all that the workers have of ours.
        assert not any(client.run(importlib.util.find_spec, "include").values())
        pids = client.run(os.getpid)
        address, pid = min(pids.items())
        with job("dask", tmp_path, VITRINE_DASK_SCHEDULER=cluster.scheduler) as process:
            # It has a part of the result in memory, and a task at hand.
            until(lambda: client.has_what()[address], process)
            kill_while_busy([psutil.Process(pid)], lambda: bool(client.processing().get(address)), process)
            assert process.wait(SECONDS) == 0, (tmp_path / "dask.log").read_text()
        client.wait_for_workers(2, timeout=SECONDS)
        assert pid not in client.run(os.getpid).values()
    same_as_polars("dask", tmp_path)
