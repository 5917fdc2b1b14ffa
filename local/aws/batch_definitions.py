"""What a Batch job may ask for: job definitions and submissions checked, merged and read.

Dictionaries here have the shape of the AWS Batch API (``containerProperties``, ``retryStrategy``, …). Whatever the
local stack cannot give is refused by the name of its field at registration or submission.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from moto.batch.exceptions import ClientException

MEBIBYTE = 1024 * 1024
# AWS refuses shorter ones.
SHORTEST_TIMEOUT = 60

_REGISTRATION = {
    "jobDefinitionName",
    "type",
    "parameters",
    "containerProperties",
    "retryStrategy",
    "propagateTags",
    "timeout",
    "tags",
    "platformCapabilities",
}
_SUBMISSION = {
    "jobName",
    "jobQueue",
    "jobDefinition",
    "arrayProperties",
    "dependsOn",
    "parameters",
    "containerOverrides",
    "retryStrategy",
    "propagateTags",
    "timeout",
    "tags",
}
# Roles, networks and disks are this machine's own: the job gets them, but they restrict nothing here.
_CONTAINER = {
    "image",
    "vcpus",
    "memory",
    "command",
    "environment",
    "resourceRequirements",
    "secrets",
    "logConfiguration",
    "jobRoleArn",
    "executionRoleArn",
    "networkConfiguration",
    "fargatePlatformConfiguration",
    "ephemeralStorage",
    "runtimePlatform",
}
_OVERRIDES = {"vcpus", "memory", "command", "environment", "resourceRequirements"}
_LOG_OPTIONS = {"awslogs-group", "awslogs-stream-prefix", "awslogs-region", "awslogs-create-group"}

_WHY = {
    "nodeProperties": "multi-node parallel jobs need several hosts",
    "nodeOverrides": "multi-node parallel jobs need several hosts",
    "eksProperties": "there is no Kubernetes cluster",
    "eksPropertiesOverride": "there is no Kubernetes cluster",
    "ecsProperties": "a job is one container; use containerProperties",
    "ecsPropertiesOverride": "a job is one container; use containerOverrides",
    "schedulingPriority": "queues have no fair-share scheduling policy",
    "schedulingPriorityOverride": "queues have no fair-share scheduling policy",
    "shareIdentifier": "queues have no fair-share scheduling policy",
    "privileged": "a job is a plain process of the current user",
    "user": "a job is a plain process of the current user",
    "readonlyRootFilesystem": "a job is a plain process and sees this machine's files",
    "volumes": "a job is a plain process and sees this machine's files",
    "mountPoints": "a job is a plain process and sees this machine's files",
    "devices": "a job is a plain process and gets no devices",
    "instanceType": "only multi-node parallel jobs choose one, and they need several hosts",
}

# https://docs.aws.amazon.com/batch/latest/APIReference/API_ResourceRequirement.html
_FARGATE_MEMORY = {
    0.25: (512, 1024, 2048),
    0.5: range(1024, 4096 + 1, 1024),
    1.0: range(2048, 8192 + 1, 1024),
    2.0: range(4096, 16384 + 1, 1024),
    4.0: range(8192, 30720 + 1, 1024),
    8.0: range(16384, 61440 + 1, 4096),
    16.0: range(32768, 122880 + 1, 8192),
}


def check_registration(request: Mapping[str, Any]) -> None:
    """Check a RegisterJobDefinition request.

    Raises:
        ClientException: A field is missing, wrong, or asks for what the local stack cannot give.
    """
    refuse_unsupported(request, _REGISTRATION)
    if request.get("type") != "container":
        raise ClientException(f"type must be container, not {request.get('type')!r}: {_WHY['nodeProperties']}")
    properties = request.get("containerProperties")
    if not properties:
        raise ClientException("containerProperties must be provided")
    where = "containerProperties"
    linux = properties.get("linuxParameters") or {}
    # An init process is what the supervisor of every job is anyway.
    refuse_unsupported(linux, {"initProcessEnabled"}, f"{where}.linuxParameters")
    refuse_unsupported(properties, _CONTAINER | {"linuxParameters"}, where)
    family = (properties.get("runtimePlatform") or {}).get("operatingSystemFamily", "LINUX")
    if family != "LINUX":
        raise ClientException(f"{where}.runtimePlatform.operatingSystemFamily {family} is not supported: only LINUX is")
    for requirement in ("MEMORY", "VCPU"):
        if requirement not in resources(properties):
            raise ClientException(f"{where}.resourceRequirements must contain {requirement}")
    _check_container(properties, where)
    _check_logging(properties.get("logConfiguration") or {}, f"{where}.logConfiguration")
    for number, secret in enumerate(properties.get("secrets") or []):
        if not secret.get("name") or not secret.get("valueFrom"):
            raise ClientException(f"{where}.secrets[{number}] must have name and valueFrom")
    check_fargate(request.get("platformCapabilities"), properties)
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))


def check_submission(request: Mapping[str, Any]) -> None:
    """Check a SubmitJob request as far as that needs no knowledge of queues, definitions and other jobs.

    Raises:
        ClientException: A field is wrong, or asks for what the local stack cannot give.
    """
    refuse_unsupported(request, _SUBMISSION)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", request.get("jobName") or ""):
        raise ClientException(
            f"jobName {request.get('jobName')!r} must be up to 128 letters, digits, hyphens and underscores, the first "
            "of them a letter or digit"
        )
    overrides = request.get("containerOverrides") or {}
    refuse_unsupported(overrides, _OVERRIDES, "containerOverrides")
    _check_container(overrides, "containerOverrides")
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and not 2 <= size <= 10_000:
        raise ClientException(f"arrayProperties.size must be between 2 and 10000, not {size}")
    dependencies = request.get("dependsOn") or []
    if len(dependencies) > 20:
        raise ClientException(f"dependsOn may name up to 20 jobs, not {len(dependencies)}")
    for number, dependency in enumerate(dependencies):
        _check_dependency(dependency, size, f"dependsOn[{number}]")


def refuse_unsupported(given: Mapping[str, Any], supported: Iterable[str], where: str = "") -> None:
    """Refuse every field that is set and not supported.

    Args:
        given: Part of a request. ``None``, ``False``, ``0`` and empty values ask for nothing.
        supported: Names of the fields that are really honoured.
        where: Path of ``given`` in the request.

    Raises:
        ClientException: Names the first such field, and why it is not supported where that is known.
    """
    for field, value in given.items():
        if value and field not in supported:
            path = f"{where}.{field}" if where else field
            why = f": {_WHY[field]}" if field in _WHY else ""
            raise ClientException(f"{path} is not supported by the local stack{why}")


def check_fargate(capabilities: Iterable[str] | None, container: Mapping[str, Any]) -> None:
    """Check that Fargate, where a definition asks for it, offers this combination of vCPU and memory.

    Raises:
        ClientException: It does not.
    """
    if "FARGATE" not in (capabilities or ()):
        return
    vcpu, memory = float(resources(container)["VCPU"]), int(resources(container)["MEMORY"])
    if memory not in _FARGATE_MEMORY.get(vcpu, ()):
        offered = ", ".join(map(str, _FARGATE_MEMORY.get(vcpu, ()))) or "no"
        raise ClientException(
            f"Fargate resource requirements ({vcpu:g} vCPU, {memory} MiB) not valid: with {vcpu:g} vCPU it offers "
            f"{offered} MiB"
        )


def check_retry(strategy: Mapping[str, Any] | None) -> None:
    """Check a retry strategy.

    Raises:
        ClientException: A count or a pattern is out of what AWS allows.
    """
    if not strategy:
        return
    attempts = strategy.get("attempts")
    if attempts is not None and not 1 <= attempts <= 10:
        raise ClientException(f"retryStrategy.attempts must be between 1 and 10, not {attempts}")
    rules = strategy.get("evaluateOnExit") or []
    if rules and attempts is None:
        raise ClientException("retryStrategy.evaluateOnExit needs retryStrategy.attempts")
    if len(rules) > 5:
        raise ClientException(f"retryStrategy.evaluateOnExit may have up to 5 entries, not {len(rules)}")
    for number, rule in enumerate(rules):
        where = f"retryStrategy.evaluateOnExit[{number}]"
        if str(rule.get("action")).upper() not in ("RETRY", "EXIT"):
            raise ClientException(f"{where}.action must be RETRY or EXIT, not {rule.get('action')!r}")
        if not re.fullmatch(r"[0-9]*\*?", rule.get("onExitCode") or ""):
            raise ClientException(f"{where}.onExitCode must be digits, at most followed by *")
        for field in ("onReason", "onStatusReason"):
            if "*" in (rule.get(field) or "")[:-1]:
                raise ClientException(f"{where}.{field} may have a * at its end only")


def check_timeout(timeout: Mapping[str, Any] | None) -> None:
    """Check a timeout.

    Raises:
        ClientException: It is shorter than AWS allows.
    """
    seconds = (timeout or {}).get("attemptDurationSeconds")
    if seconds is not None and seconds < SHORTEST_TIMEOUT:
        raise ClientException(f"timeout.attemptDurationSeconds must be at least {SHORTEST_TIMEOUT}, not {seconds}")


def retries(strategy: Mapping[str, Any], made: int, exit_code: int | None, reason: str, status_reason: str) -> bool:
    """Whether a failed attempt is followed by another one.

    Args:
        strategy: The job's retry strategy.
        made: Number of attempts so far.
        exit_code: Of the container, where it came so far.
        reason: Of the container, e.g. ``OutOfMemoryError: …``; may be empty.
        status_reason: Of the attempt, e.g. ``Essential container in task exited``.
    """
    if made >= (strategy.get("attempts") or 1):
        return False
    found = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason,
        "onStatusReason": status_reason,
    }
    for rule in strategy.get("evaluateOnExit") or []:
        if all(_matches(rule[field], value) for field, value in found.items() if rule.get(field)):
            return rule["action"].upper() == "RETRY"
    return True


def resources(container: Mapping[str, Any]) -> dict[str, str]:
    """The resource requirements by type; the older fields ``vcpus`` and ``memory`` count as such."""
    older = {"VCPU": container.get("vcpus"), "MEMORY": container.get("memory")}
    return {type_: str(value) for type_, value in older.items() if value} | {
        requirement["type"]: requirement["value"] for requirement in container.get("resourceRequirements") or []
    }


def memory_limit(container: Mapping[str, Any]) -> int:
    """The memory a container may use, in bytes."""
    return int(resources(container)["MEMORY"]) * MEBIBYTE


def merge(properties: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Apply a submission's overrides to a definition's container properties.

    Returns:
        Container properties of the job: the override's command if it has one, its environment and resource
        requirements entry by entry over the definition's.
    """
    overrides = overrides or {}
    environment = {pair["name"]: pair.get("value", "") for pair in properties.get("environment") or []}
    environment |= {pair["name"]: pair.get("value", "") for pair in overrides.get("environment") or []}
    needs = resources(properties) | resources(overrides)
    merged = {name: value for name, value in properties.items() if name not in ("vcpus", "memory")}
    merged["command"] = overrides.get("command") or properties.get("command") or []
    merged["environment"] = [{"name": name, "value": value} for name, value in environment.items()]
    merged["resourceRequirements"] = [{"type": type_, "value": value} for type_, value in needs.items()]
    return merged


