"""The template beside the code that it deploys: what functions are given is what they read, and jobs have a script."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.streams.rate import SECOND, RateRule
from include.streams.rate_alarm import rule_of

ROOT = Path(__file__).parents[3]


class _Loader(yaml.SafeLoader):
    """Reads intrinsic functions as their arguments."""


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    return node.value if isinstance(node, yaml.ScalarNode) else str(node)


_Loader.add_multi_constructor("!", _plain)
RESOURCES = yaml.load((ROOT / "include/infra/vitrine.yaml").read_text(), _Loader)["Resources"]
FUNCTIONS = {
    found["Properties"]["FunctionName"]: found["Properties"]
    for found in RESOURCES.values()
    if found["Type"] == "AWS::Lambda::Function"
}
JOBS = {
    found["Properties"]["Name"]: found["Properties"]
    for found in RESOURCES.values()
    if found["Type"] == "AWS::Glue::Job"
}


def sources(module: str, seen: dict[str, str]) -> dict[str, str]:
    """The source of a module of the streams, and of those that it imports, by name."""
    seen[module] = text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include.streams"):
            for other in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if other not in seen and (ROOT / f"{other.replace('.', '/')}.py").exists():
                    sources(other, seen)
    return seen


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_what_it_reads(function):
    properties = FUNCTIONS[function]
    given = properties["Environment"]["Variables"].keys()
    code = "\n".join(sources(properties["Handler"].removesuffix(".handler"), {}).values())
    assert set(re.findall(r'os\.environ\["([A-Z_]+)"\]', code)) <= given
    known = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", code))
    # Those of the alarm are put together of parts.
    assert {name for name in given if not name.startswith("RATE_")} <= known


def test_every_parameter_of_the_alarm_is_given():
    given = FUNCTIONS["vitrine-rate-alarm"]["Environment"]["Variables"].keys()
    numbers = {name: str(number) for number, name in enumerate(sorted(given), start=3) if name.startswith("RATE_")}
    rule = rule_of({**numbers, "RATE_UNIT": "lines"})
    assert rule == RateRule(
        int(numbers["RATE_THRESHOLD"]),
        int(numbers["RATE_WINDOW_SECONDS"]) * SECOND,
        int(numbers["RATE_COOLDOWN_SECONDS"]) * SECOND,
        "lines",
    )
    assert numbers.keys() == {"RATE_THRESHOLD", "RATE_WINDOW_SECONDS", "RATE_COOLDOWN_SECONDS", "RATE_UNIT"}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_a_script_that_takes_its_arguments(job):
    properties = JOBS[job]
    script = ROOT / "include/jobs" / Path(properties["Command"]["ScriptLocation"]).name
    assert script.exists()
    own = {name.removeprefix("--") for name in properties["DefaultArguments"]}
    taken = {argument.replace("_", "-") for argument in re.findall(r'"([a-z_]+)"', _arguments(script))}
    assert own - {"extra-py-files", "job-bookmark-option"} <= taken


def _arguments(script: Path) -> str:
    return re.search(r"arguments\.read\((.*)\)", script.read_text())[1]
