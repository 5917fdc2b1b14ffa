import json
import os
import subprocess
import sys

import psutil
import pytest

from local import spark
from local.spark import ClusterError


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
