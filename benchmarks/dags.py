"""How long Airflow's DAG processor works on each DAG file, beside an empty DAG in the same kind of process."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

EMPTY = """
from airflow.sdk import dag, task
@dag(schedule=None)
def empty():
    @task
    def nothing(): ...
    nothing()
empty()
"""

# Airflow itself is imported before the clock starts, as it is in the DAG processor, which forks for every file.
PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
import airflow.sdk, airflow.serialization.serialized_objects
cpu, wall = time.process_time(), time.perf_counter()
bag = DagBag(dag_folder=sys.argv[1], bundle_name="dags-folder")
assert len(bag.dags) == 1 and not bag.import_errors, bag.import_errors
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""


def parse(file: Path, home: str) -> tuple[float, float]:
    """CPU and wall-clock seconds of parsing one file in a fresh process; the better of three."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PARSE, str(file)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(tuple(json.loads(done.stdout.splitlines()[-1])))
    return min(times)


def main() -> None:
    """Prints a Markdown table: file, CPU seconds, wall-clock seconds."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="dags-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        print("| DAG file | CPU s | wall s |\n|---|---|---|")
        for file in [empty, *sorted((ROOT / "dags").glob("*.py"))]:
            cpu, wall = parse(file, folder)
            print(f"| {file.name} | {cpu:.2f} | {wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
