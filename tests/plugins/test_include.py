"""Airflow as on MWAA: the DAGs folder with `include/` in it, the plugins folder, and no PYTHONPATH."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from include.lakehouse.assets import LANDED

ROOT = Path(__file__).parents[2]

# The triggerer puts nothing on the path but what Airflow's settings do.
IMPORT = """
import sys
from airflow._shared.module_loading import import_string
print(sys.modules[import_string(sys.argv[1]).__module__].__file__)
"""


def imported(home: Path, name: str) -> "subprocess.CompletedProcess[str]":
    hidden = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AIRFLOW_HOME")}
    environment = {**hidden, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")}
    command = [sys.executable, "-c", f"import airflow.settings; airflow.settings.initialize()\n{IMPORT}", name]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def test_the_triggerer_finds_the_watchers_in_the_dags_folder(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "include", tmp_path / "dags" / "include", ignore=shutil.ignore_patterns("__pycache__"))
    name, _ = LANDED.watchers[0].trigger.serialize()

    without = imported(tmp_path, name)
    assert "No module named 'include'" in without.stderr

    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    found = imported(tmp_path, name)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == str(tmp_path / "dags" / "include" / "lakehouse" / "arrivals.py")
