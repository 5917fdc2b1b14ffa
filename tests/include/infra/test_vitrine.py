"""The template beside the code that it deploys: what functions are given is what they read, and jobs have a script."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.streams import alarms, offer_items, offers, orders_to_history, state_items
from include.streams.approach import ApproachRule
from include.streams.offers import OfferRule
from include.streams.rate import SECOND, RateRule
from include.streams.rate_alarm import rule_of
from local.produce import ESTABLISHMENTS
from local.producer.sources import STREAMS

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


def test_the_parameters_of_the_offers_are_those_of_the_rule():
    given = FUNCTIONS["vitrine-live-offers"]["Environment"]["Variables"].keys()
    numbers = {name: str(number) for number, name in enumerate(sorted(given), start=3) if name.startswith("OFFER_")}
    rule = offers.rule_of({**numbers, "OFFER_ZONE": "Europe/Madrid"})
    assert rule == OfferRule(
        ApproachRule(radius=float(numbers["OFFER_RADIUS"])),
        cooldown=int(numbers["OFFER_COOLDOWN_SECONDS"]) * SECOND,
        pause=int(numbers["OFFER_PAUSE_SECONDS"]) * SECOND,
        daily=int(numbers["OFFER_DAILY"]),
        zone="Europe/Madrid",
    )


def test_the_defaults_of_the_offers_are_those_of_the_rule():
    template = yaml.load((ROOT / "include/infra/vitrine.yaml").read_text(), _Loader)["Parameters"]
    variables = FUNCTIONS["vitrine-live-offers"]["Environment"]["Variables"]
    given = {name: variables[name] for name in variables if name.startswith("OFFER_")}
    assert offers.rule_of({name: str(template[value]["Default"]) for name, value in given.items()}) == OfferRule()


def test_the_offers_are_read_where_they_are_written():
    variables = FUNCTIONS["vitrine-live-offers"]["Environment"]["Variables"]
    assert variables["OFFERS_REFERENCE"] == f"s3://${{Lake}}/{ESTABLISHMENTS}"
    keys = {
        "OffersTable": offer_items.KEYS,
        "WindowsTable": state_items.KEYS,
        "HistoryTable": orders_to_history.KEYS,
        "AlarmsTable": alarms.KEYS,
    }
    for name, wanted in keys.items():
        table = RESOURCES[name]["Properties"]
        assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
            (wanted[0], "HASH"),
            (wanted[1], "RANGE"),
        ]


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_that_is_sent_to_is_made_and_read(stream):
    (resource,) = [
        name
        for name, found in RESOURCES.items()
        if found["Type"] == "AWS::Kinesis::Stream" and found["Properties"]["Name"] == STREAMS[stream]
    ]
    mappings = [
        found["Properties"] for found in RESOURCES.values() if found["Type"] == "AWS::Lambda::EventSourceMapping"
    ]
    mine = [mapping for mapping in mappings if mapping["EventSourceArn"] == f"{resource}.Arn"]
    assert mine
    assert all("StreamFailures.Arn" in str(mapping["DestinationConfig"]) for mapping in mine)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_has_a_script_that_takes_its_arguments(job):
    properties = JOBS[job]
    script = ROOT / "include/jobs" / Path(properties["Command"]["ScriptLocation"]).name
    assert script.exists()
    own = {name.removeprefix("--") for name in properties["DefaultArguments"]}
    taken = {argument.replace("_", "-") for argument in re.findall(r'"([a-z_]+)"', _arguments(script))}
    assert own - {"additional-python-modules", "extra-py-files", "job-bookmark-option"} <= taken


GEO = ("vitrine-geo-analysis", "vitrine-geo-bronze", "vitrine-geo-report", "vitrine-geo-visits")


def test_only_the_job_that_makes_pseudonyms_reads_ids_and_the_salt():
    assert [job for job in JOBS if JOBS[job]["Role"] != "GlueRole.Arn"] == ["vitrine-geo-bronze"]
    assert JOBS["vitrine-geo-bronze"]["Role"] == "GeoBronzeRole.Arn"
    assert [job for job in JOBS if "--salt-secret" in JOBS[job]["DefaultArguments"]] == ["vitrine-geo-bronze"]
    policies = {
        name: [
            statement
            for policy in found["Properties"]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        for name, found in RESOURCES.items()
        if found["Type"] == "AWS::IAM::Role"
    }
    secrets = [(name, one) for name in policies for one in policies[name] if "secretsmanager" in str(one["Action"])]
    get = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "GeoSalt"}
    assert secrets == [("GeoBronzeRole", get)]
    refused = [one for one in policies["GlueRole"] if one["Effect"] == "Deny"]
    assert refused == [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "${Lake.Arn}/landing/geo/*"}]
    # Of the lake, it has the others' rights; it refuses nothing.
    lake = [one for one in policies["GlueRole"] if str(one["Resource"]).startswith(("Lake.Arn", "${Lake.Arn}"))]
    assert [one for one in lake if one["Effect"] == "Allow"] == policies["GeoBronzeRole"][:2]
    assert {one["Effect"] for one in policies["GeoBronzeRole"]} == {"Allow"}


def test_the_geo_jobs_are_given_the_libraries_and_the_scheduler_of_the_parameters():
    given = {job: JOBS[job]["DefaultArguments"] for job in JOBS}
    assert [job for job in sorted(given) if "GeoModules" in str(given[job])] == [*GEO]
    assert [job for job in sorted(given) if "DaskScheduler" in str(given[job])] == [*GEO]
    for job in GEO:
        assert "DaskSchedulerWanted" in str(given[job]["--dask-scheduler"])
        assert "GeoModulesWanted" in str(given[job]["--additional-python-modules"])


def _arguments(script: Path) -> str:
    return re.search(r"arguments\.read\((.*)\)", script.read_text())[1]
