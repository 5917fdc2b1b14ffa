"""Batch jobs and the scheduler that runs them as processes."""

import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from moto.batch.models import JobDefinition, JobQueue

from local.aws import batch_definitions, batch_secrets, logs
from local.aws.batch_definitions import MEBIBYTE
from local.aws.processes import Exit, Process, StartError
from local.aws.settings import child_environment, current

log = logging.getLogger(__name__)

DEFAULT_LOG_GROUP = "/aws/batch/job"
# What ECS leaves between SIGTERM and SIGKILL.
GRACE_SECONDS = 30.0
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
FINISHED = ("SUCCEEDED", "FAILED")


class NotStartedError(RuntimeError):
    """A container that could not be started; the message is the reason that ECS would give."""


@dataclass
class Attempt:
    """One try of a job to run.

    Attributes:
        task_arn: Of the ECS task that the process stands for.
        log_stream: Name of its log stream; ``None`` when the container never started.
        started_at: Milliseconds since the epoch, like ``stopped_at``.
        stopped_at: When it ended.
        exit_code: Of the container.
        reason: What ended the container, where its exit code alone does not tell.
        status_reason: What ended the attempt.
        retriable: Whether the retry strategy has a say: not after a timeout or a termination.
    """

    task_arn: str
    log_stream: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""
    retriable: bool = True

    def describe_container(self) -> dict[str, Any]:
        """What is known of its container, in the API's shape."""
        known = {
            "taskArn": self.task_arn,
            "exitCode": self.exit_code,
            "reason": self.reason or None,
            "logStreamName": self.log_stream,
        }
        return {name: value for name, value in known.items() if value is not None} | {"networkInterfaces": []}

    def describe(self) -> dict[str, Any]:
        """The attempt in the API's shape."""
        times = {"startedAt": self.started_at, "stoppedAt": self.stopped_at}
        return {
            "container": self.describe_container(),
            "statusReason": self.status_reason,
            **{name: value for name, value in times.items() if value is not None},
        }


@dataclass(eq=False)
class Job:
    """A single job, an array job or a child of one. Only its scheduler changes it.

    Attributes:
        container: Container properties, the submission's overrides applied.
        index: Position in the array, for a child.
        children: The jobs of the array, for its parent, which itself runs nothing.
        predecessors: Jobs that must succeed before this one starts.
        stop_reason: Why the user cancelled or terminated it.
    """

    id: str
    arn: str
    name: str
    definition: JobDefinition
    queue: JobQueue
    container: dict[str, Any]
    parameters: dict[str, str]
    retry: dict[str, Any]
    timeout: dict[str, int]
    depends_on: list[dict[str, str]]
    propagate_tags: bool = False
    index: int | None = None
    array_size: int | None = None
    children: list["Job"] = field(default_factory=list)
    predecessors: list["Job"] = field(default_factory=list)
    created_at: int = field(default_factory=lambda: _now())
    stopped_at: int | None = None
    own_status: str = "SUBMITTED"
    own_reason: str = ""
    attempt: Attempt | None = None
    attempts: list[Attempt] = field(default_factory=list)
    stop_reason: str = ""
    terminated: bool = False
    process: Process | None = None

    @property
    def status(self) -> str:
        """One of ``STATUSES``; an array's follows from those of its children."""
        if not self.children:
            return self.own_status
        statuses = {child.own_status for child in self.children}
        if statuses <= set(FINISHED):
            return "FAILED" if "FAILED" in statuses else "SUCCEEDED"
        return "SUBMITTED" if statuses == {"SUBMITTED"} else "PENDING"

    @property
    def finished(self) -> bool:
        """Whether it will not change any more."""
        return self.status in FINISHED

    @property
    def status_reason(self) -> str:
        """Why it has its status, where there is something to say."""
        if self.children and self.status == "FAILED":
            return self.stop_reason or "Array Child Job failed"
        return self.own_reason

    def summarise(self) -> dict[str, Any]:
        """The job as ListJobs shows it."""
        members = self.children or [self]
        started = [job.attempt.started_at for job in members if job.attempt and job.attempt.started_at]
        stopped = [job.stopped_at for job in members if job.stopped_at]
        summary: dict[str, Any] = {
            "jobId": self.id,
            "jobArn": self.arn,
            "jobName": self.name,
            "jobDefinition": self.definition.arn,
            "createdAt": self.created_at,
            "status": self.status,
        }
        if self.status_reason:
            summary["statusReason"] = self.status_reason
        if started:
            summary["startedAt"] = min(started)
        if self.finished:
            summary["stoppedAt"] = max(stopped)
        if self.attempt and self.finished:
            ended = self.attempt.describe_container()
            summary["container"] = {name: ended[name] for name in ("exitCode", "reason") if name in ended}
        if self.children:
            summary["arrayProperties"] = {"size": len(self.children)}
        if self.index is not None:
            summary["arrayProperties"] = {"index": self.index}
        if self.stop_reason and self.status == "FAILED":
            summary |= {"isCancelled": not self.terminated, "isTerminated": self.terminated}
        return summary

    def describe(self) -> dict[str, Any]:
        """The job as DescribeJobs shows it."""
        detail = self.summarise() | {
            "jobQueue": self.queue.arn,
            "dependsOn": self.depends_on,
            "parameters": self.parameters,
            "retryStrategy": self.retry,
            "attempts": [attempt.describe() for attempt in self.attempts],
            "container": self.container | (self.attempt.describe_container() if self.attempt else {}),
            "platformCapabilities": self.definition.platform_capabilities or [],
            "propagateTags": self.propagate_tags,
        }
        if self.timeout:
            detail["timeout"] = self.timeout
        if self.children:
            counts = {status: sum(child.own_status == status for child in self.children) for status in STATUSES}
            detail["arrayProperties"] = {"size": len(self.children), "statusSummary": counts}
        return detail


