"""The tasks of the web logs' DAG beside those of every stream: the search index against the lake, and the report.

has_search → plan_index → job vitrine-search-index → publish_gaps → judge_index → job: drop old indexes
plan_report → Athena: days, hours, paths → write_report, error_rate
"""

import logging
from datetime import date, timedelta
from typing import Any

from airflow.sdk import Param, Variable, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.streams_lake import completeness, hours, runs, web_report
from include.streams_lake.completeness import CompletenessError
from include.streams_lake.order_tasks import HOURS, THRESHOLD
from include.streams_lake.runs import RUNS

log = logging.getLogger(__name__)

SEARCH = "vitrine_search_url"
"""The variable with the search server's URL; where it is empty or missing, there is no index to look after."""
PARAMS = {
    "hours": HOURS,
    "threshold": THRESHOLD,
    "retention_days": Param(
        30,
        type="integer",
        minimum=1,
        title="Days that indexes are kept",
        description="Indexes of days longer before the interval's end are deleted. The lake keeps their lines.",
    ),
    "error_rate": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Errors of the server, at most",
        description="Share of an hour's answers with a status of 500 or more. Above it, the run fails.",
    ),
    "least_requests": Param(
        100,
        type="integer",
        minimum=1,
        title="Requests of an hour that is judged",
        description="Fewer say too little of the share of errors.",
    ),
}


@task.short_circuit(ignore_downstream_trigger_rules=True, trigger_rule="none_failed", retries=2)
def has_search() -> bool:
    """Whether there is a search server."""
    return bool(Variable.get(SEARCH, default=""))


@task(multiple_outputs=True, retries=2)
def plan_index(planned: dict[str, Any], refined: list[str], ti: Any, params: Any = None) -> dict[str, Any]:
    """The event hours to compare, and the day before which indexes go; `refined` are those that the run has built."""
    compared = completeness.hours_of(planned["since"], planned["until"], params["hours"], refined)
    until = hours.start(planned["until"]).replace(hour=0)
    oldest = until - timedelta(days=params["retention_days"])
    inputs = completeness.index_inputs(aws.client("glue"), compared, oldest)
    uri = f"s3://{planned['lake']}/{RUNS}/weblogs/{planned['version']}/index-{ti.try_number}.json"
    return {"hours": inputs["hours"], "inputs": runs.write(uri, inputs), "oldest": oldest.date().isoformat()}


@task(retries=2)
def judge_index(job_run: str, params: Any = None) -> list[str]:
    """What the comparison came to; fails where more differs than may."""
    try:
        said = completeness.judge_index(runs.report("search-index", job_run) or {}, params["threshold"])
    except CompletenessError as error:
        raise AirflowFailException(str(error)) from error
    for line in said:
        log.info("%s", line)
    return said


@task(retries=2)
def plan_report(refined: list[str]) -> list[str]:
    """The queries of the report of the days that the run has changed."""
    return web_report.queries(sorted({date.fromisoformat(hour[:10]) for hour in refined}))


@task(retries=2)
def write_report(query_ids: list[str]) -> list[str]:
    """Writes the page of each day that the run has changed; where they are."""
    s3, lake, written = aws.client("s3"), aws.lake(), []
    for day, page in web_report.pages([_rows(query_id) for query_id in query_ids]).items():
        key = f"reports/web_logs/{day}.html"
        s3.put_object(Bucket=lake, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8")
        written.append(f"s3://{lake}/{key}")
        log.info("%s", written[-1])
    return written


@task(retries=2)
def error_rate(query_ids: list[str], refined: list[str], params: Any = None) -> list[str]:
    """The server's share of errors in the hours that the run has built; fails where one is above the bound."""
    found = _rows(list(query_ids)[web_report.PARTS.index("hours")])
    try:
        said = web_report.judge(found, refined, params["error_rate"], params["least_requests"])
    except web_report.ErrorRateError as error:
        raise AirflowFailException(str(error)) from error
    for line in said:
        log.info("%s", line)
    return said


def _rows(query_id: str) -> list[dict[str, Any]]:
    pages = aws.client("athena").get_paginator("get_query_results").paginate(QueryExecutionId=query_id)
    return web_report.rows(pages)
