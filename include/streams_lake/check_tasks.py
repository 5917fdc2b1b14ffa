"""The checks of a stream as tasks, and the parameters that bound them: `checks(stream, planned)` in a DAG."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, task, task_group
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.streams_lake import checks as of_streams
from include.streams_lake import runs
from include.streams_lake.checks import CheckError
from include.streams_lake.streams import STREAMS

log = logging.getLogger(__name__)

PARAMS = {
    "iterator_age_seconds": Param(
        600,
        type="integer",
        minimum=1,
        maximum=86_400,
        title="Readers behind, at most (s)",
        description="How far whoever reads the stream, its delivery included, may be behind at the interval's end.",
    ),
    "late_minutes": Param(
        2,
        type="integer",
        minimum=0,
        maximum=1_440,
        title="Delivered within (min)",
        description="What a record may take from the stream into the lake: the delivery's buffer, and some more.",
    ),
    "newest_file_minutes": Param(
        10,
        type="integer",
        minimum=1,
        maximum=1_440,
        title="Newest file, at most (min)",
        description="How old the newest file may be when records still come in.",
    ),
    "poison_share": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Share of poison",
        description="Of the records: how many may be poison before the run fails. All of it is kept in quarantine.",
    ),
}
"""Parameters of every DAG that begins with `checks`."""


def _checked(check: Callable[..., str], *arguments: Any) -> str:
    try:
        said = check(*arguments)
    except CheckError as error:
        raise AirflowFailException(str(error)) from error
    log.info("%s", said)
    return said


@task(retries=2)
def stream_active(stream: str) -> str:
    """The stream and its delivery are there and active."""
    return _checked(of_streams.active, aws.client("kinesis"), aws.client("firehose"), stream)


@task(retries=2)
def iterator_age(stream: str, since: str, until: str, params: Any = None) -> str:
    """Whoever reads the stream kept up."""
    bound = timedelta(seconds=params["iterator_age_seconds"])
    return _checked(of_streams.iterator_age, aws.client("cloudwatch"), stream, since, until, bound)


@task(retries=2)
def records_delivered(stream: str, since: str, until: str, params: Any = None) -> str:
    """What came in was delivered."""
    clients = aws.client("cloudwatch"), aws.client("s3")
    late = timedelta(minutes=params["late_minutes"])
    return _checked(of_streams.delivered, *clients, aws.lake(), stream, since, until, late)


@task(retries=2)
def newest_file(stream: str, since: str, until: str, params: Any = None) -> str:
    """Files came as long as records did."""
    clients = aws.client("cloudwatch"), aws.client("s3")
    bound = timedelta(minutes=params["newest_file_minutes"])
    return _checked(of_streams.newest_file, *clients, aws.lake(), stream, since, until, bound)


@task(retries=2)
def poison_count(stream: str, since: str, until: str, params: Any = None) -> str:
    """Firehose put few records aside."""
    clients = aws.client("cloudwatch"), aws.client("s3")
    return _checked(of_streams.poison, *clients, aws.lake(), stream, since, until, params["poison_share"])


@task(retries=2)
def files_readable(stream: str, since: str, until: str) -> str:
    """The files are gzip, and have lines."""
    return _checked(of_streams.readable, aws.client("s3"), aws.lake(), stream, since, until)


@task(retries=2)
def schema_kept(stream: str, since: str, until: str, params: Any = None) -> str:
    """Records have the fields that the stream's rules expect."""
    share = params["poison_share"]
    return _checked(of_streams.schema, aws.client("s3"), aws.lake(), stream, since, until, share)


@task_group(group_id="checks")
def checks(stream: str, planned: Any) -> None:
    """All that is to be known of a stream before its files are loaded, side by side.

    Args:
        stream: A key of `STREAMS`.
        planned: The output of `plan_arrivals`.
    """
    since, until = planned["since"], planned["until"]
    stream_active(stream)
    for check in (iterator_age, records_delivered, newest_file, poison_count, files_readable, schema_kept):
        check(stream, since, until)


@task(retries=2)
def count_records(stream: str, planned: dict[str, Any], job_run: str, params: Any = None) -> str:
    """The files had the records that came in, and few were poison; `job_run` is of the job that loaded them."""
    report = runs.report(STREAMS[stream].job, job_run) or {"hours": []}
    late = timedelta(minutes=params["late_minutes"])
    interval = planned["since"], planned["until"]
    bounds = late, params["poison_share"]
    return _checked(of_streams.loaded, aws.client("cloudwatch"), stream, report["hours"], *interval, *bounds)