class Scheduler:
    """Runs jobs when what they depend on has succeeded and a core is free: higher queue priority first, then older.

    Args:
        cores: How many jobs may run at once.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._open: list[Job] = []  # in the order of submission, so that predecessors come first
        self._workers: dict[Job, threading.Thread] = {}

    def find(self, job_id: str) -> Job | None:
        """The job of this id or ARN."""
        return self._jobs.get(job_id.rsplit("job/", 1)[-1])

    def jobs(self) -> list[Job]:
        """All jobs but children of arrays, in the order of submission."""
        with self._lock:
            return [job for job in self._jobs.values() if job.index is None]

    def submit(self, job: Job) -> None:
        """Take over a job with its children."""
        with self._lock:
            for member in (job, *job.children):
                self._jobs[member.id] = member
            self._open += job.children or [job]
            self._advance()

    def describe(self, job: Job) -> dict[str, Any]:
        """The job as DescribeJobs shows it, at one moment."""
        with self._lock:
            return job.describe()

    def summarise(
        self, jobs: Iterable[Job], wanted: Callable[[Job], bool], after: str | None, count: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One page of ListJobs, at one moment.

        Args:
            jobs: To choose from, in the order of the listing.
            wanted: Which of them to list.
            after: Id of the last job of the page before; ``None`` for the first page.
            count: The most jobs on the page.

        Returns:
            Summaries, and the id that the next page comes after unless this is the last one.
        """
        with self._lock:
            following = dropwhile(lambda job: job.id != after, jobs) if after else iter(jobs)
            rest = islice(following, 1, None) if after else following
            found = list(islice((job for job in rest if wanted(job)), count + 1))
            return [job.summarise() for job in found[:count]], found[count - 1].id if len(found) > count else None

    def cancel(self, job: Job, reason: str) -> None:
        """Fail a job, or those children of an array, that no attempt to start was made of yet."""
        self._stop(job, reason, terminate=False)

    def terminate(self, job: Job, reason: str) -> None:
        """Fail a job, or the children of an array, and stop what is running of it."""
        self._stop(job, reason, terminate=True)

    def kill(self, wait: bool = False) -> None:
        """Fail every job that has not finished, and kill its processes.

        Args:
            wait: Return only when they are gone.
        """
        with self._lock:
            for job in self._open:
                job.stop_reason = job.stop_reason or "the local stack was stopped"
                job.terminated = True
                if job.process:
                    job.process.kill()
            workers = list(self._workers.values())
            self._advance()
        if wait:
            for worker in workers:
                worker.join()

    def _stop(self, job: Job, reason: str, terminate: bool) -> None:
        with self._lock:
            stopped = False
            for member in job.children or [job]:
                waiting = member.own_status in ("SUBMITTED", "PENDING", "RUNNABLE")
                if member.finished or member.stop_reason or not (waiting or terminate):
                    continue
                member.stop_reason, member.terminated, stopped = reason, terminate and not waiting, True
                if member.process:
                    member.process.stop()
            if stopped and job.children:
                job.stop_reason, job.terminated = reason, terminate
            self._advance()

    def _advance(self) -> None:
        """Move every job as far as it can go; to be called, under the lock, after anything changed."""
        for job in self._open:
            if job.own_status in ("SUBMITTED", "PENDING", "RUNNABLE"):
                self._evaluate(job)
        self._open = [job for job in self._open if not job.finished]
        runnable = [job for job in self._open if job.own_status == "RUNNABLE"]
        for job in sorted(runnable, key=lambda job: -int(job.queue.priority))[
            : max(0, self.cores - len(self._workers))
        ]:
            job.own_status = "STARTING"
            self._workers[job] = threading.Thread(target=self._work, args=(job,), name=f"batch {job.id}", daemon=True)
            self._workers[job].start()

    def _evaluate(self, job: Job) -> None:
        failed = next((other for other in job.predecessors if other.status == "FAILED"), None)
        if job.stop_reason:
            self._finish(job, "FAILED", job.stop_reason)
        elif failed:
            self._finish(job, "FAILED", f"Dependent Job failed: {failed.name} ({failed.id})")
        elif all(other.status == "SUCCEEDED" for other in job.predecessors):
            job.own_status = "RUNNABLE"
        else:
            job.own_status = "PENDING"

    def _finish(self, job: Job, status: str, reason: str) -> None:
        job.own_status, job.own_reason, job.stopped_at = status, reason, _now()

    def _work(self, job: Job) -> None:
        attempt = job.attempt = Attempt(task_arn=_task_arn(job))
        try:
            self._run(job, attempt)
        except NotStartedError as error:
            attempt.status_reason, attempt.reason = "Task failed to start", str(error)
        except Exception as error:
            log.exception("Batch job %s", job.id)
            attempt.status_reason, attempt.reason = "Internal error of the local stack", repr(error)
        with self._lock:
            job.process = None
            attempt.stopped_at = _now()
            job.attempts.append(attempt)
            del self._workers[job]
            self._conclude(job, attempt)
            self._advance()

    def _conclude(self, job: Job, attempt: Attempt) -> None:
        again = attempt.retriable and not job.stop_reason
        if attempt.exit_code == 0 and attempt.retriable:
            self._finish(job, "SUCCEEDED", attempt.status_reason)
        elif again and batch_definitions.retries(
            job.retry, len(job.attempts), attempt.exit_code, attempt.reason, attempt.status_reason
        ):
            job.own_status = "RUNNABLE"
        else:
            self._finish(job, "FAILED", job.stop_reason or attempt.status_reason)

    def _run(self, job: Job, attempt: Attempt) -> None:
        command, environment, workdir = _resolve(job, number=len(job.attempts) + 1)
        stream = _log_stream(job, attempt)
        with tempfile.TemporaryDirectory(prefix="batch-") as scratch:
            with self._lock:
                if job.stop_reason:  # terminated while starting: fail without a process
                    attempt.status_reason, attempt.retriable = job.stop_reason, False
                    return
                job.process = Process(
                    command,
                    environment,
                    workdir or Path(scratch),
                    timeout=job.timeout.get("attemptDurationSeconds"),
                    memory=batch_definitions.memory_limit(job.container),
                    grace=GRACE_SECONDS,
                )
                attempt.started_at, attempt.log_stream = _now(), stream.name
                job.own_status = "RUNNING"
            try:
                ended = job.process.wait(stream.write)
            except StartError as error:
                raise NotStartedError(f"CannotStartContainerError: {error}") from error
        attempt.exit_code = ended.code
        _explain(job, attempt, ended, stream)


