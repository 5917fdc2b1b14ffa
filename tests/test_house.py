"""The house rules that no linter knows: doors between rooms, one source of versions, names."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Room → the first names of what it must not import.
DOORS = {
    "include/algorithms": {"dags", "plugins", "local", "airflow"},
    "include/transforms": {"dags", "plugins", "local", "airflow"},
    "include/clients": {"dags", "plugins", "local", "airflow"},
    "include/tables": {"dags", "plugins", "local", "airflow"},
    "include/streams": {"dags", "plugins", "local", "airflow"},
}


def python_files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("room", [room for room in DOORS if (ROOT / room).exists()])
def test_rooms_keep_their_doors_shut(room):
    files = python_files(room)
    assert files
    broken = [
        (str(f.relative_to(ROOT)), name) for f in files for name in imports(f) if name.split(".")[0] in DOORS[room]
    ]
    assert broken == []


def test_the_local_stack_knows_only_what_a_deploy_uploads():
    files = python_files("local")
    assert files
    names = {name for file in files for name in imports(file) if name.split(".")[0] in ("include", "dags", "plugins")}
    assert {name for name in names if not name.startswith("include.clients")} == set()


@pytest.mark.parametrize("room", ["include", "dags", "local"])
def test_no_module_is_a_drawer(room):
    names = {file.stem for file in python_files(room)}
    assert names & {"utils", "util", "common", "helpers", "helper", "misc"} == set()


def locked_versions():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return {package["name"]: package.get("version") for package in lock["package"]}


def pins(file):
    lines = [line.split(";")[0].strip() for line in file.read_text().splitlines()]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_requirements_for_mwaa_are_the_locks_and_the_projects():
    pinned = pins(ROOT / "requirements.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pinned == dict(line.split("==") for line in project["dependencies"] if "==" in line)
    locked = locked_versions()
    assert pinned == {name: locked[name.split("[")[0]] for name in pinned}
    assert {"apache-airflow-providers-amazon[aiobotocore]", "apache-airflow-providers-snowflake"} <= set(pinned)


def test_the_images_requirements_are_the_locks():
    locked = locked_versions()
    pinned = pins(ROOT / "include/algorithms/requirements.txt")
    assert pinned == {name: locked[name] for name in pinned}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = {line.split(">=")[0].split("==")[0] for line in groups["algorithms"]}
    assert wanted <= set(pinned)
    assert not {name for name in pinned if name.startswith(("apache-airflow", "moto", "fakesnow"))}


def test_nothing_committed_names_this_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    needle = str(ROOT) + "/"
    named = []
    for name in filter(None, tracked):
        file = ROOT / name
        if file.suffix not in {".png", ".parquet"} and file.exists() and needle in file.read_text(errors="ignore"):
            named.append(name)
    assert named == []
