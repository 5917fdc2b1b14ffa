"""The Python tasks of the maintenance DAG: each takes its clients from Airflow's connections and calls one function."""

import json
import logging
from datetime import datetime
from typing import Any

from airflow.sdk import Param, Variable, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.maintenance import compaction, raw_locations, retention
from include.tables import versions

log = logging.getLogger(__name__)

FIND = "find_small_files"
RUNS = "runs/lake_maintenance"
SWITCH = "vitrine_maintenance_dry_run"

PARAMS = {
    "older_than_days": Param(
        14,
        type="integer",
        minimum=1,
        description="Days since the newest file of a version, at least, before it may go.",
    ),
    "location_days": Param(
        400,
        type="integer",
        minimum=1,
        description="Days since the end of a month, at least, before its location records go.",
    ),
    "dry_run": Param(
        None,
        type=["null", "boolean"],
        title="Dry run",
        description="Only tell what would be dropped and rewritten. Empty: what the variable "
        f"{SWITCH} says, and true where it says nothing.",
    ),
    "compact": Param(
        ["sales_extract"],
        type="array",
        items={"type": "string"},
        title="Compact",
        description="Tables whose partitions of many small files are rewritten.",
    ),
}


def is_dry(params: dict[str, Any]) -> bool:
    """Whether the run only tells; a deployment has to say that its lake may be cleaned before anything is deleted."""
    if params["dry_run"] is not None:
        return params["dry_run"]
    return Variable.get(SWITCH, default="true").strip().lower() != "false"


def _moment(data_interval_end: datetime | None, dag_run: Any) -> datetime:
    return data_interval_end or dag_run.run_after


@task(retries=2)
def drop_candidates(params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None) -> list[str]:
    """Candidates that a run has left in the catalog: they would keep their versions for ever."""
    dry, moment = is_dry(params), _moment(data_interval_end, dag_run)
    dropped = retention.drop_candidates(aws.client("glue"), moment, params["older_than_days"], dry_run=dry)
    log.info("%s %d candidates: %s", "Would drop" if dry else "Dropped", len(dropped), ", ".join(dropped) or "none")
    return dropped


@task(retries=2, map_index_template="{{ task.op_kwargs['layer'] }}")
def drop_versions(
    layer: str, params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None
) -> dict[str, Any]:
    """Versions of a layer that are old and that nobody points at."""
    dry, moment = is_dry(params), _moment(data_interval_end, dag_run)
    swept = retention.sweep(
        aws.client("s3"), aws.client("glue"), aws.lake(), layer, moment, params["older_than_days"], dry_run=dry
    )
    said = "would drop %d versions, %.1f MiB; %d stay" if dry else "dropped %d versions, %.1f MiB; %d stay"
    log.info(f"%s: {said}", layer, swept["versions"], swept["bytes"] / 2**20, swept["kept"])
    for key in swept["keys"]:
        log.info("%s", key)
    return {**swept, "dry_run": dry}


@task(retries=2)
def drop_locations(params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Location records of months that are long over, and the files that they came in."""
    dry, today = is_dry(params), _moment(data_interval_end, dag_run).date()
    s3, glue = aws.client("s3"), aws.client("glue")
    swept = raw_locations.sweep(s3, glue, aws.lake(), today, params["location_days"], dry_run=dry)
    log.info(
        "%s location records before %s: %d partitions of %s, %d files, %.1f MiB",
        *("Would drop" if dry else "Dropped", swept["before"], swept["partitions"]),
        *(", ".join(swept["months"]) or "no month", swept["files"], swept["bytes"] / 2**20),
    )
    for key in swept["keys"]:
        log.info("%s", key)
    return {**swept, "dry_run": dry}


@task(retries=2)
def find_small_files(
    params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None
) -> list[dict[str, Any]]:
    """Partitions of many small files, each with where to rewrite it; none in a dry run, which only tells them."""
    s3, glue, moment = aws.client("s3"), aws.client("glue"), _moment(data_interval_end, dag_run)
    found = [partition for table in params["compact"] for partition in compaction.find(s3, glue, table)]
    run = f"{moment:%Y%m%dT%H%M%S}"
    for partition in found:
        log.info("%(label)s: %(files)d files, %(bytes)d bytes", partition)
        partition["target"] = compaction.target(partition["source"], run)
        partition["report"] = f"s3://{aws.lake()}/{RUNS}/{run}/{partition['label'].replace(' ', '-')}"
    return [] if is_dry(params) else found


@task(retries=2)
def switch_partition(partition: dict[str, Any], job_run: str) -> dict[str, Any]:
    """Points the catalog at the rewritten files when their rows are those that were read."""
    given = aws.client("glue").get_job_run(JobName="vitrine-compact", RunId=job_run)["JobRun"]["Arguments"]
    bucket, key = versions.split(given["--report"])
    report = json.load(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"])
    try:
        switched = compaction.switch(aws.client("glue"), partition, report)
    except compaction.CompactionError as error:
        raise AirflowFailException(str(error)) from error
    if switched:
        log.info("%s: %d files became %d", partition["label"], report["files_in"], report["files_out"])
    else:
        log.warning("%s was published anew meanwhile: left alone", partition["label"])
    return {**report, "switched": switched}
