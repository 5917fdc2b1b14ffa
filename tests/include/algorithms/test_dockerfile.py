"""No engine is needed: the Dockerfile's own files and commands are tried out in a folder that holds no more."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "include" / "algorithms"
PYTHON = ROOT / ".venv-algorithms" / "bin" / "python"


def instructions():
    text = re.sub(r"\\\n", " ", (FOLDER / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def of(name):
    return [argument for instruction, argument in instructions() if instruction == name]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image's working folder with what COPY brings, the time stamps of its layers, and its environment."""
    folder = tmp_path_factory.mktemp("app")
    for argument in of("COPY"):
        source, target = argument.split()
        assert (ROOT / source).exists(), f"COPY {source}: no such file"
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, folder / target)
    for path in folder.rglob("*.py"):
        os.utime(path, (0, 0))
    variables = dict(pair.split("=", 1) for argument in of("ENV") for pair in shlex.split(argument))
    variables["NUMBA_CACHE_DIR"] = str(folder / Path(variables["NUMBA_CACHE_DIR"]).relative_to("/app"))
    home = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return folder, home | variables


def command(image, *arguments):
    folder, environment = image
    entry = json.loads(of("ENTRYPOINT")[0])
    assert entry[0] == "python"
    python = str(PYTHON) if PYTHON.exists() else sys.executable
    return subprocess.run(
        [python, *entry[1:], *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def compiled(image):
    return {path: path.stat().st_mtime_ns for path in Path(image[1]["NUMBA_CACHE_DIR"]).rglob("*.nbc")}


@pytest.mark.long
def test_what_is_copied_is_enough_to_run_and_its_kernels_are_compiled_once(image):
    result = command(image, "warm")
    assert (result.returncode, result.stderr) == (0, "")
    kernels = compiled(image)
    assert {"top_k", "fill_up", "_mirror"} <= {re.split(r"[.-]", path.name)[1] for path in kernels}
    again = command(image, "warm")
    assert again.returncode == 0
    assert compiled(image) == kernels
    assert "usage: python -m include.algorithms" in command(image, "--help").stdout


def test_the_image_has_no_root_no_secrets_and_a_pinned_base():
    assert of("USER") == ["vitrine"]
    order = [instruction for instruction, _ in instructions()]
    assert order.index("USER") < order.index("ENTRYPOINT")
    (base,) = of("ARG")
    assert re.fullmatch(r"BASE=python:3\.12\.\d+-slim-\w+", base)
    assert of("FROM") == ["${BASE}"]
    text = (FOLDER / "Dockerfile").read_text()
    assert not re.search(r"(?i)secret|password|token|access_key", text)
    assert of("HEALTHCHECK") == ["NONE"]


def test_the_build_context_lets_in_what_is_copied():
    patterns = (FOLDER / "Dockerfile.dockerignore").read_text().split("\n")
    assert "*" in patterns
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for argument in of("COPY"):
        source = argument.split()[0]
        assert any(source == path or source.startswith(f"{path}/") for path in allowed), source


def test_requirements_are_pins_without_a_registry():
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line), line
