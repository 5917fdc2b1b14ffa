"""What the tasks of a run hand to each other by way of the lake: JSON documents, and the reports of Glue jobs."""

import json
from typing import Any

from include import aws
from include.tables import versions

RUNS = "runs/streams"
"""Prefix of the documents in the lake."""


def read(uri: str) -> Any:
    """The JSON document at an s3:// URI."""
    bucket, key = versions.split(uri)
    return json.load(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"])


def write(uri: str, value: Any) -> str:
    """Writes a JSON document to an s3:// URI, and gives that back."""
    bucket, key = versions.split(uri)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(value).encode())
    return uri


def arguments(job: str, run_id: str) -> dict[str, str]:
    """What a run of a Glue job was given; the job goes without its prefix vitrine-."""
    return aws.client("glue").get_job_run(JobName=f"vitrine-{job}", RunId=run_id)["JobRun"]["Arguments"]


def report(job: str, run_id: str | None) -> dict[str, Any] | None:
    """What a run of a Glue job said of itself; None where there was no run."""
    return read(arguments(job, run_id)["--report"]) if run_id else None
