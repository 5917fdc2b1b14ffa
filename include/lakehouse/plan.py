"""What a run of the lakehouse is to do, from its parameters and the state of the lake."""

import secrets
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from airflow.sdk import Param

PARAMS = {
    "load_date": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Up to this delivery",
        description="What landed for this day and earlier ones is loaded, if it is not yet. Empty: the run's day.",
    ),
    "rebuild": Param(
        False,
        type="boolean",
        title="Rebuild",
        description="Build silver and gold again although nothing has landed, as after a change of a transform.",
    ),
}


class PlanError(ValueError):
    """The run's parameters are wrong; the message names the parameter and the fix."""


def load_date(params: Mapping[str, Any], moment: datetime) -> date:
    """The last day whose deliveries count: the parameter if given, else the day of the run's moment."""
    given = params["load_date"]
    try:
        return date.fromisoformat(given) if given else moment.date()
    except ValueError as error:
        raise PlanError(f"load_date: {given!r} is no date of the form YYYY-MM-DD") from error


def version(moment: datetime) -> str:
    """A name for the run's versions that no other run has, nor another try of this task."""
    return f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def first_step(files: list[Any], *, current: bool, rebuild: bool) -> str | None:
    """The task group to begin with: bronze where files are to be loaded, silver where gold is behind, or None.

    Args:
        files: what is to be loaded.
        current: whether the published gold was made of what is in bronze.
        rebuild: whether to build it again all the same.
    """
    if files:
        return "bronze"
    return "silver" if rebuild or not current else None
