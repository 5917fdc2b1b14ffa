"""The clickstream: what Firehose delivered to sessions, visitors, sources, and the answers made of them."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import CronDataIntervalTimetable, dag, task_group

from include.lakehouse.audit import TableAuditOperator
from include.lakehouse.job import pulled
from include.streams_lake import check_tasks, tasks
from include.streams_lake.assets import REFINED
from include.streams_lake.job import run_job
from include.tags import Tag

STREAM, JOB = "clickstream", "clicks"
ATHENA = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}
DOC = """
# Kinesis to S3

Looks whether the stream `vitrine-clickstream` and its delivery did their work in an hour, and makes of what they left
in the lake the tables that the speed layer makes of the same events as they come: by the same rules, from all events.

Runs ten minutes after each hour, when Firehose has delivered it, for whatever arrived up to its end and is not in
bronze yet; event hours that late clicks touch are built again. Running again and backfilling are safe: with nothing
new a run changes nothing. See `docs/kinesis_to_s3.md`.

**Reads** `s3://<lake>/raw/clickstream/` and `raw-errors/clickstream/`, the state of the stream and its delivery, and
their metrics. **Writes** versions of `vitrine_bronze.clicks` (by hour of arrival), `vitrine_silver.click_events`,
`sessions`, `visitors`, `sources` and the gold tables in `vitrine` (by event hour), `vitrine_quarantine.stream_rejects`,
`vitrine.quality`, the serving views, and the asset `streams.clickstream`, upon which `speed_reconcile` runs.

## Triage
- **`checks`**: nothing was loaded; the message has the figure, its bound and where to look. A run an hour later loads
  what this one left, so mend the cause, then clear the check, or trigger the interval with another bound.
- **checks.stream_active**: the stream or its delivery is not there, or reads another stream: deploy the template.
- **checks.iterator_age**: a function or Firehose is behind: look at its log, and the queue `vitrine-stream-failures`.
- **checks.records_delivered**, **newest_file**: Firehose has not delivered all: look at the metric
  `DeliveryToS3.Success` and the rights of the role `vitrine-delivery`. Kinesis keeps 48 hours.
- **checks.files_readable**, **schema_kept**: the message names the files, or what is wrong with how many records. A
  producer sends a new form: teach it to the rules in `include/streams/rules.py`, which both layers use.
- **bronze.load**, **refined.build**: the end of the job's log is in the task's log. Clear the task: another try writes
  elsewhere.
- **bronze.count_records**: the files have fewer records than came in, which a later run loads; or too much poison,
  which is in `vitrine_quarantine.stream_rejects` with its reason.
- **bronze.publish**: a raw file is gone that an hour was built from: put it back.
- **refined.audit**: the message names the check and the line of the contract. Nothing of these hours was published."""


@dag(
    schedule=CronDataIntervalTimetable("10 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # the first run loads the day before it; more is asked for
    params=check_tasks.PARAMS,
    max_active_runs=4,
    doc_md=DOC,
    tags=[Tag.STREAMS, Tag.GLUE, Tag.ATHENA],
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def kinesis_to_s3():
    """Plan → checks → bronze → refined tables, each built, checked and published → views, measures."""
    plan = tasks.plan_arrivals.override(task_id="plan")(STREAM)
    checks, choice = check_tasks.checks(STREAM, plan), tasks.choose_start(plan, "bronze.load", "refined.snapshot")

    @task_group
    def bronze():
        load = run_job(STREAM, "load", JOB, **{"--files": pulled("plan", "files")})
        check_tasks.count_records(STREAM, plan, load.output)
        return load, tasks.publish_bronze.override(task_id="publish")(STREAM, plan, load.output)

    @task_group
    def refined():
        snapshot = tasks.snapshot(STREAM, plan)
        # What measures bronze goes on where no event hour is behind.
        behind = tasks.is_behind.override(ignore_downstream_trigger_rules=False)(snapshot["hours"])
        build = run_job(STREAM, "build", JOB, **{"--inputs": pulled("refined.snapshot", "inputs")})
        stage = tasks.stage(STREAM, plan, snapshot["rows"], build.output)
        audit = TableAuditOperator.partial(task_id="audit", map_index_template="{{ task.table }}", **ATHENA)
        verdicts = audit.expand_kwargs(stage).output
        behind >> build
        publish = tasks.publish_refined.override(task_id="publish", outlets=[REFINED[STREAM]])
        return snapshot, build, publish(STREAM, plan, snapshot["digests"], build.output, verdicts)

    (load, loaded), (snapshot, build, published) = bronze(), refined()
    checks >> choice >> [load, snapshot]
    loaded >> snapshot
    name = "{{ task.query.split('VIEW ')[1].split()[0] }}"
    statements = tasks.views(STREAM)
    published >> [statements, tasks.drop_candidates(JOB, build.output)]
    AthenaOperator.partial(task_id="view", map_index_template=name, **ATHENA).expand(query=statements)
    tasks.measure(STREAM, plan, rows=snapshot["rows"], loaded=load.output, refined=build.output, published=published)


kinesis_to_s3()
