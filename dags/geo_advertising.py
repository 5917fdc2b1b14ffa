"""Geo-advertising: who sees which ads, who visits whom, and what the one has to do with the other."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, TaskGroup, dag

from include.geo import tasks
from include.geo.assets import LANDED
from include.geo.job import ENGINE, run_analyses, run_job
from include.geo.plan import PARAMS
from include.lakehouse.audit import TableAuditOperator
from include.lakehouse.job import pulled
from include.tags import Tag

ATHENA = {"workgroup": "vitrine", "sleep_time": 1, "deferrable": True, "retries": 2}
DOC = """
# Geo-advertising

Turns ads that people saw or clicked, and where their phones were, into figures for advertisers: click-through rates,
visits, visits that follow an ad, the lift over people who saw none, hours of the day, and profiles of people.

| layer | what it is | partitions |
|---|---|---|
| bronze | sound rows of people who have consented, by pseudonym | local month and delivery |
| silver | visits (records less than 50 m from an establishment), active days, profiles, attributed visits | month |
| gold | figures of cells of at least five people | month, and `all` |

Runs when files land (S3 tells the asset `landing.geo`) and on the first of each month; both load what has landed up to
the day of the run and is not in bronze yet. Visits are built of the months that this touches; a backfill builds the
month of its data interval; the parameter `months` builds others. The analyses look at all months, and publish those
whose figures changed. The report and the live offers' file follow whenever a published table, the establishments or the
campaigns are others than they were made of. With nothing new a run ends at once.

**Reads** `s3://<lake>/landing/geo/<YYYY-MM-DD>/{establishments,campaigns,interactions,locations}*.parquet` and the
secret `vitrine/geo-salt`.
**Writes** versions below `bronze/`, `silver/`, `gold/`, `quarantine/`, `deliveries/geo/` and `quality/` of the lake:
`vitrine_bronze.{establishments,campaigns,location_records,ad_interactions}`, `vitrine_quarantine.geo_rejects`,
`vitrine_silver.{visits,active_days,attributed_visits,interaction_profile,visit_profile}`,
`vitrine.{campaign_ctr,establishment_visits,attribution,visit_lift,category_hours,geo_deliveries,quality}`.

The pages are below `reports/geo_advertising/`; `reference/establishments.jsonl.gz` is what the live offers read.

Running again, backfilling, and two runs at once are safe: what another run has overtaken is left to that one.

## Triage
- **plan** fails: a parameter is wrong; the message says which.
- **`build`** fails: the end of the job's log is in the task's log, the rest in CloudWatch under `/aws-glue/jobs`. Clear
  the task. *ChangedFileError*: a file was replaced while the run read it; start another run.
- **bronze.publish**: rows came in that are neither kept, nor refused, nor rejected, nor copies: a fault of the job,
  nothing was published. Or a file is gone from the landing zone: put it back, or its rows would be lost.
- A file or row is **rejected**: no task fails. `SELECT * FROM vitrine.geo_deliveries WHERE status = 'quarantined'` and
  `SELECT reason, count(*) FROM vitrine_quarantine.geo_rejects GROUP BY reason`. Deliver what mends it.
- **visits.snapshot** fails: nothing has been delivered of the establishments.
- **`audit`** of a table fails: its message names the check, the count, and the line of the contract. Nothing of that
  group was published. Mend the transform or the contract, then trigger with `rebuild`.
- **reference** writes no file: its log says that no establishments or campaigns have been delivered, or that a newer
  run writes it. *ReferenceDataError*: no establishment has an ad; the old file stays.
- **analyses.publish** is skipped though its jobs ran: a run with newer files has taken over. Look if that one ended
  well."""


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronDataIntervalTimetable("0 6 1 * *", timezone="UTC"), assets=[LANDED]),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params=PARAMS,
    doc_md=DOC,
    tags=[Tag.GEO, Tag.GLUE, Tag.ATHENA],
    max_active_runs=4,
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def geo_advertising():
    """Plan → bronze → visits → analyses, each built, audited and published."""
    plan = tasks.plan_run.override(task_id="plan")()

    def audited(checks):
        audit = TableAuditOperator.partial(task_id="audit", map_index_template="{{ task.table }}", **ATHENA)
        return audit.expand_kwargs(checks).output

    with TaskGroup("bronze"):
        load = run_job("build", "geo-bronze", **ENGINE, **{"--files": pulled("plan", "files")})
        bronze = tasks.publish_bronze.override(task_id="publish")(plan, load.output)

    with TaskGroup("visits"):
        months = tasks.snapshot_months.override(task_id="snapshot")(plan)
        build = run_job("build", "geo-visits", **ENGINE, **{"--inputs": pulled("visits.snapshot", "inputs")})
        stage = tasks.stage_visits.override(task_id="stage")(plan, months["rows"], build.output)
        verdicts = audited(stage)
        visits = tasks.publish_visits.override(task_id="publish")(plan, months["digests"], build.output, verdicts)

    with TaskGroup("analyses"):
        inputs = tasks.snapshot_analyses.override(task_id="snapshot")(plan)
        analyse = run_analyses(**ENGINE, **{"--inputs": pulled("analyses.snapshot", "inputs")})
        stage = tasks.stage_analyses.override(task_id="stage")(plan, analyse.output)
        verdicts = audited(stage)
        publish = tasks.publish_analyses.override(task_id="publish")
        figures = publish(plan, inputs["digest"], analyse.output, verdicts)

    published = tasks.published_inputs.override(task_id="published")(plan)
    report = run_job("report", "geo-report", **ENGINE, **{"--inputs": published["inputs"]})
    reference = run_job("reference", "offer-reference", **{"--inputs": published["inputs"]})
    noted = tasks.note_consumed.override(task_id="note")(plan, published["digest"])

    tasks.has_landed(plan["landed"]) >> load
    bronze >> months >> build
    visits >> inputs >> analyse
    figures >> published >> [report, reference] >> noted
    ran = {"built": build.output, "analysed": analyse.output}
    measured = tasks.measure(plan, rows=months["rows"], loaded=load.output, published=[visits, figures], **ran)
    bronze >> measured
    [visits, figures] >> tasks.drop_candidates(**ran)


geo_advertising()
