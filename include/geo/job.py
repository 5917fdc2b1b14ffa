"""The Glue jobs of the geo lake as tasks: a version and a report of its own for every try."""

from typing import Any

from include.geo.tables import ANALYSES
from include.lakehouse.job import LakehouseJobOperator, pulled

ENGINE = {"--engine": "{{ params.engine or '' }}"}
"""For jobs that compute: what the run's parameter says, or what the environment does."""
RUNS = "runs/geo_advertising"
"""Prefix of what runs leave for each other, in the lake."""


def run_job(task_id: str, job: str, **arguments: str) -> LakehouseJobOperator:
    """The task that runs a job for the DAG, whose task `plan` says the lake and the version.

    Args:
        task_id: Of the task.
        job: The Glue job, without its prefix vitrine-.
        arguments: Of the job besides `--version` and `--report`; templated.
    """
    return LakehouseJobOperator(task_id=task_id, job_name=f"vitrine-{job}", script_args=_given(job, arguments))


def run_analyses(**arguments: str) -> Any:
    """The task that runs the job vitrine-geo-analysis, once for each analysis; arguments as of `run_job`."""
    each = [_given(f"geo-analysis-{name}", {**arguments, "--analysis": name}) for name in ANALYSES]
    operator = LakehouseJobOperator.partial(
        task_id="build",
        job_name="vitrine-geo-analysis",
        retries=2,
        # Of a mapped task, it would find the run of another analysis, and wait for that one.
        resume_glue_job_on_retry=False,
        map_index_template="{{ task.script_args['--analysis'] }}",
    )
    return operator.expand(script_args=each)


def _given(name: str, arguments: dict[str, str]) -> dict[str, str]:
    version = f"{pulled('plan', 'version')}-{name}-{{{{ ti.try_number }}}}"
    report = f"s3://{pulled('plan', 'lake')}/{RUNS}/{version}.json"
    return {"--version": version, "--report": report, **arguments}
