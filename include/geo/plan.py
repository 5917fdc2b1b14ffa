"""What a run is to do, from its parameters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Param

from include.lakehouse import plan
from include.lakehouse.plan import PlanError

ZONE = "America/Fortaleza"
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
        ZONE,
        type="string",
        minLength=1,
        title="Time zone",
        description="Of months, days and hours, an IANA name. Another one than the last run's loads everything again.",
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


def zone(params: Mapping[str, Any]) -> str:
    """The time zone.

    Raises:
        PlanError: there is none of this name.
    """
    try:
        return ZoneInfo(params["zone"]).key
    except (KeyError, ValueError, OSError) as error:
        raise PlanError(f"zone: {params['zone']!r} is no time zone; give an IANA name such as {ZONE}") from error


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
