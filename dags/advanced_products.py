"""Four sales products from Snowflake to Athena."""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task_group

from include.products import tasks
from include.products.job import ProductJobOperator
from include.products.params import PARAMS
from include.products.plan import FLAGS
from include.sql import SQL
from include.tags import Tag
from include.warehouse.extract import SnowflakeUnloadOperator

DOC = """
# Advanced products

Extracts a client's sales from Snowflake, runs the chosen products as Batch jobs, publishes what passes its checks.

| product | flag | leaves |
|---|---|---|
| market basket | `MBA` | association rules, store plan, online carousel, excluded products |
| customer lifetime value | `CLV` | value groups, retention, products missing from stores |
| anomalies | `AD` | suspects with their transactions, daily scores |
| recommender | `RECOMMENDER` | recommendations, similar products, quality beside popularity |

**Reads** the client's sales view in Snowflake, as mapped by its contract in `include/clients`, from `history_months`
before the report date up to it (exclusive). **Writes** `s3://<lake>/raw/sales/…` (the extract), immutable versions in
`s3://<lake>/products/<client>/<report_date>/`, the tables of the Glue database `vitrine`, and the files for people at
`s3://<lake>/products/<client>/<report_date>/<report_date>_<client>_<artefact>`.

A product that is off is skipped and changes nothing for the others. A product that fails publishes nothing, leaves what
was published before, and lets the others finish; the run then fails and names it. Running again is always safe.

## Triage
- **resolve_contract** fails: a parameter or the contract is wrong; the message names it. Correct it and trigger again.
- **extract.unload** fails: Snowflake's message is in the log, with the query id. Clear the task when it is mended.
- **extract.check** fails: what arrived differs from what Snowflake has (the log has both). If sales were loaded during
  the extract, clear the group `extract`; "no sales" means the report date lies outside the client's data.
- **`run`** of a product fails: the end of the job's log is in its log. "OutOfMemory": trigger with more `MEMORY`.
  Exit code 2 is bad input, named in the log's last line; 3 is AWS out of reach, after Batch tried again by itself.
  Clear the task to run the job again. A job outlives its task when that is cleared while it waits.
- **`check_output`** of a product fails: the job broke its table's contract. Nothing was published; do not force it.
- **`publish`** of a product fails: AWS refused a call; clear the task.
"""


@dag(
    schedule=None,
    params=PARAMS,
    doc_md=DOC,
    tags=[Tag.SALES, Tag.PRODUCTS, Tag.SNOWFLAKE, Tag.BATCH, Tag.ATHENA],
    template_searchpath=[str(SQL)],
    max_active_runs=4,
    default_args={"owner": "data-products", "retry_delay": timedelta(seconds=30)},
)
def advanced_products():
    """Contract → extract → check → chosen products, each run, checked and published → summary."""
    plan = tasks.resolve_contract()

    @task_group
    def extract():
        unload = SnowflakeUnloadOperator(
            task_id="unload",
            sql="snowflake/unload_sales.sql",
            stage="RETAIL.PUBLIC.VITRINE_LAKE",
            location="{{ ti.xcom_pull('resolve_contract', key='extract') }}-{{ ti.try_number }}/",
            retries=2,
        )
        totals = SQLExecuteQueryOperator(
            task_id="totals", conn_id="snowflake_default", sql="snowflake/sales_totals.sql", retries=2
        )
        registered = tasks.register(unload.output)
        audit = AthenaOperator(
            task_id="audit",
            query="athena/audit_extract.sql",
            workgroup="vitrine",
            sleep_time=2,
            deferrable=True,
            retries=2,
        )
        plan >> unload >> totals
        registered >> audit
        tasks.check(totals.output, audit.output)

    def product(name: str):
        @task_group(group_id=name)
        def steps():
            run = ProductJobOperator(
                task_id="run",
                job_name=f"{name}-{{{{ ti.xcom_pull('resolve_contract', key='client') }}}}",
                job_queue=plan["queue"],
                job_definition=plan["job_definition"],
                parameters={
                    "product": name,
                    "client": plan["client"],
                    "report_date": plan["report_date"],
                    "sales": "{{ ti.xcom_pull('extract.register', key='location') }}",
                    # a new place at every try, so that nothing published is ever written to
                    "output": "{{ ti.xcom_pull('resolve_contract', key='output') }}"
                    f"/{name}-{{{{ ti.try_number }}}}/",
                },
                container_overrides={"resourceRequirements": [{"type": "MEMORY", "value": plan["memory"]}]},
                awslogs_enabled=True,
                poll_interval=2,
                deferrable=True,
            )
            tasks.publish_output(name, tasks.check_output(name, run.output))

        return steps()

    groups = [product(name) for name in FLAGS.values()]
    extract() >> tasks.choose_products(plan["products"]) >> groups >> tasks.summarise()


advanced_products()
