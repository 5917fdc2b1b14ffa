"""The tasks of the orders' DAG beside those of every stream: the speed layer's history and alarms against the lake.

alarm_rule → plan_orders → job vitrine-history → publish_gaps → judge_orders
"""

import logging
from dataclasses import asdict
from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.streams import rate_alarm
from include.streams_lake import completeness, publish, runs
from include.streams_lake.completeness import CompletenessError
from include.streams_lake.runs import RUNS
from include.tables import contract

log = logging.getLogger(__name__)

FUNCTION = "vitrine-rate-alarm"
"""The Lambda function that raises the alarms: what it was deployed with is recomputed."""
HOURS = Param(
    2,
    type="integer",
    minimum=1,
    maximum=24 * 31,
    title="Hours to compare",
    description="So many event hours before the interval's end are compared with the speed layer, whatever was loaded.",
)
THRESHOLD = Param(
    0.0,
    type="number",
    minimum=0,
    maximum=1,
    title="Share that may differ",
    description="Of what is compared with the speed layer: if more of it differs, the run fails and names it.",
)
PARAMS = {"hours": HOURS, "threshold": THRESHOLD}


@task(retries=2)
def alarm_rule() -> dict[str, Any]:
    """The rule that the function of the rate alarm was deployed with."""
    found = aws.client("lambda").get_function_configuration(FunctionName=FUNCTION)
    try:
        return asdict(rate_alarm.rule_of(found.get("Environment", {}).get("Variables", {})))
    except ValueError as error:
        raise AirflowFailException(f"{FUNCTION}: {error}") from error


@task(multiple_outputs=True, retries=2, trigger_rule="none_failed")
def plan_orders(
    planned: dict[str, Any], refined: list[str], rule: dict[str, Any], ti: Any, params: Any = None
) -> dict[str, Any]:
    """The event hours that are compared, and what the job is given of them; `refined` are those that the run built."""
    hours = completeness.hours_of(planned["since"], planned["until"], params["hours"], refined)
    inputs = completeness.order_inputs(aws.client("glue"), hours, planned["until"], rule)
    uri = f"s3://{planned['lake']}/{RUNS}/orders/{planned['version']}/history-{ti.try_number}.json"
    return {"hours": hours, "inputs": runs.write(uri, inputs)}


@task(retries=2, max_active_tis_per_dag=1)
def publish_gaps(table: str, job: str, planned: dict[str, Any], hours: list[str], job_run: str) -> list[str]:
    """Points the compared hours of a table of gaps at what the job found; those that have changed."""
    noted = dict.fromkeys(hours, planned["version"])
    made = runs.report(job, job_run)
    s3, glue = aws.client("s3"), aws.client("glue")
    return publish.publish_hours(s3, glue, planned["lake"], contract.load(table), made, noted)


@task(retries=2)
def judge_orders(job_run: str, params: Any = None) -> list[str]:
    """What the comparison came to; fails where more differs than may."""
    try:
        said = completeness.judge_orders(runs.report("history", job_run) or {}, params["threshold"])
    except CompletenessError as error:
        raise AirflowFailException(str(error)) from error
    for line in said:
        log.info("%s", line)
    return said
