"""AWS Batch: moto's queues and compute environments, with jobs that really run as processes.

A job's image is looked up in the stack's image map, which names the command that stands in for its entry point. See
``batch_definitions`` for what a job may ask for and ``batch_jobs`` for how it is run.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from moto.batch.exceptions import ClientException
from moto.batch.models import BatchBackend, JobDefinition, batch_backends
from moto.batch.responses import BatchResponse
from moto.batch.utils import make_arn_for_job

from local.aws import batch_definitions, plugging
from local.aws.batch_jobs import STATUSES, Job, Scheduler, available_cores

PAGE = 100


class ExecutingBatchResponse(BatchResponse):
    """Hands whole requests to the backend, where moto drops the fields that it does not know."""

    @property
    def _backend(self) -> "ExecutingBatchBackend":
        backend = self.batch_backend
        assert isinstance(backend, ExecutingBatchBackend)  # noqa: S101 - proved by plugging.verify
        return backend

    @property
    def _request(self) -> dict[str, Any]:
        return json.loads(self.body or "{}")

    def registerjobdefinition(self) -> str:
        """RegisterJobDefinition."""
        definition = self._backend.register(self._request)
        return json.dumps(
            {
                "jobDefinitionArn": definition.arn,
                "jobDefinitionName": definition.name,
                "revision": definition.revision,
            }
        )

    def describejobdefinitions(self) -> str:
        """DescribeJobDefinitions."""
        definitions, token = self._backend.definitions(self._request)
        return _answer({"jobDefinitions": [definition.describe() for definition in definitions]}, token)

    def submitjob(self) -> str:
        """SubmitJob."""
        job = self._backend.submit(self._request)
        return json.dumps({"jobId": job.id, "jobName": job.name, "jobArn": job.arn})

    def listjobs(self) -> str:
        """ListJobs."""
        summaries, token = self._backend.list_summaries(self._request)
        return _answer({"jobSummaryList": summaries}, token)


class ExecutingBatchBackend(plugging.Plugged, BatchBackend):
    """moto's Batch with a scheduler of processes in the place of Docker containers."""

    service = "batch"
    response = ExecutingBatchResponse
    cores: ClassVar[int] = 1

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.scheduler = Scheduler(self.cores)

    def reset(self) -> None:
        """Kill what runs and forget everything."""
        # Without waiting: moto holds a lock here that a starting job may need.
        self.scheduler.kill()
        super().reset()

    def register(self, request: dict[str, Any]) -> JobDefinition:
        """Register a revision of a job definition.

        Args:
            request: In the shape of RegisterJobDefinition.

        Raises:
            ClientException: A field is wrong or not supported by the local stack.
        """
        batch_definitions.check_registration(request)
        name = request["jobDefinitionName"]
        latest = self.get_job_definition_by_name(name)
        definition = JobDefinition(  # type: ignore[abstract]
            name,
            request.get("parameters"),
            request["type"],
            request["containerProperties"],
            node_properties=None,
            eks_properties=None,
            tags=request.get("tags") or {},
            retry_strategy=request.get("retryStrategy") or {},
            timeout=request.get("timeout") or {},
            backend=self,
            platform_capabilities=request.get("platformCapabilities") or ["EC2"],
            propagate_tags=bool(request.get("propagateTags")),
            revision=latest.revision if latest else 0,
        )
        self._job_definitions[definition.arn] = definition
        return definition

    def register_job_definition(  # type: ignore[override]
        self,
        def_name: str,
        parameters: dict[str, Any] | None,
        _type: str,
        tags: dict[str, str] | None,
        retry_strategy: dict[str, Any] | None,
        container_properties: dict[str, Any] | None,
        node_properties: dict[str, Any] | None,
        eks_properties: dict[str, Any] | None,
        timeout: dict[str, int] | None,
        platform_capabilities: list[str] | None,
        propagate_tags: bool | None,
    ) -> JobDefinition:
        """:meth:`register` as the rest of moto calls it."""
        return self.register(
            {
                "jobDefinitionName": def_name,
                "parameters": parameters,
                "type": _type,
                "tags": tags,
                "retryStrategy": retry_strategy,
                "containerProperties": container_properties,
                "nodeProperties": node_properties,
                "eksProperties": eks_properties,
                "timeout": timeout,
                "platformCapabilities": platform_capabilities,
                "propagateTags": propagate_tags,
            }
        )

    def deregister_job_definition(self, def_name: str) -> None:
        """Make one revision INACTIVE: no job can be submitted with it any more."""
        self._active_definition(def_name, revision_required=True).deregister()

    def definitions(self, request: dict[str, Any]) -> tuple[list[JobDefinition], str | None]:
        """One page of DescribeJobDefinitions.

        Args:
            request: In the shape of DescribeJobDefinitions.

        Returns:
            Definitions, newest revision first, and the token of the next page.
        """
        name, named, status = (request.get(field) for field in ("jobDefinitionName", "jobDefinitions", "status"))
        found = [
            definition
            for definition in self._job_definitions.values()
            if name in (None, definition.name)
            and (not named or {definition.arn, f"{definition.name}:{definition.revision}"} & set(named))
            and status in (None, definition.status)
        ]
        found.sort(key=lambda definition: (definition.name, -definition.revision))
        token = _decode(request.get("nextToken")) or "0"
        if not token.isdigit():
            raise _wrong_token()
        start = int(token)
        end = start + (request.get("maxResults") or PAGE)
        return found[start:end], _encode(str(end)) if end < len(found) else None

    def submit(self, request: dict[str, Any]) -> Job:
        """Take over a job.

        Args:
            request: In the shape of SubmitJob.

        Returns:
            The job, or the parent of the array.

        Raises:
            ClientException: A field is wrong, not supported by the local stack, or names something that is not there.
        """
        batch_definitions.check_submission(request)
        definition = self._active_definition(request.get("jobDefinition") or "")
        queue = self.get_job_queue(request.get("jobQueue") or "")
        if queue is None:
            raise ClientException(f"Job queue {request.get('jobQueue')} does not exist")
        if queue.state != "ENABLED":
            raise ClientException(f"Job queue {queue.name} is {queue.state}: enable it to submit jobs")
        container = batch_definitions.merge(definition.container_properties or {}, request.get("containerOverrides"))
        batch_definitions.check_fargate(definition.platform_capabilities, container)
        size = (request.get("arrayProperties") or {}).get("size")

        def job(job_id: str, **particulars: Any) -> Job:
            return Job(
                id=job_id,
                arn=make_arn_for_job(self.account_id, job_id, self.region_name),
                name=request["jobName"],
                definition=definition,
                queue=queue,
                container=container,
                parameters={**definition.parameters, **(request.get("parameters") or {})},
                retry={"attempts": 1, **(request.get("retryStrategy") or definition.retry_strategy or {})},
                timeout=request.get("timeout") or definition.timeout or {},
                depends_on=request.get("dependsOn") or [],
                propagate_tags=bool(request.get("propagateTags") or definition.propagate_tags),
                array_size=size,
                **particulars,
            )

        job_id = str(uuid.uuid4())
        submitted = job(job_id)
        submitted.children = [job(f"{job_id}:{index}", index=index) for index in range(size or 0)]
        for member in submitted.children or [submitted]:
            member.predecessors = list(self._predecessors(member, submitted))
        self._tag(submitted, request.get("tags"))
        self.scheduler.submit(submitted)
        return submitted

    def submit_job(  # type: ignore[override]
        self,
        job_name: str,
        job_def_id: str,
        job_queue: str,
        array_properties: dict[str, int] | None,
        depends_on: list[dict[str, str]] | None = None,
        container_overrides: dict[str, Any] | None = None,
        eks_properties_override: dict[str, Any] | None = None,
        timeout: dict[str, int] | None = None,
        parameters: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> tuple[str, str, str]:
        """:meth:`submit` as the rest of moto calls it."""
        job = self.submit(
            {
                "jobName": job_name,
                "jobDefinition": job_def_id,
                "jobQueue": job_queue,
                "arrayProperties": array_properties,
                "dependsOn": depends_on,
                "containerOverrides": container_overrides,
                "eksPropertiesOverride": eks_properties_override,
                "timeout": timeout,
                "parameters": parameters,
                "tags": tags,
            }
        )
        return job.name, job.id, job.arn

    def describe_jobs(self, jobs: list[str] | None) -> list[dict[str, Any]]:
        """Describe jobs by id or ARN; those that do not exist are left out, as AWS does."""
        found = [job for job in map(self.scheduler.find, jobs or []) if job]
        return [self.scheduler.describe(job) | {"tags": self.list_tags_for_resource(job.arn)} for job in found]

    def list_summaries(self, request: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """One page of ListJobs.

        Args:
            request: In the shape of ListJobs. Without status and filters only RUNNING jobs are listed, as AWS does.

        Returns:
            Summaries, and the token of the next page.

        Raises:
            ClientException: The queue, array or status does not exist, or a field is not supported.
        """
        supported = {"jobQueue", "arrayJobId", "jobStatus", "maxResults", "nextToken", "filters"}
        batch_definitions.refuse_unsupported(request, supported)
        status, filters = request.get("jobStatus") or "RUNNING", request.get("filters") or []
        if status not in STATUSES:
            raise ClientException(f"jobStatus must be one of {' | '.join(STATUSES)}, not {status}")
        for number, each in enumerate(filters):
            if each.get("name") not in _FILTERS:
                raise ClientException(f"filters[{number}].name must be one of {' | '.join(_FILTERS)}")

        def wanted(job: Job) -> bool:
            if not filters:
                return job.status == status
            return all(any(_FILTERS[each["name"]](job, value) for value in each["values"]) for each in filters)

        after = _decode(request.get("nextToken"))
        if after and not self.scheduler.find(after):
            raise _wrong_token()
        size = min(request.get("maxResults") or PAGE, PAGE)
        summaries, last = self.scheduler.summarise(self._listed(request), wanted, after, size)
        return summaries, _encode(last) if last else None

    def cancel_job(self, job_id: str, reason: str) -> None:
        """CancelJob: has no effect on a job that is STARTING or RUNNING."""
        self.scheduler.cancel(*self._to_stop(job_id, reason))

    def terminate_job(self, job_id: str, reason: str) -> None:
        """TerminateJob."""
        self.scheduler.terminate(*self._to_stop(job_id, reason))

    def _to_stop(self, job_id: str, reason: str) -> tuple[Job, str]:
        if not reason:
            raise ClientException("reason must be provided")
        return self._job(job_id, "jobId"), reason

    def _job(self, job_id: str, where: str) -> Job:
        job = self.scheduler.find(job_id)
        if job is None:
            raise ClientException(f"{where}: job {job_id} does not exist")
        return job

    def _predecessors(self, member: Job, submitted: Job) -> Iterator[Job]:
        index = member.index or 0
        for need in submitted.depends_on:
            if need.get("type") == "SEQUENTIAL":
                yield from submitted.children[max(0, index - 1) : index]
                continue
            other = self._job(need["jobId"], "dependsOn")
            if need.get("type") != "N_TO_N":
                yield other
            elif len(other.children) == len(submitted.children):
                yield other.children[index]
            else:
                raise ClientException(
                    f"dependsOn: N_TO_N needs arrays of one size: {other.id} has {len(other.children)} children, "
                    f"this job has {len(submitted.children)}"
                )

    def _listed(self, request: dict[str, Any]) -> Iterable[Job]:
        if request.get("arrayJobId"):
            return self._job(request["arrayJobId"], "arrayJobId").children
        queue = self.get_job_queue(request.get("jobQueue") or "")
        if queue is None:
            raise ClientException(f"Job queue {request.get('jobQueue')} does not exist")
        return [job for job in self.scheduler.jobs() if job.queue is queue]

    def _active_definition(self, identifier: str, revision_required: bool = False) -> JobDefinition:
        """The definition of an ARN or ``name:revision``; of a bare name, unless refused, its latest active revision."""
        candidates = [
            definition
            for definition in self._job_definitions.values()
            if identifier in (definition.arn, f"{definition.name}:{definition.revision}")
            or (identifier == definition.name and not revision_required)
        ]
        active = [definition for definition in candidates if definition.status == "ACTIVE"]
        if not active:
            state = "is not ACTIVE" if candidates else "does not exist"
            raise ClientException(f"Job definition {identifier} {state}")
        return max(active, key=lambda definition: definition.revision)

    def _tag(self, job: Job, tags: dict[str, str] | None) -> None:
        inherited = self.list_tags_for_resource(job.definition.arn) if job.propagate_tags else {}
        self.tag_resource(job.arn, inherited | (tags or {}))


def plug(cores: int | None = None) -> None:
    """Let jobs run as processes.

    Args:
        cores: How many of them at once; by default :func:`local.aws.batch_jobs.available_cores`.
    """
    ExecutingBatchBackend.cores = cores or available_cores()
    plugging.plug(ExecutingBatchBackend)


def stop() -> None:
    """Fail every unfinished job and wait until its processes are gone. Call it when no more jobs can come."""
    for _, _, backend in batch_backends.iter_backends():
        if isinstance(backend, ExecutingBatchBackend):
            backend.scheduler.kill(wait=True)


def _named(pattern: str, name: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower()) if pattern.endswith("*") else name.lower() == pattern.lower()


_FILTERS = {
    "JOB_NAME": lambda job, value: _named(value, job.name),
    "JOB_DEFINITION": lambda job, value: value == job.definition.arn or _named(value, job.definition.name),
    "BEFORE_CREATED_AT": lambda job, value: job.created_at < int(value),
    "AFTER_CREATED_AT": lambda job, value: job.created_at > int(value),
}


def _answer(body: dict[str, Any], token: str | None) -> str:
    return json.dumps(body | ({"nextToken": token} if token else {}))


def _encode(position: str) -> str:
    return base64.b64encode(position.encode()).decode()


def _decode(token: str | None) -> str | None:
    if not token:
        return None
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _wrong_token() from None


def _wrong_token() -> ClientException:
    return ClientException("nextToken is not one that this operation gave out")
