"""Airflow beside the local stack: its settings, its database, and the UI."""

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
AIRFLOW = Path(sys.executable).with_name("airflow")

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
