"""The order stream: what Firehose delivered to order lines and alarms, beside what the speed layer made of them."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import CronDataIntervalTimetable, TaskGroup, dag

from include.lakehouse.audit import TableAuditOperator
from include.lakehouse.job import pulled
from include.streams_lake import check_tasks, order_tasks, tasks
from include.streams_lake.assets import REFINED
from include.streams_lake.job import run_job
from include.tags import Tag

STREAM, JOB = "orders", "orders"
ATHENA = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}
DOC = """
# Order stream

Brings the orders of the stream `vitrine-orders` into the lake, hour by hour, and looks whether what the speed layer
serves meanwhile has all of them: the order history and the rate alarms in DynamoDB.

Runs ten minutes after each hour, when Firehose has delivered it, for whatever arrived up to its end and is not in
bronze yet; event hours that late orders touch are built again. Running again and backfilling are safe: see
`docs/order_stream.md`.

**Reads** `s3://<lake>/raw/orders/`, the metrics of the stream and its delivery, the tables `vitrine-orders` and
`vitrine-alarms`, and the rule that the function `vitrine-rate-alarm` was deployed with.
**Writes** versions of `vitrine_bronze.stream_orders`, `vitrine_silver.order_lines`, `vitrine.order_alarms`,
`vitrine_quarantine.stream_rejects`, `vitrine.order_gaps` and `vitrine.quality`.

## Triage
- **`checks`**: the message says which figure is out of its bounds, and where to look. Nothing was loaded.
- **`build`**: the end of the job's log is in the task's log. Clear the task: another try writes elsewhere.
- **bronze.publish**: a raw file is gone that an hour was built from: put it back.
- **bronze.count_records**: the files have fewer records than came in, which a later run loads; or too much poison,
  which is in `vitrine_quarantine.stream_rejects` with its reason.
- **silver.audit**: the message names the check and the line of the contract. Nothing of these hours was published.
- **history.judge**: the history lacks orders, or alarms don't fit them. `vitrine.order_gaps` has each with its cause.
  *missing*, *outdated*: look into the queue `vitrine-stream-failures` and the log of `vitrine-order-history` or
  `vitrine-rate-alarm`, mend, and let the mapping read the stream again from that time; what is there already does not
  change. *unsent*: the topic did not take the message; the next order sends it. *unexpected*: the function had another
  rule then. Clear **history.plan** and what follows."""


@dag(
    schedule=CronDataIntervalTimetable("10 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={**check_tasks.PARAMS, **order_tasks.PARAMS},
    max_active_runs=4,
    doc_md=DOC,
    tags=[Tag.STREAMS, Tag.SALES, Tag.GLUE, Tag.ATHENA],
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def order_stream():
    """Checks → bronze → silver → history and alarms beside the speed layer's."""
    plan, rule = tasks.plan_arrivals.override(task_id="plan")(STREAM), order_tasks.alarm_rule()
    checks, choice = check_tasks.checks(STREAM, plan), tasks.choose_start(plan, "bronze.load", "snapshot")
    snapshot = tasks.snapshot(STREAM, plan, rule=rule)
    is_behind = tasks.is_behind.override(ignore_downstream_trigger_rules=False)(snapshot["hours"])

    with TaskGroup("bronze"):
        load = run_job(STREAM, "load", JOB, **{"--files": pulled("plan", "files")})
        bronze = tasks.publish_bronze.override(task_id="publish")(STREAM, plan, load.output)
        check_tasks.count_records(STREAM, plan, load.output)

    with TaskGroup("silver"):
        build = run_job(STREAM, "build", JOB, **{"--inputs": pulled("snapshot", "inputs")})
        stage = tasks.stage(STREAM, plan, snapshot["rows"], build.output)
        audit = TableAuditOperator.partial(task_id="audit", map_index_template="{{ task.table }}", **ATHENA)
        verdicts = audit.expand_kwargs(stage).output
        publish = tasks.publish_refined.override(task_id="publish", outlets=[REFINED[STREAM]])
        silver = publish(STREAM, plan, snapshot["digests"], build.output, verdicts)

    with TaskGroup("history"):
        compared = order_tasks.plan_orders.override(task_id="plan")(plan, snapshot["hours"], rule)
        compare = run_job(STREAM, "compare", "history", **{"--inputs": pulled("history.plan", "inputs")})
        gaps = order_tasks.publish_gaps("order_gaps", "history", plan, compared["hours"], compare.output)
        gaps >> order_tasks.judge_orders.override(task_id="judge")(compare.output)

    plan >> checks >> choice >> [load, snapshot]
    bronze >> snapshot >> is_behind >> build
    silver >> compared >> compare
    silver >> tasks.drop_candidates(JOB, build.output)
    tasks.measure(STREAM, plan, rows=snapshot["rows"], loaded=load.output, refined=build.output, published=silver)


order_stream()
