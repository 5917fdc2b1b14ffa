import json
import os
import shutil
import subprocess
import sys
import urllib.request

import psutil
import pytest

from local import cluster, spark
from local.cluster import ClusterError
from tests.local.clusters import SECONDS, job, kill_while_busy, same_as_polars, until, write_city


def described(state, pid):
    (state / "spark.json").write_text(json.dumps({"master": "spark://x", "page": "", "pids": [pid]}))


def test_a_second_cluster_on_the_same_state_is_refused(tmp_path):
    master = [sys.executable, "-c", "import time; time.sleep(600)", "org.apache.spark.deploy.master.Master"]
    with subprocess.Popen(master) as process:
        described(tmp_path, process.pid)
        with pytest.raises(ClusterError, match=r"A cluster runs on .* already: spark://x"):
            spark.up(tmp_path, 0)
        spark.down(tmp_path)
        assert not psutil.pid_exists(process.pid)
    assert spark.running(tmp_path) is None


def test_what_a_crash_left_is_no_cluster(tmp_path):
    described(tmp_path, os.getpid())
    assert spark.running(tmp_path) is None
    with pytest.raises(ClusterError, match="No Spark cluster runs on"):
        spark.down(tmp_path)


def test_without_java_it_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("pyspark", reason="PySpark is not installed: dependency group spark")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ClusterError, match=r"^there is no Java; install version 17"):
        spark.up(tmp_path, 0)


@pytest.fixture
def running(tmp_path):
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        pytest.skip("no Java here, so no Spark cluster is tested; on Debian and Ubuntu: openjdk-17-jre-headless")
    pytest.importorskip("pyspark", reason="PySpark is not installed: dependency group spark")
    made = spark.up(tmp_path / "state", 0, memory="1g")
    yield made
    if spark.running(tmp_path / "state"):
        spark.down(tmp_path / "state")


def executors(url):
    """What the driver knows of its executors: their ids, and the tasks that they have."""
    try:
        (application,) = answer(f"{url}/api/v1/applications")
        return [
            one for one in answer(f"{url}/api/v1/applications/{application['id']}/executors") if one["id"] != "driver"
        ]
    except (OSError, ValueError):
        return []  # it has not started yet


def answer(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


@pytest.mark.long
def test_a_worker_dies_in_the_middle_of_a_job(running, tmp_path):
    write_city(tmp_path)
    page = cluster.free_port()
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.sql.shuffle.partitions": "4",
        "spark.ui.port": page,
    }
    options = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    environment = {
        "PYSPARK_SUBMIT_ARGS": f"--master {running.master} {options} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    worker = running.processes[1]
    with job("spark", tmp_path, **environment) as process:

        def victim():
            """The executor of one worker, once it has done tasks, whose output is lost with it, and has more."""
            for child in worker.children():
                try:
                    words = child.cmdline()
                except psutil.Error:
                    continue  # not one of the executors: those stay
                id_ = words[words.index("--executor-id") + 1] if "--executor-id" in words else None
                for executor in executors(f"http://127.0.0.1:{page}"):
                    if executor["id"] == id_ and executor["activeTasks"] and executor["completedTasks"]:
                        return child
            return None

        victims = [worker, until(victim, process)]
        kill_while_busy(victims, victim, process)
        assert process.wait(SECONDS) == 0, (tmp_path / "spark.log").read_text()[-5000:]
    assert not worker.is_running()
    same_as_polars("spark", tmp_path)


@pytest.mark.long
def test_a_cluster_that_is_stopped_leaves_nothing(running, tmp_path):
    members = [member for process in running.processes for member in [process, *process.children(recursive=True)]]
    assert len(members) >= 3
    spark.down(tmp_path / "state")
    assert [process for process in members if process.is_running()] == []
    assert spark.running(tmp_path / "state") is None
