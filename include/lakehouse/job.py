"""The Glue operator with the house's defaults, and how its arguments name what other tasks said."""

from typing import Any

from airflow.providers.amazon.aws.operators.glue import GlueJobOperator


def pulled(task_id: str, key: str) -> str:
    """The template of what a task has said."""
    return f"{{{{ ti.xcom_pull('{task_id}', key='{key}') }}}}"


class LakehouseJobOperator(GlueJobOperator):
    """Runs one of the template's Glue jobs, deferred; a retry waits for a run that is still going.

    A task that is killed stops its run, which would go on, and cost, to its end. What a run writes has a place of its
    own at every try, so another run does no harm.
    """

    def __init__(self, *, job_name: str, **kwargs: Any) -> None:
        defaults = {
            "deferrable": True,
            "resume_glue_job_on_retry": True,
            "stop_job_run_on_kill": True,
            "waiter_delay": 2,
            "waiter_max_attempts": 1800,  # an hour, the jobs' own limit
            "retries": 2,
        }
        super().__init__(job_name=job_name, **{**defaults, **kwargs})
