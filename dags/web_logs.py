"""The web logs: what Firehose delivered to requests and a daily report, and the search index beside them."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import CronDataIntervalTimetable, TaskGroup, dag

from include.lakehouse.audit import TableAuditOperator
from include.lakehouse.job import pulled
from include.streams_lake import check_tasks, order_tasks, tasks, web_log_tasks
from include.streams_lake.assets import REFINED
from include.streams_lake.job import run_job
from include.tags import Tag

STREAM, JOB = "weblogs", "web-logs"
ATHENA = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}
DOC = """
# Web logs

Brings the lines of the web server's log from the stream `vitrine-weblogs` into the lake, hour by hour; writes a page
about each day that changed; looks whether the server answered with too many errors, and whether the search index that
people look into meanwhile has every line. Indexes older than `retention_days` go; the lake keeps their lines.

Runs ten minutes after each hour, when Firehose has delivered it, for whatever arrived up to its end and is not in
bronze yet; hours that late lines touch are built again. Running again and backfilling are safe: see
`docs/web_logs.md`.

**Reads** `s3://<lake>/raw/weblogs/`, the metrics of the stream and its delivery, and the indexes `weblogs-YYYY.MM.DD`
of the search server that the variable `vitrine_search_url` names; without that, all about the index is skipped.
**Writes** versions of `vitrine_bronze.log_lines`, `vitrine_silver.web_logs`, `vitrine.status_requests`,
`vitrine.page_requests`, `vitrine_quarantine.stream_rejects`, `vitrine.index_gaps` and `vitrine.quality`, the views over
them, and `s3://<lake>/reports/web_logs/<day>.html`; deletes old indexes.

## Triage
- **`checks`**: the message says which figure is out of its bounds, and where to look. Nothing was loaded.
- **`build`**: the end of the job's log is in the task's log. Clear the task: another try writes elsewhere.
- **bronze.publish**: a raw file is gone that an hour was built from: put it back.
- **bronze.count_records**: the files have fewer records than came in, which a later run loads; or too many broken
  lines, which are in `vitrine_quarantine.stream_rejects` with their reasons.
- **silver.audit**: the message names the check and the line of the contract. Nothing of these hours was published.
- **report.error_rate**: the server itself is ill: the message names the hours; `vitrine.page_requests` has the paths.
- **index.judge**: the index lacks lines, or has some more often than they arrived; `vitrine.index_gaps` has them. Look
  into the queue `vitrine-stream-failures` and the log of `vitrine-weblogs`, mend, and let the mapping read the stream
  again from that time: documents that are there stay as they are. Then clear **index.plan** and what follows.
- **index.drop**: the search server refused; clear the task."""


@dag(
    schedule=CronDataIntervalTimetable("10 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={**check_tasks.PARAMS, **web_log_tasks.PARAMS},
    max_active_runs=4,
    doc_md=DOC,
    tags=[Tag.STREAMS, Tag.WEB, Tag.GLUE, Tag.ATHENA],
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def web_logs():
    """Checks → bronze → silver and gold → report; the search index beside them."""
    plan = tasks.plan_arrivals.override(task_id="plan")(STREAM)
    checks, choice = check_tasks.checks(STREAM, plan), tasks.choose_start(plan, "bronze.load", "snapshot")
    snapshot = tasks.snapshot(STREAM, plan)
    built = snapshot["hours"]
    is_behind = tasks.is_behind.override(ignore_downstream_trigger_rules=False)(built)

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

    with TaskGroup("report"):
        views = tasks.views(STREAM)
        view = AthenaOperator.partial(task_id="view", **ATHENA).expand(query=views)
        pages = web_log_tasks.plan_report(built)
        query = AthenaOperator.partial(task_id="query", **ATHENA).expand(query=pages)
        view >> query
        web_log_tasks.write_report(query.output)
        web_log_tasks.error_rate(query.output, built)

    with TaskGroup("index"):
        compared = web_log_tasks.plan_index.override(task_id="plan")(plan, built)
        compare = run_job(STREAM, "compare", "search-index", **{"--inputs": pulled("index.plan", "inputs")})
        gaps = order_tasks.publish_gaps("index_gaps", "search-index", plan, compared["hours"], compare.output)
        judged = web_log_tasks.judge_index.override(task_id="judge")(compare.output)
        drop = run_job(STREAM, "drop", "search-index", **{"--drop-before": pulled("index.plan", "oldest")})
        searched = web_log_tasks.has_search()
        searched >> compared >> compare >> drop
        gaps >> judged

    plan >> checks >> choice >> [load, snapshot]
    bronze >> snapshot >> is_behind >> build
    silver >> [views, pages, searched]
    silver >> tasks.drop_candidates(JOB, build.output)
    tasks.measure(STREAM, plan, rows=snapshot["rows"], loaded=load.output, refined=build.output, published=silver)


web_logs()
