"""Whether what the speed layer said of the clickstream is what the batch layer finds, window by window."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, dag

from include.lakehouse.job import LakehouseJobOperator
from include.streams_lake import speed_tasks
from include.streams_lake.assets import REFINED
from include.streams_lake.runs import RUNS
from include.tags import Tag

DOC = """
# Speed reconcile

The speed layer counts clicks as they come, in DynamoDB; the batch layer counts them again from the files. This exports
the one, holds it against the other, window by window, and says of every difference why it is there.

Runs hour by hour, whenever `kinesis_to_s3` has published: for the hour that has become whole by that, and those that
late clicks changed; and every morning for the day before. A backfill takes the days of its intervals; `hour` takes one
hour. Running again is safe: equal rows make equal files, and the differences of an hour replace those found before.
The export is also what the views `sessions_now`, `visitors_now` and `sources_now` show of hours that the batch layer
does not have yet. See `docs/speed_reconcile.md`.

**Reads** the table `vitrine-windows`, and `vitrine_silver.sessions`, `visitors` and `sources`. **Writes** versions of
`vitrine_silver.speed_sessions`, `speed_visitors`, `speed_sources` and `speed_late`, and `vitrine.reconcile`.

## Triage
- **export**: the end of the job's log is in the task's log. DynamoDB was throttled or away: clear the task.
- **judge** fails: a rule differs in more windows than `threshold` allows; the message has how many, by cause, and
  `SELECT * FROM vitrine.reconcile WHERE dt = DATE '…' AND hour = '…'` has each window.
  - *late*: the speed layer left events out that came more than two minutes late, and says so. If there are many, a
    producer or the delivery to Kinesis is slow; the batch layer is right.
  - *missing*: the speed layer lost events. Look into the queue `vitrine-stream-failures` and the functions' logs; let
    the mapping read the stream again from that time: what is counted already does not change.
  - *duplicate*: the speed layer has more. Of whole hours: `kinesis_to_s3` has not loaded them; run it for the hour
    after. Of some windows: files of raw are missing, or an hour was compared before the next one was loaded.
  - *value*: equal counts, other pages or times: the layers' rules differ, as after a deployment of one only.
"""


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronDataIntervalTimetable("30 3 * * *", timezone="UTC"), assets=[REFINED["clickstream"]]
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params=speed_tasks.PARAMS,
    max_active_runs=4,
    doc_md=DOC,
    tags=[Tag.STREAMS, Tag.GLUE, Tag.ATHENA],
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def speed_reconcile():
    """Plan → export and publish the speed layer → differences → verdict."""
    plan = speed_tasks.plan_speed.override(task_id="plan")()
    lake, version = plan["lake"], "{{ ti.xcom_pull('plan', key='version') }}-{{ ti.try_number }}"
    athena = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}
    export = LakehouseJobOperator(
        task_id="export",
        job_name="vitrine-speed",
        script_args={
            "--hours": plan["document"],
            "--lake": lake,
            "--version": version,
            "--report": f"s3://{{{{ ti.xcom_pull('plan', key='lake') }}}}/{RUNS}/speed/{version}.json",
        },
    )
    published = speed_tasks.publish_speed(plan, export.output)
    statements = speed_tasks.compare(plan)
    differences = AthenaOperator(task_id="differences", query=statements["unload"], **athena)
    shown = speed_tasks.publish_differences(plan, statements["location"])
    totals = AthenaOperator(task_id="totals", query=statements["totals"], **athena)
    published >> statements
    differences >> shown >> totals
    speed_tasks.judge(totals.output)


speed_reconcile()
