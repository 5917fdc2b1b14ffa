"""The Python tasks of the products' DAG: each takes its clients from Airflow's connections and calls one function."""

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.athena import AthenaHook
from airflow.sdk import XComArg, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.products import audit, plan, publish
from include.products.assets import ASSETS
from include.tables import catalog, contract

log = logging.getLogger(__name__)


@task(multiple_outputs=True, retries=2)
def resolve_contract(params: dict[str, Any], data_interval_end: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Everything the other tasks need to know, from the run's parameters and the client's contract."""
    try:
        return plan.plan(params, data_interval_end or dag_run.run_after, aws.lake())
    except ValueError as error:
        raise AirflowFailException(str(error)) from error


@task(multiple_outputs=True, retries=2)
def register(unloaded: dict[str, Any], ti: Any) -> dict[str, str]:
    """Makes the extract a partition of `sales_extract`, so that Athena can check it."""
    table, lake, glue = contract.load("sales_extract"), aws.lake(), aws.client("glue")
    location = unloaded["location"]
    version = location.rstrip("/").rpartition("v=")[2]
    catalog.ensure_table(glue, table, f"s3://{lake}/raw/{table.name}/")
    catalog.switch_partition(glue, table, (ti.xcom_pull("resolve_contract", key="client"), version), location)
    return {"location": location, "version": version}


@task(retries=2)
def check(totals: list[list[Any]], query_id: str, ti: Any) -> dict[str, Any]:
    """Compares the extract in the lake with Snowflake's own figures."""
    header, values = AthenaHook(aws_conn_id="aws_default").get_query_results(query_id)["ResultSet"]["Rows"]
    names = [cell["VarCharValue"] for cell in header["Data"]]
    lake = dict(zip(names, (cell.get("VarCharValue") for cell in values["Data"]), strict=True))
    warehouse = dict(zip(("rows", "amount", "latest_sale"), totals[0], strict=True))
    start, end = (ti.xcom_pull("resolve_contract", key=key) for key in ("start", "end"))
    try:
        facts = audit.check_extract(lake, warehouse, start, end)
    except audit.AuditError as error:
        raise AirflowFailException(str(error)) from error
    log.info("%(rows)s rows, amount %(amount)s, from %(first_sale)s to %(last_sale)s: equal to Snowflake's", facts)
    return facts


@task.branch
def choose_products(products: list[str]) -> list[str]:
    """The first task of each product that is switched on."""
    return [f"{product}.run" for product in products]


@task(multiple_outputs=True, retries=2)
def check_output(product: str, job_id: str) -> dict[str, Any]:
    """Checks what a job wrote against the contracts of its tables."""
    job = aws.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
    output = job["parameters"]["output"]
    try:
        rows = audit.check_product(aws.client("s3"), product, contract.of_product(product), output)
    except audit.AuditError as error:
        raise AirflowFailException(str(error)) from error
    log.info("%s: every table keeps its contract: %s", output, rows)
    return {"output": output, "rows": rows}


def publish_output(product: str, checked: XComArg) -> XComArg:
    """The task that publishes a product's checked output and tells its asset."""
    return _publish.override(task_id="publish", outlets=[ASSETS[product]])(product, checked["output"], checked["rows"])


# One at a time: a product's tables and files are switched one after the other, and two runs must not interleave.
@task(retries=2, max_active_tis_per_dag=1)
def _publish(product: str, output: str, rows: dict[str, int], ti: Any, outlet_events: Any) -> dict[str, Any]:
    files = publish.publish_product(
        aws.client("s3"), aws.client("glue"), contract.of_product(product), output, aws.lake()
    )
    client, report_date = (ti.xcom_pull("resolve_contract", key=key) for key in ("client", "report_date"))
    outlet_events[ASSETS[product]].extra = {"client": client, "report_date": report_date, "rows": rows}
    return {"version": output, "rows": rows, "files": files}


@task(trigger_rule="all_done")
def summarise(ti: Any) -> dict[str, Any]:
    """What was published, by product; fails, naming them, when chosen products were not."""
    # States, not XComs: a task that is cleared and then not reached again keeps the XCom of its earlier try.
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    if states["resolve_contract"] != "success":
        raise AirflowFailException("resolve_contract failed, so nothing was run")
    chosen = ti.xcom_pull("resolve_contract", key="products")
    if states["extract.check"] != "success":
        raise AirflowFailException("the extract failed, so no product was run: " + ", ".join(chosen))
    published = {}
    for product in chosen:
        if states[f"{product}.publish"] == "success":
            published[product] = ti.xcom_pull(f"{product}.publish")["rows"]
            log.info("%s: %s", product, published[product])
    if failed := [product for product in chosen if product not in published]:
        raise AirflowFailException(f"not published: {', '.join(failed)}; see the failed tasks of these groups")
    return published
