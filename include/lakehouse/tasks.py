"""The Python tasks of the lakehouse's DAG: each takes its clients from Airflow's connections and calls one function."""

import json
import logging
from collections.abc import Iterable
from datetime import date
from typing import Any, Literal

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include import aws
from include.lakehouse import candidates, landing, plan, publish, quality
from include.lakehouse.assets import GOLD
from include.sql import SQL
from include.tables import audit, contract, versions
from include.tables.contract import Layer

log = logging.getLogger(__name__)

RUNS = "runs/sales_lakehouse"
PLAN = "plan"
SNAPSHOT = "silver.snapshot"


def _read(uri: str) -> Any:
    bucket, key = versions.split(uri)
    return json.load(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"])


def _write(uri: str, value: Any) -> str:
    bucket, key = versions.split(uri)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(value).encode())
    return uri


def _arguments(layer: str, ti: Any) -> dict[str, str]:
    """What the Glue run of a layer was given."""
    run = aws.client("glue").get_job_run(JobName=f"vitrine-{layer}", RunId=ti.xcom_pull(f"{layer}.build"))
    return run["JobRun"]["Arguments"]


def _version(layer: str, ti: Any) -> str:
    return _arguments(layer, ti)["--version"]


def _report(layer: str, ti: Any) -> dict[str, Any]:
    return _read(_arguments(layer, ti)["--report"])


