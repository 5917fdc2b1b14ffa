"""The Glue jobs of the streams as tasks: a version and a report of its own for every try."""

from include.lakehouse.job import LakehouseJobOperator, pulled
from include.streams_lake.runs import RUNS


def run_job(stream: str, task_id: str, job: str, **arguments: str) -> LakehouseJobOperator:
    """The task that runs a job for a stream's DAG, whose task `plan` says the lake and the version.

    Args:
        stream: Folder of the reports, below `RUNS`.
        task_id: Also in the version, as a DAG may run a job more than once.
        job: The Glue job, without its prefix vitrine-.
        arguments: Of the job besides `--version` and `--report`; templated.
    """
    version = f"{pulled('plan', 'version')}-{task_id}-{{{{ ti.try_number }}}}"
    report = f"s3://{pulled('plan', 'lake')}/{RUNS}/{stream}/{version}.json"
    given = {"--version": version, "--report": report, **arguments}
    return LakehouseJobOperator(task_id=task_id, job_name=f"vitrine-{job}", script_args=given)
