"""The Python tasks of the streams' DAGs: each takes its clients from Airflow's connections and calls one function.

A stream goes by its name, a key of `STREAMS`; a run of a Glue job by its id, the output of its operator. A DAG wires:

    plan_arrivals → job --files → publish_bronze → snapshot → job --inputs → stage → audit → publish_refined → measure
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.lakehouse import candidates, plan
from include.lakehouse import quality as lakehouse_quality
from include.sql import SQL
from include.streams.rate import RateRule
from include.streams_lake import hours, publish, quality, raw, runs
from include.streams_lake.assets import REFINED
from include.streams_lake.runs import RUNS
from include.streams_lake.streams import CLICKSTREAM, ORDERS, SPEED, STREAMS, VIEWS
from include.tables import audit, catalog, contract

log = logging.getLogger(__name__)


def interval(start: datetime | None, end: datetime | None, moment: datetime) -> tuple[str, str]:
    """The first hour of a run and the one after its last: of its data interval, or else the hour before its moment."""
    until = hours.at(end or moment)
    since = hours.at(start) if start and end and start < end else hours.before(until, 1)
    return min(since, hours.before(until, 1)), until


@task(multiple_outputs=True, retries=2)
def plan_arrivals(
    stream: str, data_interval_start: Any = None, data_interval_end: Any = None, dag_run: Any = None
) -> dict[str, Any]:
    """What has arrived in the run's hours, and some before, and is not in bronze yet."""
    lake, moment = aws.lake(), data_interval_end or dag_run.run_after
    since, until = interval(data_interval_start, data_interval_end, moment)
    listed = raw.listing(aws.client("s3"), lake, stream, hours.before(since, raw.LOOKBACK), until)
    bronze = contract.load(STREAMS[stream].bronze)
    new = raw.outstanding(listed, catalog.partitions(aws.client("glue"), bronze))
    version = plan.version(moment)
    for hour, files in new.items():
        log.info("%s: %d files, %d bytes", hour, len(files), sum(file.size for file in files))
    return {
        "lake": lake,
        "version": version,
        "since": since,
        "until": until,
        "files": runs.write(f"s3://{lake}/{RUNS}/{stream}/{version}/files.json", raw.described(new)),
        "arrived": list(new),
    }


@task.branch
def choose_start(planned: dict[str, Any], load: str, otherwise: str) -> str:
    """The task to go on with: `load` where files have arrived, else `otherwise`."""
    return load if planned["arrived"] else otherwise


@task(retries=2, max_active_tis_per_dag=1)
def publish_bronze(stream: str, planned: dict[str, Any], job_run: str) -> list[str]:
    """Makes the loaded hours, and what could not be parsed, part of the lake."""
    of = STREAMS[stream]
    version, report = runs.arguments(of.job, job_run)["--version"], runs.report(of.job, job_run) or {}
    _require_every_row(quality.rows(of, report, None, 0, {}))
    files = raw.undescribed(runs.read(planned["files"]))
    try:
        return publish.publish_bronze(aws.client("s3"), aws.client("glue"), planned["lake"], of, version, report, files)
    except publish.PublishError as error:
        raise AirflowFailException(str(error)) from error


