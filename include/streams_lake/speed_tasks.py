"""The Python tasks that hold the speed layer against the batch layer.

plan_speed → job --hours → publish_speed → compare → Athena: unload → publish_differences → Athena: totals → judge
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.lakehouse import plan
from include.streams_lake import hours, publish, reconcile, runs
from include.streams_lake.assets import REFINED
from include.streams_lake.runs import RUNS
from include.streams_lake.streams import CLICKSTREAM, SPEED
from include.streams_lake.tasks import interval
from include.tables import contract

log = logging.getLogger(__name__)

PARAMS = {
    "hour": Param(
        None,
        type=["null", "string"],
        pattern=r"^\d{4}-\d\d-\d\dT([01]\d|2[0-3])$",
        title="Event hour",
        description="Such as 2026-03-01T10, to compare this one. Empty: the hours that changed, or the run's interval.",
    ),
    "threshold": Param(
        0.01,
        type="number",
        minimum=0,
        maximum=1,
        title="Share that may differ",
        description="Of the windows of a rule: if more of them differ, the run fails and says why they do.",
    ),
}


@task(multiple_outputs=True, retries=2)
def plan_speed(
    data_interval_start: Any = None,
    data_interval_end: Any = None,
    dag_run: Any = None,
    params: Any = None,
    triggering_asset_events: Any = None,
) -> dict[str, Any]:
    """The event hours to compare, and those to export too, which are written down for the job `vitrine-speed`."""
    lake, moment = aws.lake(), data_interval_end or dag_run.run_after
    told = (triggering_asset_events or {}).get(REFINED[CLICKSTREAM.name], [])
    exported: list[str] = []
    if hour := (params or {}).get("hour"):
        compared = [hour]
    elif told:
        until = max(event.extra["until"] for event in told)
        compared = reconcile.settled({hour for event in told for hour in event.extra["hours"]}, until)
        exported = [until]
    else:
        compared = list(hours.between(*_whole_days(data_interval_start, data_interval_end, moment)))
    exported = sorted({*compared, *exported})
    version = plan.version(moment)
    uri = runs.write(f"s3://{lake}/{RUNS}/speed/{version}/hours.json", exported)
    return {"lake": lake, "version": version, "hours": compared, "exported": exported, "document": uri}


def _whole_days(start: Any, end: Any, moment: Any) -> tuple[str, str]:
    """The hours of an interval; of one of a day or more, those from midnight to midnight."""
    since, until = interval(start, end, moment)
    if hours.start(until) - hours.start(since) < timedelta(days=1):
        return since, until
    return f"{since[:10]}T00", f"{until[:10]}T00"


@task(retries=2, max_active_tis_per_dag=1)
def publish_speed(planned: dict[str, Any], job_run: str) -> dict[str, int]:
    """Points the hours of the tables of the speed layer at what was exported; the rows of each table."""
    report, s3, glue = runs.report("speed", job_run) or {}, aws.client("s3"), aws.client("glue")
    noted = dict.fromkeys(planned["exported"], planned["version"])
    for name in SPEED:
        publish.publish_hours(s3, glue, planned["lake"], contract.load(name), report["tables"][name], noted)
    return {name: report["tables"][name]["rows_out"] for name in SPEED}


@task(multiple_outputs=True, retries=2)
def compare(planned: dict[str, Any], ti: Any) -> dict[str, str]:
    """The statements that write the windows that differ, and that count them, and where they are written."""
    location = f"s3://{planned['lake']}/gold/reconcile/v={planned['version']}-{ti.try_number}/"
    return {
        "location": location,
        "unload": reconcile.unload(planned["hours"], location),
        "totals": reconcile.totals(planned["hours"]),
    }


@task(retries=2, max_active_tis_per_dag=1)
def publish_differences(planned: dict[str, Any], location: str) -> list[str]:
    """Points the hours of `reconcile` at the windows that differ; the hours that have any."""
    return publish.publish_differences(
        aws.client("s3"), aws.client("glue"), planned["lake"], location, planned["hours"]
    )


@task(retries=2)
def judge(query_id: str, params: Any = None) -> list[str]:
    """What the layers' comparison came to, a line for each rule; fails where a rule differs in more than a share."""
    athena = aws.client("athena")
    _, *found = athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["Rows"]
    values = [[cell["VarCharValue"] for cell in row["Data"]] for row in found]
    totals = [reconcile.Totals(rule, *map(int, counts)) for rule, *counts in values]
    try:
        lines = reconcile.judge(totals, params["threshold"])
    except reconcile.ReconcileError as error:
        raise AirflowFailException(str(error)) from error
    for line in lines:
        log.info("%s", line)
    return lines
