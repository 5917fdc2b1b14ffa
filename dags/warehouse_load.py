"""Published tables into the warehouses: gold into Redshift, customers' scores back into Snowflake."""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task_group

from include.lakehouse.assets import GOLD
from include.products.assets import ASSETS as PRODUCTS
from include.sql import SQL
from include.tags import Tag
from include.warehouse import tasks

DOC = """
# Warehouse load

Brings what the lakehouse and the products publish to those who work in a warehouse.

| from | to | how |
|---|---|---|
| `wide_sales`, `daily_sales`, `customer_rfm` | Redshift, schema `gold` | COPY to a staging table, then a swap |
| `customer_rfm` | Snowflake, `RETAIL.VITRINE.CUSTOMER_RFM` | staging table, then MERGE |
| `clv_customers` | Snowflake, `RETAIL.VITRINE.CLV_CUSTOMERS` | staging table, then MERGE of one client's rows |

Runs when one of these tables is published, for what changed. Triggered by hand, it loads everything that is published.
Either way it loads the version that the catalog points at, so running again, or clearing an old run, brings nothing
stale. Nothing is swapped or merged before rows and money of the staging table are those that were published.

**Reads** the versions that the Glue Catalog points at, and the events of the assets `gold.*` and `products.clv`.
**Writes** the tables above and, beside each, its staging table.

## Triage
- **plan_redshift** fails: the message names the table whose files and contract disagree. Mend the wrong
  one and publish again.
- **redshift.stage** fails: Redshift's message is in the log. "incompatible Parquet schema": contract and files
  disagree. "value too long": a text is longer than 256 bytes. A timeout or a lock: clear the task.
- **`check`** fails: the staging table is not what was published; the message has both figures. The tables that people
  read are as they were. A publication during the load may do that: clear **plan_redshift** and what follows.
- **redshift.swap** fails: nothing was swapped, for it is one transaction. Clear **redshift.stage** and what follows.
- **snowflake.stage** fails with "invalid identifier", or **snowflake.merge** does: the contract has gained a column.
  Run `ALTER TABLE RETAIL.VITRINE.<table> ADD COLUMN …`, then clear the task.
- **snowflake.verify** fails: somebody else writes to the table. Find out who; then clear **snowflake.merge**.
"""


def label(warehouse: str) -> str:
    """The template of a mapped task's name in the UI."""
    return f"{{{{ ti.xcom_pull('plan_{warehouse}')[ti.map_index]['label'] }}}}"


def in_redshift(task_id: str, *files: str, **arguments) -> RedshiftDataOperator:
    """Statements in one transaction."""
    return RedshiftDataOperator(
        task_id=task_id,
        sql=[f"redshift/{file}.sql" for file in files],
        workgroup_name="vitrine",
        database="vitrine",
        poll_interval=1,
        deferrable=True,
        map_index_template=label("redshift"),
        **arguments,
    )


def in_snowflake(task_id: str, *files: str, **arguments) -> SQLExecuteQueryOperator:
    """Statements one after the other, each a transaction of its own."""
    return SQLExecuteQueryOperator(
        task_id=task_id,
        conn_id="snowflake_default",
        hook_params={"role": "VITRINE_WRITER"},
        sql=[f"snowflake/{file}.sql" for file in files],
        autocommit=True,
        retries=2,
        map_index_template=label("snowflake"),
        **arguments,
    )


@dag(
    schedule=(GOLD["wide_sales"] | GOLD["daily_sales"] | GOLD["customer_rfm"] | PRODUCTS["clv"]),
    doc_md=DOC,
    tags=[Tag.SALES, Tag.LAKEHOUSE, Tag.REDSHIFT, Tag.SNOWFLAKE],
    template_searchpath=[str(SQL)],
    max_active_runs=1,  # staging tables are named after the tables, not the runs
    default_args={"owner": "data-platform", "retry_delay": timedelta(seconds=30)},
)
def warehouse_load():
    """Plan → for each table: stage, check, swap or merge."""
    gold = tasks.plan_redshift()

    @task_group
    def redshift(load):
        stage = in_redshift("stage", "create_schema", "drop_staging", "create_staging", "copy_staging", retries=2)
        totals = in_redshift("totals", "staging_totals", return_sql_result=True, retries=2)
        swap = in_redshift("swap", "drop_table", "rename_staging")
        check = tasks.check_redshift.override(task_id="check", map_index_template=label("redshift"))
        stage >> totals
        check(load, totals.output) >> swap

    @task_group
    def snowflake(load):
        stage = in_snowflake("stage", "create_target", "create_staging", "copy_staging")
        totals = in_snowflake("totals", "staging_totals")
        merge = in_snowflake("merge", "merge_target")
        target = in_snowflake("target", "target_totals")
        check = tasks.check_snowflake.override(map_index_template=label("snowflake"))
        stage >> totals
        check.override(task_id="check")(load, totals.output) >> merge >> target
        check.override(task_id="verify")(load, target.output)

    redshift.expand(load=gold)
    snowflake.expand(load=tasks.plan_snowflake(gold))


warehouse_load()