@task(multiple_outputs=True, retries=2, trigger_rule="none_failed_min_one_success")
def snapshot(
    stream: str,
    planned: dict[str, Any],
    ti: Any,
    rebuild: Iterable[str] = (),
    rule: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fixes which event hours the run builds, and of which bronze; `rule` has the parameters of the rate alarm."""
    of, glue = STREAMS[stream], aws.client("glue")
    found = publish.snapshot(glue, of, planned["until"], rebuild)
    inputs: dict[str, Any] = {"hours": found.hours, "locations": found.locations}
    if of is ORDERS:
        inputs |= {"rule": asdict(RateRule(**(rule or {}))), "alarms": publish.earlier_alarms(glue, found.hours)}
    uri = f"s3://{planned['lake']}/{RUNS}/{stream}/{planned['version']}/snapshot-{ti.try_number}.json"
    log.info("%d hours to build; %d rows wait for their hour to be over", len(found.hours), found.waiting)
    return {"inputs": runs.write(uri, inputs), "hours": found.hours, "digests": found.digests, "rows": found.rows}


@task.short_circuit
def is_behind(wanted: list[str]) -> bool:
    """Whether there is an event hour to build."""
    return bool(wanted)


@task(retries=2)
def stage(stream: str, planned: dict[str, Any], rows: int, job_run: str) -> list[dict[str, str]]:
    """Makes the tables that the job wrote readable for their checks; the checks, table by table."""
    of, glue = STREAMS[stream], aws.client("glue")
    version, report = runs.arguments(of.job, job_run)["--version"], runs.report(of.job, job_run) or {}
    _require_every_row(quality.rows(of, None, report, rows, {}))
    names = {}
    for name, made in report["tables"].items():
        table = contract.load(name)
        if made["rows_out"]:
            candidates.register(glue, table, version, made["location"])
            names[name] = f"vitrine_audit.{candidates.name(table, version)}"
    as_of = (hours.start(planned["until"]) - timedelta(hours=1)).date()
    return [{"table": name, "query": audit.query(contract.load(name), names, as_of)} for name in names]


@task(retries=2, max_active_tis_per_dag=1)
def publish_refined(
    stream: str,
    planned: dict[str, Any],
    digests: dict[str, str],
    job_run: str,
    verdicts: Iterable[dict[str, str]],
    outlet_events: Any = None,
) -> dict[str, Any]:
    """Points the event hours of the refined tables at the checked version; the hours that changed, and the warnings."""
    of = STREAMS[stream]
    changed = publish.publish_refined(
        aws.client("s3"), aws.client("glue"), planned["lake"], of, runs.report(of.job, job_run) or {}, digests
    )
    for name, those in changed.items():
        log.info("%s: %s", name, ", ".join(those) or "no hour has changed")
    if outlet_events is not None:
        switched = sorted({hour for those in changed.values() for hour in those})
        outlet_events[REFINED[stream]].extra = {"hours": switched, "until": planned["until"]}
    warnings = {verdict["table"]: verdict["warnings"] for verdict in verdicts if verdict["warnings"]}
    return {"changed": changed, "warnings": warnings}


@task(retries=2, trigger_rule="none_failed_min_one_success")
def measure(
    stream: str,
    planned: dict[str, Any],
    ti: Any,
    rows: int | None = None,
    loaded: str | None = None,
    refined: str | None = None,
    published: dict[str, Any] | None = None,
) -> dict[str, dict[str, int]]:
    """Rows in, out and rejected as a partition of the table `quality`; `loaded` and `refined` are the jobs' runs."""
    of = STREAMS[stream]
    warnings = (published or {}).get("warnings", {})
    found = quality.rows(of, runs.report(of.job, loaded), runs.report(of.job, refined), rows or 0, warnings)
    if found:
        day = date.fromisoformat(planned["until"][:10])
        run = f"{stream}-{planned['version']}"
        s3, glue = aws.client("s3"), aws.client("glue")
        lakehouse_quality.write(s3, glue, found, planned["lake"], day, run, attempt=ti.try_number)
    return lakehouse_quality.totals(found)


@task(trigger_rule="all_done", retries=2)
def drop_candidates(job: str, job_run: str | None) -> None:
    """Takes the candidates of a run out of the catalog, whatever became of them."""
    if job_run:
        candidates.drop(aws.client("glue"), runs.arguments(job, job_run)["--version"], ["streams"])


@task(retries=2)
def views(stream: str) -> list[str]:
    """The statements that create the views over a stream's tables; the tables that they read are created first."""
    glue, lake = aws.client("glue"), aws.lake()
    for name in (*STREAMS[stream].refined, *(SPEED if stream == CLICKSTREAM.name else ())):
        table = contract.load(name)
        catalog.ensure_table(glue, table, publish.root(lake, table))
    folder = SQL / "athena" / "views" / "streams"
    return [(folder / f"{name}.sql").read_text() for name in VIEWS.get(stream, ())]


def _require_every_row(measured: list[lakehouse_quality.Measured]) -> None:
    try:
        quality.require_every_row(measured)
    except lakehouse_quality.QualityError as error:
        raise AirflowFailException(str(error)) from error
