"""AWS Glue jobs: definitions in memory, runs as real processes.

See ``glue_definitions`` for what a job may ask for, ``glue_engines`` for what its script runs on, and ``glue_runs`` for
how it is run. The catalog's half of Glue is ``catalog``.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from moto.core.responses import ActionResult
from moto.glue.exceptions import GlueClientError, InvalidInputException, JobNotFoundException, JobRunNotFoundException
from moto.glue.models import glue_backends

from local.aws import glue_definitions, plugging
from local.aws.batch_jobs import available_cores
from local.aws.catalog import Catalog, CatalogResponse
from local.aws.glue_engines import Engine
from local.aws.glue_runs import Runner

PAGE = 200
"""The most jobs or runs that one page holds."""


class IdempotentParameterMismatchException(GlueClientError):  # noqa: N818 (the API's name)
    """A job of this name exists, and is another one."""

    def __init__(self, message: str) -> None:
        super().__init__("IdempotentParameterMismatchException", message)


class JobsResponse(CatalogResponse):
    """The actions about jobs, of which moto's would report runs that never happen."""

    @property
    def glue(self) -> "Glue":
        """The backend, by its real type."""
        return self.glue_backend  # type: ignore[return-value]

    def create_job(self) -> ActionResult:
        """CreateJob."""
        self.glue.define(dict(self.parameters))
        return ActionResult({"Name": self.parameters["Name"]})

    def update_job(self) -> ActionResult:
        """UpdateJob."""
        self.glue.redefine(self.parameters["JobName"], dict(self.parameters["JobUpdate"]))
        return ActionResult({"JobName": self.parameters["JobName"]})

    def delete_job(self) -> ActionResult:
        """DeleteJob."""
        self.glue.delete_definition(self.parameters["JobName"])
        return ActionResult({"JobName": self.parameters["JobName"]})

    def get_job(self) -> ActionResult:
        """GetJob."""
        return ActionResult({"Job": self.glue.definition(self.parameters["JobName"])})

    def get_jobs(self) -> ActionResult:
        """GetJobs."""
        return self._page("Jobs", list(self.glue.definitions.values()))

    def list_jobs(self) -> ActionResult:
        """ListJobs."""
        return self._page("JobNames", self.glue.names(self.parameters.get("Tags") or {}))

    def batch_get_jobs(self) -> ActionResult:
        """BatchGetJobs."""
        wanted, known = self.parameters["JobNames"], self.glue.definitions
        return ActionResult(
            {
                "Jobs": [known[name] for name in wanted if name in known],
                "JobsNotFound": [name for name in wanted if name not in known],
            }
        )

    def start_job_run(self) -> ActionResult:
        """StartJobRun."""
        return ActionResult({"JobRunId": self.glue.start(dict(self.parameters))})

    def get_job_run(self) -> ActionResult:
        """GetJobRun."""
        return ActionResult({"JobRun": self.glue.run(self.parameters["JobName"], self.parameters["RunId"])})

    def get_job_runs(self) -> ActionResult:
        """GetJobRuns."""
        return self._page("JobRuns", self.glue.runs(self.parameters["JobName"]))

    def batch_stop_job_run(self) -> ActionResult:
        """BatchStopJobRun."""
        job, stopped, errors = self.parameters["JobName"], [], []
        for run_id in self.parameters["JobRunIds"]:
            named = {"JobName": job, "JobRunId": run_id}
            refusal = self.glue.stop(job, run_id)
            if refusal is None:
                stopped.append(named)
            else:
                errors.append(
                    named | {"ErrorDetail": {"ErrorCode": refusal.error_type, "ErrorMessage": refusal.message}}
                )
        return ActionResult({"SuccessfulSubmissions": stopped, "Errors": errors})

    def _page(self, field: str, found: list[Any]) -> ActionResult:
        start, size = int(self.parameters.get("NextToken") or 0), min(self.parameters.get("MaxResults") or PAGE, PAGE)
        more = {"NextToken": str(start + size)} if start + size < len(found) else {}
        return ActionResult({field: found[start : start + size], **more})


