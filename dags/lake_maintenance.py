"""Housekeeping of the lake: small files become few, and versions that nobody points at go."""

from datetime import timedelta

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, task_group

from include.lakehouse.job import LakehouseJobOperator
from include.maintenance import tasks
from include.maintenance.retention import LAYERS
from include.tags import Tag

DOC = """
# Lake maintenance

Every publication leaves the version before it in place, for those who still read it. This drops such versions once
their newest file is `older_than_days` old, and no table or partition of any database points at them, or at a place in
them. Candidates that a broken run left in `vitrine_audit` are dropped first. Partitions of many small files are
rewritten by the Glue job `vitrine-compact`; the catalog is switched only if the rows are equal, and the old files stay
as any version does that nobody points at. Where people were (`vitrine_bronze.location_records`, and what it came in)
goes `location_days` after the month has ended; the visits that were made of it stay.

**A run only tells what it would do** until it is told otherwise: deleting can't be undone, for the bucket keeps no
versions of its own. Look at the first reports, then set the Airflow variable `vitrine_maintenance_dry_run` to `false`,
once for a deployment; or trigger a run with `dry_run` off.

**Reads** the Glue Catalog and the listing of `bronze/`, `silver/`, `gold/`, `quarantine/`, `deliveries/`, `quality/`,
`products/`, `raw/`, `landing/geo/` and `reports/geo_advertising/`. **Writes** nothing in a dry run; otherwise deletes
versions, drops partitions of location records, and switches compacted ones. Outside of `v=` folders, only old files
of `landing/geo/` (but establishments and campaigns) and of the quarantine of the live offers are touched.

The age counts from the files' LastModified to the run's own date, not to now: a run that comes late decides as it would
have then. What a run is still writing is younger than a day.

## Triage
- **drop_versions** fails for a layer: S3 refused a call, which the message names. Clear it; what has gone has gone.
- **drop_locations** fails: S3 or Glue refused a call. Clear it. A month in the catalog's parameter `months_gone` has no
  location records any more: its visits can't be made again.
- **compaction.rewrite** fails: the end of the job's log is in the task's log. "different columns": the files of that
  partition were written by different versions of a job; leave its table out of `compact`. Otherwise clear the task.
- **compaction.switch_partition** fails: the rewritten rows differ from the old ones. Nothing was switched; look
  into the job before running it again.
- A version that you need has gone: publish it again by running its DAG for that date. Raise `older_than_days`.
"""


def found(key: str) -> str:
    """The template of a field of the partition that a mapped task is about."""
    return f"{{{{ ti.xcom_pull('{tasks.FIND}')[ti.map_index]['{key}'] }}}}"


@dag(
    schedule=CronTriggerTimetable("0 7 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params=tasks.PARAMS,
    max_active_runs=1,
    doc_md=DOC,
    tags=[Tag.LAKEHOUSE, Tag.GLUE, Tag.MAINTENANCE],
    default_args={"owner": "data-platform", "retry_delay": timedelta(minutes=1)},
)
def lake_maintenance():
    """Candidates → versions, layer by layer; old locations; small files → rewritten partitions."""

    @task_group
    def compaction(partition):
        rewrite = LakehouseJobOperator(
            task_id="rewrite",
            job_name="vitrine-compact",
            script_args={
                "--source": found("source"),
                "--target": found("target") + "-{{ ti.try_number }}/",
                "--report": found("report") + "-{{ ti.try_number }}.json",
            },
            map_index_template=found("label"),
        )
        tasks.switch_partition.override(map_index_template=found("label"))(partition, rewrite.output)

    tasks.drop_locations()
    small = tasks.find_small_files()
    # What compaction leaves behind goes with a later run: who reads it can finish.
    tasks.drop_candidates() >> tasks.drop_versions.expand(layer=list(LAYERS)) >> small
    compaction.expand(partition=small)


lake_maintenance()
