"""The Python tasks of the geo lake's DAG: each takes its clients from Airflow's connections and calls one function."""

import logging
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from airflow.sdk import Variable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include import aws
from include.geo import consumers, landing, plan, publish, quality, state
from include.geo.assets import GOLD
from include.geo.job import RUNS
from include.geo.tables import ANALYSES, VISITS
from include.lakehouse import candidates
from include.lakehouse import plan as lakehouse_plan
from include.lakehouse import quality as lakehouse_quality
from include.lakehouse.publish import PublishError, SupersededError
from include.streams_lake import runs
from include.tables import audit, contract

log = logging.getLogger(__name__)

BRONZE, VISITS_JOB, ANALYSIS = "geo-bronze", "geo-visits", "geo-analysis"


@task(multiple_outputs=True, retries=2)
def plan_run(params: dict[str, Any], data_interval_start: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """What has landed and is not in bronze yet, and which months are asked for."""
    lake, moment = aws.lake(), dag_run.run_after
    bronze = state.bronze(aws.client("glue"))
    try:
        until = lakehouse_plan.load_date(params, moment)
        zone = plan.zone(params, bronze.zone, Variable.get(plan.SETTING, default=None))
    except lakehouse_plan.PlanError as error:
        raise AirflowFailException(str(error)) from error
    landed = landing.listing(aws.client("s3"), lake, until)
    wanted = landing.outstanding(landed, bronze.loaded, zone, bronze.gone)
    version = lakehouse_plan.version(moment)
    for delivery in wanted:
        log.info("%s %s: %d files", *delivery, len(landed[delivery]))
    files = {
        "zone": zone,
        "known": landing.known(landed),
        "deliveries": landing.described(landed, wanted),
        "establishments": [
            loaded.location
            for delivery, loaded in bronze.loaded.items()
            if delivery.table == state.ESTABLISHMENTS and loaded.location and delivery not in wanted
        ],
    }
    return {
        "lake": lake,
        "version": version,
        "load_date": until.isoformat(),
        "zone": zone,
        "files": runs.write(f"s3://{lake}/{RUNS}/{version}/files.json", files),
        "landed": len(wanted),
        "months": plan.months(params, dag_run.run_type, data_interval_start),
        "rebuild": params["rebuild"],
    }


@task.short_circuit(ignore_downstream_trigger_rules=False)
def has_landed(landed: int) -> bool:
    """Whether there is a delivery to load."""
    return bool(landed)


# One at a time, so that a run's partitions are not switched between those of another.
@task(retries=2, max_active_tis_per_dag=1)
def publish_bronze(planned: dict[str, Any], job_run: str) -> list[str]:
    """Makes the loaded deliveries, and what was rejected, part of the lake."""
    report = runs.report(BRONZE, job_run) or {}
    _require_every_row(quality.bronze(report))
    for built in report["deliveries"]:
        for file in (file for file in built["files"] if file["status"] != "loaded"):
            log.warning("%(source_file)s was quarantined: %(reason)s", file)
        for reason, count in built["reasons"].items():
            log.warning("%s of %s: %d rows rejected: %s", built["table"], built["load_date"], count, reason)
    s3, glue = aws.client("s3"), aws.client("glue")
    try:
        return publish.publish_bronze(s3, glue, planned["lake"], runs.read(planned["files"]), report)
    except PublishError as error:
        raise AirflowFailException(str(error)) from error


@task(multiple_outputs=True, retries=2, trigger_rule="none_failed")
def snapshot_months(planned: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Fixes which months the run builds, and of which bronze; skips what follows where there is none."""
    glue = aws.client("glue")
    bronze = state.bronze(glue)
    digests, records = bronze.digests(planned["zone"]), bronze.months(state.LOCATIONS)
    months = planned["months"] or (
        list(digests) if planned["rebuild"] else state.behind(digests, state.published(glue, state.ANCHOR))
    )
    if missing := [month for month in months if month not in digests]:
        log.warning("nothing has been delivered of %s", ", ".join(missing))
    months = [month for month in months if month in digests]
    if not months:
        raise AirflowSkipException("no month is behind bronze")
    try:
        establishments = state.require_establishments(bronze)
    except state.StateError as error:
        raise AirflowFailException(str(error)) from error
    inputs = {
        "zone": planned["zone"],
        "months": {month: records[month] for month in months},
        "establishments": establishments,
    }
    uri = f"s3://{planned['lake']}/{RUNS}/{planned['version']}/visits-{ti.try_number}.json"
    return {
        "inputs": runs.write(uri, inputs),
        "months": months,
        "digests": {month: digests[month] for month in months},
        "rows": bronze.rows(state.LOCATIONS, months),
    }


@task(retries=2)
def stage_visits(planned: dict[str, Any], rows: int, job_run: str) -> list[dict[str, str]]:
    """Makes the months that the job wrote readable for their checks; the checks, table by table."""
    report = runs.report(VISITS_JOB, job_run) or {}
    _require_every_row(quality.visits(report, rows, {}))
    return _staged([(runs.arguments(VISITS_JOB, job_run)["--version"], report)])


@task(multiple_outputs=True, retries=2, max_active_tis_per_dag=1, trigger_rule="none_failed")
def publish_visits(
    planned: dict[str, Any],
    digests: dict[str, str] | None = None,
    job_run: str | None = None,
    verdicts: Iterable[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """Points the months of visits and active days at the checked version, if any; drops those without records."""
    s3, glue = aws.client("s3"), aws.client("glue")
    if job_run is None:
        bronze = state.bronze(glue)
        if not any(state.left_over(glue, bronze, table) for table in VISITS):
            raise AirflowSkipException("no month was built, and none is without records")
    report = runs.report(VISITS_JOB, job_run) or publish.NO_VISITS
    changed = publish.publish_visits(s3, glue, planned["lake"], planned["zone"], report, digests or {})
    _tell(changed)
    return {"changed": changed, "warnings": _warnings(verdicts)}


@task(multiple_outputs=True, retries=2, trigger_rule="none_failed")
def snapshot_analyses(planned: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Fixes which visits and interactions the analyses read; skips what follows where they were made of the same."""
    glue = aws.client("glue")
    found = state.analysed(glue, state.bronze(glue), planned["zone"])
    if state.is_empty(glue, found):
        raise AirflowSkipException("nothing has been delivered yet")
    if state.is_current(glue, found) and not planned["rebuild"]:
        raise AirflowSkipException("the analyses are up to date")
    uri = f"s3://{planned['lake']}/{RUNS}/{planned['version']}/analyses-{ti.try_number}.json"
    return {"inputs": runs.write(uri, {"zone": planned["zone"], **found.locations}), "digest": found.digest}


@task(retries=2)
def stage_analyses(planned: dict[str, Any], job_runs: Iterable[str]) -> list[dict[str, str]]:
    """Makes what the analyses wrote readable for the checks; the checks, table by table."""
    return _staged([(runs.arguments(ANALYSIS, run)["--version"], runs.report(ANALYSIS, run) or {}) for run in job_runs])


@task(
    multiple_outputs=True, retries=2, max_active_tis_per_dag=1, trigger_rule="none_failed", outlets=list(GOLD.values())
)
def publish_analyses(
    planned: dict[str, Any],
    digest: str | None = None,
    job_runs: Iterable[str] | None = None,
    verdicts: Iterable[dict[str, str]] | None = None,
    outlet_events: Any = None,
) -> dict[str, Any]:
    """Points the months of the analyses at the checked versions, where bytes have changed; drops those without rows."""
    if digest is None or job_runs is None:
        raise AirflowSkipException("nothing was analysed")
    reports = [runs.report(ANALYSIS, run) or {} for run in job_runs]
    s3, glue = aws.client("s3"), aws.client("glue")
    try:
        changed = publish.publish_analyses(s3, glue, planned["lake"], planned["zone"], reports, digest)
    except SupersededError as error:
        raise AirflowSkipException(str(error)) from error
    _tell(changed)
    for name, asset in GOLD.items():
        outlet_events[asset].extra = {"months": changed[name], "version": planned["version"]}
    return {"changed": changed, "warnings": _warnings(verdicts)}


# One at a time, so that the note of the newest inputs is of those that were looked up last.
@task(multiple_outputs=True, retries=2, max_active_tis_per_dag=1, trigger_rule="none_failed")
def published_inputs(planned: dict[str, Any], ti: Any) -> dict[str, str]:
    """Writes where all published tables are, for those who read them; skips them where they were made of the same."""
    s3, glue, lake = aws.client("s3"), aws.client("glue"), planned["lake"]
    found = consumers.inputs(glue, state.bronze(glue), planned["zone"])
    if not any(found.tables.values()):
        raise AirflowSkipException("nothing has been published yet")
    if consumers.made_of(s3, lake) == found.digest and not planned["rebuild"]:
        raise AirflowSkipException("the report and the live offers' file are up to date")
    latest, uri = (
        f"s3://{lake}/{key}"
        for key in (consumers.LATEST, f"{RUNS}/{planned['version']}/published-{ti.try_number}.json")
    )
    runs.write(uri, {**found._asdict(), "latest": latest})
    runs.write(latest, {"inputs": uri})
    return {"inputs": uri, "digest": found.digest}


@task(retries=2)
def note_consumed(planned: dict[str, Any], digest: str) -> None:
    """Notes that the report and the live offers' file were made of these tables."""
    consumers.note(aws.client("s3"), planned["lake"], digest)


@task(retries=2, trigger_rule="none_failed_min_one_success")
def measure(
    planned: dict[str, Any],
    ti: Any,
    rows: int | None = None,
    loaded: str | None = None,
    built: str | None = None,
    analysed: Iterable[str] | None = None,
    published: Iterable[Mapping[str, Any] | None] = (),
) -> dict[str, dict[str, int]]:
    """Rows in, out and rejected as a partition of the table `quality`; `loaded`, `built`, `analysed` are jobs' runs."""
    warnings: dict[str, str] = {}
    for one in published:
        warnings |= (one or {}).get("warnings", {})
    found = [
        *quality.bronze(runs.report(BRONZE, loaded)),
        *quality.visits(runs.report(VISITS_JOB, built), rows or 0, warnings),
        *quality.analyses([runs.report(ANALYSIS, run) or {} for run in analysed or () if run], warnings),
    ]
    if not found:
        raise AirflowSkipException("nothing was built, so there is nothing to measure")
    day = date.fromisoformat(planned["load_date"])
    s3, glue, run = aws.client("s3"), aws.client("glue"), f"geo-{planned['version']}"
    lakehouse_quality.write(s3, glue, found, planned["lake"], day, run, attempt=ti.try_number)
    return lakehouse_quality.totals(found)


@task(trigger_rule="all_done", retries=2)
def drop_candidates(built: str | None = None, analysed: Iterable[str] | None = None) -> None:
    """Takes the candidates out of the catalog, whatever became of them."""
    glue = aws.client("glue")
    for job, run in [(VISITS_JOB, built), *((ANALYSIS, run) for run in analysed or ())]:
        if run:
            given = runs.arguments(job, run)
            made = ANALYSES[given["--analysis"]] if job == ANALYSIS else VISITS
            candidates.drop_tables(glue, given["--version"], map(contract.load, made))


def _staged(made: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Registers the tables of versions, but those without rows; the checks of each."""
    glue, names = aws.client("glue"), {}
    for version, report in made:
        for name, table in report["tables"].items():
            if table["rows_out"]:
                candidates.register(glue, contract.load(name), version, table["location"])
                names[name] = f"vitrine_audit.{candidates.name(contract.load(name), version)}"
    return [{"table": name, "query": audit.query(contract.load(name), names)} for name in names]


def _tell(changed: Mapping[str, list[str]]) -> None:
    for name, months in changed.items():
        log.info("%s: %s", name, ", ".join(months) or "no month has changed")


def _warnings(verdicts: Iterable[dict[str, str]] | None) -> dict[str, str]:
    """Table → what its audit warned of; without tables that have rows, there was no audit."""
    return {verdict["table"]: verdict["warnings"] for verdict in verdicts or () if verdict["warnings"]}


def _require_every_row(measured: Iterable[lakehouse_quality.Measured]) -> None:
    lost = [row for row in measured if not row.reconciled]
    if lost:
        raise AirflowFailException(
            "; ".join(f"{row.table_name}: {row.rows_in} rows came in, {row.rows_out} went out" for row in lost)
        )