def substitute(command: Iterable[str], parameters: Mapping[str, str]) -> list[str]:
    """Replace every ``Ref::name`` by the parameter of that name; one without a parameter stays as it is."""
    return [
        re.sub(r"Ref::([A-Za-z0-9_-]+)", lambda match: parameters.get(match[1], match[0]), argument)
        for argument in command
    ]


def _check_container(container: Mapping[str, Any], where: str) -> None:
    for number, requirement in enumerate(container.get("resourceRequirements") or []):
        path = f"{where}.resourceRequirements[{number}]"
        if requirement["type"] not in ("VCPU", "MEMORY"):
            raise ClientException(f"{path}.type {requirement['type']} is not supported by the local stack")
    needs = resources(container)
    if "MEMORY" in needs and (not needs["MEMORY"].isdigit() or int(needs["MEMORY"]) < 4):
        raise ClientException(f"{where}: MEMORY must be a whole number of MiB, at least 4, not {needs['MEMORY']!r}")
    if "VCPU" in needs and not re.fullmatch(r"0\.25|0\.5|[1-9][0-9]*(\.0)?", needs["VCPU"]):
        raise ClientException(f"{where}: VCPU must be 0.25, 0.5 or a whole number, not {needs['VCPU']!r}")
    for pair in container.get("environment") or []:
        if pair["name"].startswith("AWS_BATCH"):
            raise ClientException(f"{where}.environment: {pair['name']}: names that start with AWS_BATCH are reserved")


def _check_logging(logging: Mapping[str, Any], where: str) -> None:
    if not logging:
        return
    if logging.get("logDriver") != "awslogs":
        raise ClientException(f"{where}.logDriver {logging.get('logDriver')} is not supported: only awslogs is")
    refuse_unsupported(logging, {"logDriver", "options"}, where)
    refuse_unsupported(logging.get("options") or {}, _LOG_OPTIONS, f"{where}.options")


def _check_dependency(dependency: Mapping[str, Any], size: int | None, where: str) -> None:
    kind, job_id = dependency.get("type"), dependency.get("jobId")
    if kind and not size:
        raise ClientException(f"{where}.type {kind} is for array jobs only")
    if kind == "SEQUENTIAL" and job_id:
        raise ClientException(f"{where}: SEQUENTIAL orders an array's own children and takes no jobId")
    if kind != "SEQUENTIAL" and not job_id:
        raise ClientException(f"{where}.jobId must be provided")


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