def _explain(job: Job, attempt: Attempt, ended: Exit, stream: logs.LogStream) -> None:
    attempt.status_reason = "Essential container in task exited"
    match ended.cause:
        case "memory":
            attempt.reason = "OutOfMemoryError: Container killed due to memory usage"
            limit = batch_definitions.memory_limit(job.container)
            stream.write(
                [
                    f"{attempt.reason}: {ended.peak / MEBIBYTE:.0f} MiB in use, {limit / MEBIBYTE:.0f} MiB allowed by "
                    "resourceRequirements MEMORY"
                ]
            )
        case "timeout":
            attempt.status_reason, attempt.retriable = "Job attempt duration exceeded timeout", False
        case "stopped" | "killed":
            attempt.status_reason, attempt.retriable = job.stop_reason, False


def _resolve(job: Job, number: int) -> tuple[list[str], dict[str, str], Path | None]:
    """What the container of an attempt would run: command, environment, folder.

    Raises:
        NotStartedError: There is no such image here, or something it needs is missing.
    """
    reference = job.container["image"]
    image = current().image(reference)
    if image is None:
        known = ", ".join(sorted(current().images)) or "none"
        raise NotStartedError(
            f"CannotPullContainerError: the local stack has nothing that stands in for the image {reference}; "
            f"known images: {known} (add one with: up --image NAME=COMMAND)"
        )
    try:
        secrets = batch_secrets.resolve(job.container.get("secrets") or [])
    except batch_secrets.SecretError as error:
        raise NotStartedError(f"ResourceInitializationError: unable to pull secrets: {error}") from error
    variables = {pair["name"]: pair["value"] for pair in job.container["environment"]}
    environment = child_environment({**image.environment, **variables, **secrets, **_batch_variables(job, number)})
    if image.command:
        _require(image.command[0], environment, image.workdir, f"CannotPullContainerError: the image {reference}")
    command = [*image.command, *batch_definitions.substitute(job.container["command"], job.parameters)]
    if not command:
        raise NotStartedError("CannotStartContainerError: no command specified")
    _require(command[0], environment, image.workdir, "CannotStartContainerError: the job")
    return command, environment, image.workdir


