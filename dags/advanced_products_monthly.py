"""The sales products of every client, on the first of each month."""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronDataIntervalTimetable, dag, task

from include.clients import contract
from include.tags import Tag

DOC = """
# Advanced products, monthly

Starts `advanced_products` for every client whose contract says `schedule: monthly`, for the month that has just ended:
the report date is the end of the data interval, so a backfill gives what the run gave, or would have given, then.

**Reads** the contracts in `include/clients`. **Writes** nothing itself; each client's run does.

## Triage
- **run_client** fails for one client: that client's `advanced_products` run failed; the task's link opens it. Mend the
  cause there, and clear the failed task here: it starts that client's run anew.
- A client is missing: its contract is not in the deployed `include/clients`, or says `schedule: none`.
"""


@dag(
    # An interval, not a moment: the run after midnight on the first is about the month before.
    schedule=CronDataIntervalTimetable("0 5 1 * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,  # a backfill is asked for, never a surprise at the first deployment
    max_active_runs=1,
    doc_md=DOC,
    tags=[Tag.SALES, Tag.PRODUCTS],
    default_args={"owner": "data-products", "retry_delay": timedelta(minutes=5)},
)
def advanced_products_monthly():
    """Clients → one mapped run of advanced_products each."""

    @task
    def clients(data_interval_end: pendulum.DateTime | None = None) -> list[dict[str, str]]:
        if data_interval_end is None:
            raise ValueError("this DAG has a schedule: its runs have a data interval")
        report_date = data_interval_end.date().isoformat()
        due = [client for client in contract.names() if contract.load(client).schedule == "monthly"]
        return [{"client": client, "report_date": report_date} for client in due]

    TriggerDagRunOperator.partial(
        task_id="run_client",
        trigger_dag_id="advanced_products",
        reset_dag_run=True,  # so that clearing the task, or a backfill, runs the client again
        wait_for_completion=True,
        deferrable=True,
        poke_interval=30,
        map_index_template="{{ task.conf['client'] }}",
    ).expand_kwargs(
        clients().map(
            lambda conf: {"conf": conf, "trigger_run_id": f"monthly__{conf['report_date']}__{conf['client']}"}
        )
    )


advanced_products_monthly()
