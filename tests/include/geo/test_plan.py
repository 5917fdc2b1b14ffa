from datetime import UTC, datetime

import jsonschema
import pytest

from include.geo import plan
from include.geo.plan import PARAMS, PlanError

JULY = datetime(2026, 7, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("name", ["America/Fortaleza", "Asia/Kathmandu", "UTC"])
def test_a_time_zone_goes_by_its_name(name):
    assert plan.zone({"zone": name}, "Europe/Madrid", "Europe/Rome") == name


def test_a_run_without_one_keeps_the_lake_s_then_the_deployment_s():
    assert PARAMS["zone"].value is None
    assert plan.zone({"zone": None}, "Europe/Madrid", "Europe/Rome") == "Europe/Madrid"
    assert plan.zone({"zone": None}, None, "Europe/Rome") == "Europe/Rome"
    assert plan.zone({"zone": None}, None, None) == "America/Fortaleza"
    with pytest.raises(PlanError, match="the variable vitrine_geo_zone: 'Rome' is no time zone"):
        plan.zone({"zone": None}, None, "Rome")


@pytest.mark.parametrize("name", ["Fortaleza", "America/", "../etc/passwd", "UTC+3"])
def test_a_wrong_time_zone_is_told(name):
    with pytest.raises(PlanError, match="is no time zone; give an IANA name such as America/Fortaleza"):
        plan.zone({"zone": name}, "Europe/Madrid", None)


@pytest.mark.parametrize(
    ("given", "run_type", "months"),
    [
        (None, "manual", None),
        (None, "scheduled", None),
        (None, "asset_triggered", None),
        (None, "backfill", ["2026-07"]),
        (["2026-08", "2026-06", "2026-08"], "manual", ["2026-06", "2026-08"]),
        (["2026-08"], "backfill", ["2026-08"]),
        ([], "manual", None),
    ],
)
def test_months_are_those_asked_for_or_of_a_backfill(given, run_type, months):
    assert plan.months({"months": given}, run_type, JULY) == months


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("months", ["2026-07"], True),
        ("months", ["2026-13"], False),
        ("months", "2026-07", False),
        ("engine", "dask", True),
        ("engine", None, True),
        ("engine", "pandas", False),
        ("rebuild", True, True),
        ("load_date", None, True),
        ("zone", None, True),
        ("zone", "", False),
    ],
)
def test_parameters_have_a_schema(name, value, fits):
    validator = jsonschema.Draft202012Validator(PARAMS[name].schema)
    assert validator.is_valid(value) == fits