@task(multiple_outputs=True, retries=2)
def plan_run(params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """What has landed and is not in bronze yet, and where the run begins."""
    lake, moment = aws.lake(), data_interval_end or dag_run.run_after
    try:
        until = plan.load_date(params, moment)
    except plan.PlanError as error:
        raise AirflowFailException(str(error)) from error
    glue, version = aws.client("glue"), plan.version(moment)
    bronze = publish.bronze_snapshot(glue)
    files = landing.outstanding(landing.listing(aws.client("s3"), lake, until), bronze.files)
    current = not bronze.files or publish.published_snapshot(glue) == bronze.digest
    for file in files:
        log.info("%(key)s, %(bytes)s bytes", file)
    return {
        "lake": lake,
        "version": version,
        "load_date": until.isoformat(),
        "first_step": plan.first_step(files, current=current, rebuild=params["rebuild"]),
        "files": _write(f"s3://{lake}/{RUNS}/{version}/files.json", files),
        "landed": len(files),
    }


@task.branch
def choose_start(planned: dict[str, Any]) -> list[str]:
    """Bronze where files are to be loaded, silver where gold is behind, or nothing."""
    if planned["first_step"] is None:
        log.info("Nothing new has landed up to %s, and gold is up to date", planned["load_date"])
    return {"bronze": ["bronze.build"], "silver": [SNAPSHOT], None: []}[planned["first_step"]]


# One at a time, so that a run's partitions are not switched between those of another.
@task(retries=2, max_active_tis_per_dag=1)
def publish_bronze(planned: dict[str, Any], ti: Any) -> list[str]:
    """Makes the loaded partitions, and what was quarantined, part of the lake."""
    report = _report("bronze", ti)
    _require_every_row("bronze", {"bronze": report}, {})
    files: dict[landing.Partition, landing.Files] = {}
    for file in _read(planned["files"]):
        files.setdefault(landing.Partition(file["load_date"], file["table"]), {})[file["key"]] = file["etag"]
    for file in (file for built in report["partitions"] for file in built["files"]):
        if file["status"] != "loaded" or file["rejected"]:
            log.warning("%(source_file)s: %(status)s, %(rejected)s rows rejected: %(reason)s", file)
    try:
        return publish.publish_bronze(aws.client("s3"), aws.client("glue"), planned["lake"], report, files)
    except publish.PublishError as error:
        raise AirflowFailException(str(error)) from error


@task(multiple_outputs=True, retries=2, trigger_rule="none_failed_min_one_success")
def snapshot(planned: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Fixes which versions of bronze the run reads from here on."""
    bronze = publish.bronze_snapshot(aws.client("glue"))
    uri = f"s3://{planned['lake']}/{RUNS}/{planned['version']}/snapshot-{ti.try_number}.json"
    return {"inputs": _write(uri, bronze.locations), "digest": bronze.digest, "rows": bronze.rows}


@task(retries=2)
def stage(layer: Literal["silver", "gold"], planned: dict[str, Any], ti: Any) -> list[dict[str, str]]:
    """Makes the tables that a job wrote readable for their checks; the checks, table by table."""
    glue, lake = aws.client("glue"), planned["lake"]
    # Gold is checked against the silver that it was made of, whose candidates the run has dropped if it ended once.
    made: list[Layer] = ["silver", "gold"] if layer == "gold" else ["silver"]
    reports: dict[str, Any] = {name: _report(name, ti) for name in made}
    _require_every_row(layer, reports, ti.xcom_pull(SNAPSHOT, key="rows"))
    names: dict[str, str] = {}
    for built in made:
        version = _version(built, ti)
        names |= candidates.names(version, [built])
        for table in contract.of_layer(built):
            candidates.register(glue, table, version, versions.location(lake, built, table.name, version))
    as_of = date.fromisoformat(planned["load_date"])
    return [{"table": table.name, "query": audit.query(table, names, as_of)} for table in contract.of_layer(layer)]


@task(multiple_outputs=True, retries=2, max_active_tis_per_dag=1)
def publish_silver(planned: dict[str, Any], verdicts: list[dict[str, str]], ti: Any) -> dict[str, Any]:
    """Points the silver tables and their quarantine at the checked version."""
    glue, digest = aws.client("glue"), ti.xcom_pull(SNAPSHOT, key="digest")
    version, report = _version("silver", ti), _report("silver", ti)
    _skip_if_superseded(glue, digest)
    for table in contract.of_layer("silver"):
        rejected = report["tables"][table.name]["rejected"]
        publish.publish_silver(glue, table, planned["lake"], version, digest, rejected)
    return {"version": version, "warnings": _warnings(verdicts[:])}


@task(multiple_outputs=True, retries=2, max_active_tis_per_dag=1, outlets=list(GOLD.values()))
def publish_gold(
    planned: dict[str, Any], verdicts: list[dict[str, str]], ti: Any, outlet_events: Any
) -> dict[str, Any]:
    """Points the gold tables at the checked version, partition by partition where bytes have changed."""
    s3, glue, digest = aws.client("s3"), aws.client("glue"), ti.xcom_pull(SNAPSHOT, key="digest")
    version, report = _version("gold", ti), _report("gold", ti)
    _skip_if_superseded(glue, digest)
    changed = {}
    for table in contract.of_layer("gold"):
        name, made = table.name, report["tables"][table.name]
        changed[name] = publish.publish_gold(s3, glue, table, planned["lake"], version, digest)
        log.info("%s: %d rows, %d partitions switched", name, made["rows_out"], len(changed[name]))
        outlet_events[GOLD[name]].extra = {
            "version": versions.location(planned["lake"], "gold", name, version),
            "rows": made["rows_out"],
            "money": made["money"],
            "changed": len(changed[name]),
        }
    return {"version": version, "changed": changed, "warnings": _warnings(verdicts[:])}


def _warnings(verdicts: Iterable[dict[str, str]]) -> dict[str, str]:
    return {verdict["table"]: verdict["warnings"] for verdict in verdicts if verdict["warnings"]}


def _require_every_row(layer: str, reports: quality.Reports, bronze: dict[str, int]) -> None:
    try:
        quality.require_every_row(layer, reports, bronze)
    except quality.QualityError as error:
        raise AirflowFailException(str(error)) from error


def _skip_if_superseded(glue: Any, digest: str) -> None:
    try:
        publish.require_current(glue, digest)
    except publish.SupersededError as error:
        raise AirflowSkipException(str(error)) from error


@task
def views() -> list[str]:
    """The statements that create the views of the serving layer."""
    return [file.read_text() for file in sorted((SQL / "athena" / "views").glob("*.sql"))]


@task(retries=2, trigger_rule="none_failed_min_one_success")
def measure(planned: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Rows in, out and rejected, and money, of every layer, as a partition of the table `quality`."""
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    ran = [layer for layer in ("bronze", "silver", "gold") if states.get(f"{layer}.build") == "success"]
    if not ran:
        raise AirflowSkipException("nothing was built, so there is nothing to measure")
    reports = {layer: _report(layer, ti) for layer in ran}
    warnings: dict[str, str] = {}
    for layer in ran:
        warnings |= ti.xcom_pull(f"{layer}.publish", key="warnings") or {}
    rows = quality.rows(reports, ti.xcom_pull(SNAPSHOT, key="rows"), warnings)
    day = date.fromisoformat(planned["load_date"])
    quality.write(
        aws.client("s3"), aws.client("glue"), rows, planned["lake"], day, planned["version"], attempt=ti.try_number
    )
    return quality.totals(rows)


@task(trigger_rule="all_done", retries=2)
def drop_candidates(ti: Any) -> None:
    """Takes the candidates out of the catalog, whatever became of them."""
    for layer in ("silver", "gold"):
        if ti.xcom_pull(f"{layer}.build"):
            candidates.drop(aws.client("glue"), _version(layer, ti), [layer])