def _require(executable: str, environment: dict[str, str], workdir: Path | None, who: str) -> None:
    if workdir and not workdir.is_dir():
        raise NotStartedError(f"{who} starts in {workdir}, which does not exist")
    found = shutil.which(executable, path=environment.get("PATH"))
    if "/" in executable and not Path(executable).is_absolute():
        found = shutil.which((workdir or Path()) / executable)
    if not found:
        known = ", ".join(sorted(current().images))
        raise NotStartedError(
            f"{who} runs {executable}, which is not there or not executable; is its environment installed? "
            f"known images: {known}"
        )


def _batch_variables(job: Job, number: int) -> dict[str, str]:
    variables = {
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JOB_ATTEMPT": str(number),
        "AWS_BATCH_JQ_NAME": job.queue.name,
        "AWS_BATCH_CE_NAME": job.queue.environments[0].name,
    }
    if job.index is not None:
        variables |= {"AWS_BATCH_JOB_ARRAY_INDEX": str(job.index), "AWS_BATCH_JOB_ARRAY_SIZE": str(job.array_size)}
    return variables


def _log_stream(job: Job, attempt: Attempt) -> logs.LogStream:
    options = (job.container.get("logConfiguration") or {}).get("options") or {}
    group = options.get("awslogs-group", DEFAULT_LOG_GROUP)
    region = options.get("awslogs-region", job.queue.backend.region_name)
    created = group == DEFAULT_LOG_GROUP or options.get("awslogs-create-group") == "true"
    if not created and not logs.group_exists(group, region):
        raise NotStartedError(f"CannotStartContainerError: the log group {group} does not exist")
    prefix = options.get("awslogs-stream-prefix", job.definition.name)
    return logs.LogStream(group, f"{prefix}/default/{attempt.task_arn.rsplit('/', 1)[-1]}", region)


def _task_arn(job: Job) -> str:
    cluster = job.queue.environments[0].ecs_name
    backend = job.queue.backend
    return f"arn:aws:ecs:{backend.region_name}:{backend.account_id}:task/{cluster}/{uuid.uuid4().hex}"


def available_cores() -> int:
    """How many jobs run at once: the environment's ``VITRINE_BATCH_CORES``, else the cores this process may use."""
    configured = os.environ.get("VITRINE_BATCH_CORES")
    if configured:
        return int(configured)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _now() -> int:
    return int(time.time() * 1000)