class Glue(Catalog):
    """The catalog, with jobs.

    Attributes:
        definitions: Name to job, in the API's shape.
    """

    response = JobsResponse
    engine: ClassVar[Engine] = Engine()
    slots: ClassVar[int] = 1

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.definitions: dict[str, dict[str, Any]] = {}
        self.runner = Runner(self.engine, self.slots)

    def reset(self) -> None:
        """Kill what runs and forget everything but the catalog."""
        # Without waiting: moto holds a lock here that a starting run may need.
        self.runner.kill()
        super().reset()

    def define(self, request: dict[str, Any]) -> None:
        """Create a job; creating the same one again changes nothing.

        Args:
            request: In the shape of CreateJob.

        Raises:
            InvalidInputException: A field is missing, wrong, or not supported by the local stack.
            IdempotentParameterMismatchException: Another job has this name.
        """
        glue_definitions.check_definition(request)
        name, tags = request["Name"], request.pop("Tags", {})
        with self.lock:
            known = self.definitions.get(name)
            if known and _fields(known) != _fields(request):
                raise IdempotentParameterMismatchException(f"Job {name} already exists with a different configuration.")
            if not known:
                self.definitions[name] = _described(request, created=datetime.now(UTC))
        self.tag_resource(self._arn(name), tags)

    def redefine(self, name: str, update: dict[str, Any]) -> None:
        """Replace all that a job is; what the update does not name is forgotten. Its runs go on.

        Args:
            name: Of the job.
            update: In the shape of JobUpdate.

        Raises:
            InvalidInputException: A field is missing, wrong, or not supported by the local stack.
            EntityNotFoundException: There is no such job.
        """
        with self.lock:
            known = self.definition(name)
            glue_definitions.check_definition({**update, "Name": name})
            self.definitions[name] = _described({**update, "Name": name}, created=known["CreatedOn"])

    def definition(self, name: str) -> dict[str, Any]:
        """A job in the API's shape.

        Raises:
            EntityNotFoundException: There is no such job.
        """
        if name not in self.definitions:
            raise JobNotFoundException(name)
        return self.definitions[name]

    def delete_definition(self, name: str) -> None:
        """Delete a job, if there is one, and stop its runs."""
        with self.lock:
            self.definitions.pop(name, None)
            self.runner.forget(name)
        self.tagger.delete_all_tags_for_resource(self._arn(name))

    def names(self, tags: dict[str, str]) -> list[str]:
        """Names of the jobs that have all these tags."""
        return [name for name in self.definitions if tags.items() <= self.get_tags(self._arn(name)).items()]

    def start(self, request: dict[str, Any]) -> str:
        """Start a run.

        Args:
            request: In the shape of StartJobRun.

        Returns:
            Id of the run.

        Raises:
            InvalidInputException: A field is wrong or not supported by the local stack.
            EntityNotFoundException: There is no such job.
            ConcurrentRunsExceededException: The job has as many runs as it allows.
        """
        name = request["JobName"]
        with self.lock:
            definition = self.definition(name)
            glue_definitions.check_run(definition, request)
            return self.runner.start(name, glue_definitions.merge(definition, request))

    def runs(self, name: str) -> list[dict[str, Any]]:
        """A job's runs in the API's shape, the latest first.

        Raises:
            EntityNotFoundException: There is no such job.
        """
        self.definition(name)
        return self.runner.describe(name)

    def run(self, name: str, run_id: str) -> dict[str, Any]:
        """One run in the API's shape.

        Raises:
            EntityNotFoundException: There is no such job or run.
        """
        for run in self.runs(name):
            if run["Id"] == run_id:
                return run
        raise JobRunNotFoundException(run_id)

    def stop(self, name: str, run_id: str) -> GlueClientError | None:
        """Ask a run to end.

        Returns:
            Why it can't, if so.
        """
        active = self.runner.stop(name, run_id)
        if active is None:
            return JobRunNotFoundException(run_id)
        return None if active else InvalidInputException("", f"Job run {run_id} has ended already.")

    def _arn(self, name: str) -> str:
        return f"arn:{self.partition}:glue:{self.region_name}:{self.account_id}:job/{name}"


def plug() -> None:
    """Let this module answer Glue: the catalog's APIs, and those of jobs.

    Raises:
        PluggingError: The engine that the environment chooses can't run here.
    """
    Glue.engine, Glue.slots = Engine.chosen(), available_cores()
    plugging.plug(Glue)


def stop() -> None:
    """Kill every run and wait until its processes are gone. Call it when no more runs can come."""
    for _, _, backend in glue_backends.iter_backends():
        if isinstance(backend, Glue):
            backend.runner.kill(wait=True)


def _described(request: dict[str, Any], created: datetime) -> dict[str, Any]:
    defaults = {
        "ExecutionClass": "STANDARD",
        "ExecutionProperty": {"MaxConcurrentRuns": 1},
        "MaxRetries": 0,
        "Timeout": glue_definitions.DEFAULT_TIMEOUT,
    }
    given = {name: value for name, value in request.items() if value is not None}
    return {**defaults, **given, "CreatedOn": created, "LastModifiedOn": datetime.now(UTC)}


def _fields(definition: dict[str, Any]) -> dict[str, Any]:
    """What of a definition its author said."""
    described = _described(definition, created=datetime.min)
    return {name: value for name, value in described.items() if name not in ("CreatedOn", "LastModifiedOn")}
