import ast
import io
import subprocess
import sys
import zipfile

import boto3
import pytest

from local import deploy
from local.endpoints import CODE

OLDEST_PYTHON = (3, 11)
"""Glue 5's."""


@pytest.fixture(scope="module")
def archive():
    return zipfile.ZipFile(io.BytesIO(deploy.files()[deploy.MODULES]))


def test_every_entry_point_is_a_script_of_its_own():
    assert {"bronze.py", "silver.py", "gold.py"} <= deploy.files().keys()
    assert not {"__init__.py", "engine.py", "lake.py"} & deploy.files().keys()


def test_the_zip_has_what_the_jobs_import(archive):
    assert {
        "include/jobs/engine.py",
        "include/tables/orders.yaml",
        "include/transforms/silver.py",
        "narwhals/__init__.py",
    } <= set(archive.namelist())


def test_the_same_sources_make_the_same_version():
    before = deploy.version()
    deploy.files.cache_clear()
    deploy.version.cache_clear()
    assert deploy.version() == before


def test_jobs_import_from_the_zip_alone(tmp_path):
    for name, content in deploy.files().items():
        (tmp_path / name).write_bytes(content)
    scripts = sorted(tmp_path.glob("*.py"))
    assert len(scripts) >= 3
    code = f"""
import sys, runpy
sys.path.insert(0, {str(tmp_path / deploy.MODULES)!r})
for script in {[str(script) for script in scripts]!r}: runpy.run_path(script, run_name="imported")
import include, narwhals
print(include.__file__, narwhals.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(deploy.MODULES) == 2


def test_functions_import_from_their_zip_alone(tmp_path):
    (tmp_path / deploy.FUNCTIONS).write_bytes(deploy.files()[deploy.FUNCTIONS])
    handlers = sorted(
        path.stem
        for path in (deploy.ROOT / "include" / "streams").glob("*.py")
        if "def handler(" in path.read_text(encoding="utf-8")
    )
    assert "weblogs" in handlers
    # boto3 is in Lambda's Python; of our environment, only it and what it needs may be seen.
    allowed = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
    code = f"""
import importlib, sys
class Lambda:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        mine = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")  # Generated: it has no fixed name.
        if path is None and not mine and top not in {allowed!r}:
            spec = zipped.find_spec(name)
            if spec is None: raise ModuleNotFoundError(name + " is not in the zip", name=top)
            return spec
import zipimport
zipped = zipimport.zipimporter({str(tmp_path / deploy.FUNCTIONS)!r})
sys.path.insert(0, {str(tmp_path / deploy.FUNCTIONS)!r})
sys.meta_path.insert(0, Lambda)
for name in {handlers!r}: importlib.import_module("include.streams." + name)
import opensearchpy
print(opensearchpy.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert deploy.FUNCTIONS in done.stdout


def test_the_modules_are_written_for_glues_python(archive):
    ours = [name for name in archive.namelist() if name.startswith("include/") and name.endswith(".py")]
    assert len(ours) > 10
    for name in ours:
        ast.parse(archive.read(name), name, feature_version=OLDEST_PYTHON)


def test_the_stack_has_the_jobs_and_databases(stack):
    glue, s3 = boto3.client("glue"), boto3.client("s3")
    for name in ("bronze", "silver", "gold"):
        job = glue.get_job(JobName=f"vitrine-{name}")["Job"]
        script = f"s3://{CODE}/vitrine/{deploy.version()}/{name}.py"
        assert job["Command"] == {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": script}
        assert (job["GlueVersion"], job["WorkerType"], job["NumberOfWorkers"], job["MaxRetries"]) == (
            "5.0",
            "G.1X",
            2,
            0,
        )
        given = job["DefaultArguments"]
        assert given["--job-bookmark-option"] == "job-bookmark-disable"
        uploaded = s3.get_object(Bucket=CODE, Key=script.removeprefix(f"s3://{CODE}/"))["Body"].read()
        assert uploaded == deploy.files()[f"{name}.py"]
        assert given["--extra-py-files"] == script.replace(f"{name}.py", deploy.MODULES)
    databases = {found["Name"] for found in glue.get_databases()["DatabaseList"]}
    assert {f"vitrine_{layer}" for layer in ("bronze", "silver", "quarantine", "audit")} <= databases
