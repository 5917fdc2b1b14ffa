"""What a run is to do, from its parameters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Param

from include.lakehouse import plan
from include.lakehouse.plan import PlanError

ZONE = "America/Fortaleza"
SETTING = "vitrine_geo_zone"
"""Airflow variable: the time zone of a lake that has none yet; `AIRFLOW_VAR_VITRINE_GEO_ZONE` in the environment."""
PARAMS = {
    "load_date": plan.PARAMS["load_date"],
    "months": Param(
        None,
        type=["null", "array"],
        items={"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"},
        title="Months to build",
        description="Visits of these months are built, as 2026-07, whatever has landed. Empty: those that are behind.",
    ),
    "zone": Param(
        None,
        type=["null", "string"],
        minLength=1,
        title="Time zone",
        description="Of months, days and hours, an IANA name. Empty: the lake's. Another one loads everything again, "
        "and is the lake's from then on.",
    ),
    "engine": Param(
        None,
        type=["null", "string"],
        enum=[None, "polars", "dask", "spark"],
        title="Engine",
        description="What the jobs compute with. Empty: what the environment says, on Glue Spark.",
    ),
    "rebuild": Param(
        False,
        type="boolean",
        title="Rebuild",
        description="Build all months and analyses although nothing has landed, as after a change of a transform.",
    ),
}


def zone(params: Mapping[str, Any], kept: str | None, setting: str | None) -> str:
    """The time zone: the parameter, else that in which the lake is kept, else the deployment's, else `ZONE`.

    Args:
        params: of the run.
        kept: what the lake's records were loaded with; None of an empty lake.
        setting: value of the variable `SETTING`.

    Raises:
        PlanError: there is none of this name.
    """
    given = params["zone"] or kept or setting or ZONE
    try:
        return ZoneInfo(given).key
    except (KeyError, ValueError, OSError) as error:
        source = "zone" if params["zone"] else f"the variable {SETTING}"
        raise PlanError(f"{source}: {given!r} is no time zone; give an IANA name such as {ZONE}") from error


def months(params: Mapping[str, Any], run_type: str, start: datetime | None) -> list[str] | None:
    """The months whose visits are to be built whatever has landed; None for those that are behind.

    Args:
        params: of the run.
        run_type: Airflow's; a backfill builds the month of its data interval.
        start: of the data interval.
    """
    if params["months"]:
        return sorted(set(params["months"]))
    return [f"{start:%Y-%m}"] if run_type == "backfill" and start else None
