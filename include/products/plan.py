"""From a run's parameters and a client's contract to everything the tasks need to know."""

import secrets
from datetime import date, datetime
from typing import Any

from dateutil.relativedelta import relativedelta

from include.clients import contract

FLAGS = {"MBA": "mba", "CLV": "clv", "AD": "anomalies", "RECOMMENDER": "recommender"}
"""DAG parameter → product of the algorithms image."""


class PlanError(ValueError):
    """The run's parameters contradict each other or the contract; the message names the parameter and the fix."""


def is_on(flag: bool | str) -> bool:
    """Whether a flag is true, or the text "True" that older callers send."""
    return str(flag).lower() == "true"


def switched_on(params: dict[str, Any]) -> list[str]:
    """The products whose flag is on.

    Raises:
        PlanError: no product is on.
    """
    products = [product for flag, product in FLAGS.items() if is_on(params[flag])]
    if not products:
        raise PlanError(f"every product is switched off: set at least one of {', '.join(FLAGS)} to true")
    return products


def report_date(params: dict[str, Any], run_moment: datetime) -> date:
    """The day the report is for: the parameter if given, else the day the run's data interval ends."""
    given = params.get("report_date")
    try:
        return date.fromisoformat(given) if given else run_moment.date()
    except ValueError as error:
        raise PlanError(f"report_date: {given!r} is no date of the form YYYY-MM-DD") from error


def memory(params: dict[str, Any]) -> str:
    """MiB that a job reserves and may use, as the text Batch expects.

    Batch knows one figure where ECS knows two (a hard and a soft limit), so the larger of MEMORY and memoryReservation
    is asked for.
    """
    return str(max(params["MEMORY"], params.get("memoryReservation") or 0))


def plan(params: dict[str, Any], run_moment: datetime, lake: str) -> dict[str, Any]:
    """Everything a run's tasks need, as plain values.

    Args:
        params: the DAG run's parameters.
        run_moment: end of the data interval, or the moment the run is due where it has none.
        lake: name of the lake's bucket.

    Returns:
        `start` (inclusive) and `end` (exclusive) of the window as ISO dates; the view's name in parts and `roles`, the
        SQL expressions over it; `extract`, a folder of the Snowflake stage, and `output`, an s3:// prefix, both new at
        every call, so no run writes where another has written; names of products, queue and job definition; MiB of
        memory.

    Raises:
        PlanError: a parameter is wrong.
        ContractError: the client has no contract, or a broken one.
    """
    client = contract.load(params["client"])
    end = report_date(params, run_moment)
    version = f"{run_moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    return {
        "client": client.client,
        "report_date": end.isoformat(),
        "start": (end - relativedelta(months=client.history_months)).isoformat(),
        "end": end.isoformat(),
        "view": [client.source.database, client.source.schema_, client.source.view],
        "roles": client.roles,
        "products": switched_on(params),
        "extract": f"sales/client={client.client}/v={version}",
        "output": f"s3://{lake}/products/{client.client}/{end.isoformat()}/v={version}",
        "queue": f"vitrine-{params['priority'].lower()}",
        # A privileged container is another job definition, which an account has only if its deployment allows it.
        "job_definition": "vitrine-algorithms-privileged" if is_on(params["privileged"]) else "vitrine-algorithms",
        "memory": memory(params),
    }
