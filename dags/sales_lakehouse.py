"""The sales lakehouse: delivered files to bronze, silver and gold."""

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task_group

from include.lakehouse import tasks
from include.lakehouse.assets import LANDED
from include.lakehouse.audit import TableAuditOperator
from include.lakehouse.job import LakehouseJobOperator, pulled
from include.lakehouse.plan import PARAMS
from include.tags import Tag

DOC = """
# Sales lakehouse

Turns the files that a marketplace delivers into a wide table of sales, checked before anybody reads it.

| layer | what it is | grain |
|---|---|---|
| bronze | what was delivered, typed; one partition a table and delivery day | a row of a file |
| silver | sound rows, the latest of each key; references checked, moments in UTC | a row of its key |
| gold | `wide_sales` (an order item a row), `daily_sales`, `customer_rfm` | stated in the data dictionary |

Runs when files land (S3 tells the asset `landing.olist`) and every morning; both load whatever landed up to the
day of the run and is not in bronze yet, so late files need nobody's care. With nothing new it ends at once.

**Reads** `s3://<lake>/landing/olist/<YYYY-MM-DD>/`. **Writes** versions below `bronze/`, `silver/`, `gold/`,
`quarantine/`, `deliveries/` and `quality/` of the lake; the databases `vitrine_bronze`, `vitrine_silver`,
`vitrine_quarantine`, and in `vitrine` the gold tables, the serving views, `deliveries` and `quality`.

Silver and gold are built whole; published are only the days whose rows changed. Running again, backfilling, and two
runs at once are safe: a run whose inputs another has overtaken leaves the publishing to that one.

## Triage
- **plan** fails: the parameter `load_date` is wrong; the message says how.
- **`build`** of a layer fails: the end of the job's log is in the task's log, the rest in CloudWatch under
  `/aws-glue/jobs`. Clear the task: a job that still runs is waited for, otherwise a new one writes elsewhere.
- A file is **quarantined**: no task fails. `SELECT * FROM vitrine.deliveries WHERE status = 'quarantined'` has the
  reason; rejected rows are in `vitrine_quarantine.<table>`. Deliver a mended file; nothing else is to be done.
- **bronze.publish**: a file is gone from the landing zone: put it back, or its rows would be lost.
- **`audit`** of a table fails: its message names the check, the count, and the line of the contract. Nothing of that
  layer was published. Mend the transform or the contract, then trigger with `rebuild`.
- **`publish`** is skipped: a run with newer files has taken over. Look whether that run ended well."""


def build(layer: str, **arguments: str) -> LakehouseJobOperator:
    """The task that runs a layer's job, to a version of its own at every try."""
    version, lake, attempt = pulled("plan", "version"), pulled("plan", "lake"), "{{ ti.try_number }}"
    return LakehouseJobOperator(
        task_id="build",
        job_name=f"vitrine-{layer}",
        script_args={
            "--lake": lake,
            "--version": f"{version}-{attempt}",
            "--report": f"s3://{lake}/{tasks.RUNS}/{version}/{layer}-{attempt}.json",
            **arguments,
        },
    )


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 5 * * *", timezone="UTC"), assets=[LANDED]),
    start_date=datetime(2016, 9, 1, tzinfo=UTC),
    params=PARAMS,
    doc_md=DOC,
    tags=[Tag.SALES, Tag.LAKEHOUSE, Tag.GLUE, Tag.ATHENA],
    max_active_runs=4,
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def sales_lakehouse():
    """Plan → bronze → silver → gold, each built, audited and published → views, quality."""
    plan = tasks.plan_run.override(task_id="plan")()
    athena = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}

    def checked(layer: str, publish, **arguments: str) -> LakehouseJobOperator:
        run, checks = build(layer, **arguments), tasks.stage(layer, plan)
        audit = TableAuditOperator.partial(task_id="audit", map_index_template="{{ task.table }}", **athena)
        run >> checks
        publish.override(task_id="publish")(plan, audit.expand_kwargs(checks).output)
        return run

    @task_group
    def bronze():
        run = build("bronze", **{"--files": pulled("plan", "files")})
        run >> tasks.publish_bronze.override(task_id="publish")(plan)

    @task_group
    def silver():
        snapshot = tasks.snapshot(plan)
        snapshot >> checked("silver", tasks.publish_silver, **{"--inputs": pulled("silver.snapshot", "inputs")})

    @task_group
    def gold():
        checked("gold", tasks.publish_gold, **{"--silver-version": pulled("silver.publish", "version")})

    first, refine = bronze(), silver()
    tasks.choose_start(plan) >> [first, refine]
    name = "{{ task.query.split('VIEW ')[1].split()[0] }}"
    view = AthenaOperator.partial(task_id="view", map_index_template=name, **athena)
    statements, measured = tasks.views(), tasks.measure(plan)
    first >> refine >> gold() >> [statements, measured, tasks.drop_candidates()]
    view.expand(query=statements)


sales_lakehouse()
