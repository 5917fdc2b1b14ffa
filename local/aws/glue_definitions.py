"""What a Glue job may ask for on the local stack, and the refusal of everything that would not really happen."""

import re
from importlib import metadata
from typing import Any

from moto.glue.exceptions import InvalidInputException

from local.aws.s3 import split

DEFAULT_TIMEOUT = 2880
"""Minutes that a run may take when neither it nor its job says."""

LONGEST_TIMEOUT = 7 * 24 * 60
GLUE_VERSIONS = ("5.0", "5.1")
MODULE_FILES = (".py", ".zip", ".whl")

_CAPACITY = {"MaxCapacity", "NumberOfWorkers", "WorkerType"}
_DEFINITION = _CAPACITY | {
    *("Name", "Description", "LogUri", "Role", "Command", "GlueVersion", "ExecutionClass", "ExecutionProperty"),
    *("DefaultArguments", "NonOverridableArguments", "MaxRetries", "Timeout", "Tags"),
    *("JobMode", "JobRunQueuingEnabled"),
}
_RUN = _CAPACITY | {"JobName", "Arguments", "Timeout", "ExecutionClass", "JobRunQueuingEnabled"}

# Glue acts on these itself; here nobody would. The rest of what starts with -- is for the script.
_UNSUPPORTED_ARGUMENTS = {
    "--class": "only Python scripts run",
    "--datalake-formats": "Spark has no libraries of table formats",
    "--enable-glue-datacatalog": "Spark does not read the Glue Catalog: read the files",
    "--enable-lakeformation-fine-grained-access": "there is no Lake Formation",
    "--extra-files": "no files but Python modules are shipped to a job",
    "--extra-jars": "no Java libraries are shipped to a job",
    "--python-modules-installer-option": "nothing is installed for a job: ship modules with --extra-py-files",
    "--scriptLocation": "set Command.ScriptLocation",
    "--user-jars-first": "no Java libraries are shipped to a job",
}
_RESERVED_ARGUMENTS = ("--JOB_ID", "--JOB_NAME", "--JOB_RUN_ID")


def check_definition(definition: dict[str, Any]) -> None:
    """Refuse what cannot be run as defined.

    Args:
        definition: In the shape of CreateJob, with ``Name``.

    Raises:
        InvalidInputException: A field is missing, wrong, or not supported by the local stack.
    """
    _refuse_unsupported(definition, _DEFINITION)
    if not definition.get("Name"):
        raise _invalid("Name is missing")
    if not definition.get("Role"):
        raise _invalid("Role is missing")
    _check_command(definition.get("Command") or {})
    if definition.get("GlueVersion") not in GLUE_VERSIONS:
        raise _invalid(
            f"GlueVersion must be {' or '.join(GLUE_VERSIONS)}, not {definition.get('GlueVersion')}: the local stack "
            "runs what those run"
        )
    if definition.get("JobMode", "SCRIPT") != "SCRIPT":
        raise _invalid(f"JobMode {definition['JobMode']} is not supported by the local stack: use SCRIPT")
    _check_number(definition, "MaxRetries", 0, 10)
    _check_number(definition.get("ExecutionProperty") or {}, "MaxConcurrentRuns", 1, 1000, "ExecutionProperty.")
    _check_shared(definition)
    for field in ("DefaultArguments", "NonOverridableArguments"):
        check_arguments(definition.get(field) or {}, field)


def check_run(definition: dict[str, Any], request: dict[str, Any]) -> None:
    """Refuse what a run may not ask for.

    Args:
        definition: Of the job.
        request: In the shape of StartJobRun.

    Raises:
        InvalidInputException: A field is wrong or not supported by the local stack.
    """
    _refuse_unsupported(request, _RUN)
    _check_shared(request)
    check_arguments(request.get("Arguments") or {}, "Arguments")
    fixed = (definition.get("NonOverridableArguments") or {}).keys() & (request.get("Arguments") or {}).keys()
    if fixed:
        raise _invalid(f"Arguments: {', '.join(sorted(fixed))} cannot be overridden, says the job")


def check_arguments(arguments: dict[str, str], field: str) -> None:
    """Refuse arguments that ask Glue for something the local stack does not do.

    Args:
        arguments: Name, with its dashes, to value.
        field: The request's field that holds them.

    Raises:
        InvalidInputException: Names the field and the argument.
    """
    for name, value in arguments.items():
        if name in _UNSUPPORTED_ARGUMENTS:
            raise _invalid(f"{field}: {name} is not supported by the local stack: {_UNSUPPORTED_ARGUMENTS[name]}")
        if name in _RESERVED_ARGUMENTS:
            raise _invalid(f"{field}: {name} is set by Glue itself")
        if name == "--job-language" and value != "python":
            raise _invalid(f"{field}: --job-language {value} is not supported by the local stack: use python")
        if name == "--job-bookmark-option" and value != "job-bookmark-disable":
            raise _invalid(f"{field}: --job-bookmark-option {value}: the local stack keeps no bookmarks, disable them")
        if name == "--additional-python-modules":
            for module in value.split(","):
                _check_module(module.strip(), f"{field}: {name}")
        if name == "--extra-py-files":
            for uri in module_uris(arguments):
                _check_uri(uri, f"{field}: --extra-py-files", MODULE_FILES)


def _check_module(module: str, field: str) -> None:
    """Refuse a module that runs wouldn't find: nothing is installed for them, they have this interpreter's packages."""
    name, _, version = module.partition("==")
    try:
        installed = metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        installed = "not installed"
    if not version or installed != version:
        raise _invalid(
            f"{field}: {module} is not supported by the local stack, which installs nothing for a job: {name} is "
            f"{installed} here, so write name==version of what there is, or ship modules with --extra-py-files"
        )


def module_uris(arguments: dict[str, str]) -> list[str]:
    """The S3 URIs that ``--extra-py-files`` lists."""
    return [uri.strip() for uri in arguments.get("--extra-py-files", "").split(",") if uri.strip()]


def merge(definition: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """What a run gets: the request's fields before the job's.

    Args:
        definition: Of the job.
        request: In the shape of StartJobRun.

    Returns:
        The definition's fields, overridden; ``Arguments`` are the defaults, overridden one by one; ``Timeout`` is set.
    """
    merged = definition | request
    if _CAPACITY & request.keys():
        for field in _CAPACITY - request.keys():
            merged.pop(field, None)
    merged["Timeout"] = merged.get("Timeout") or DEFAULT_TIMEOUT
    merged["Arguments"] = {
        **(definition.get("DefaultArguments") or {}),
        **(request.get("Arguments") or {}),
        **(definition.get("NonOverridableArguments") or {}),
    }
    return merged


def _check_command(command: dict[str, Any]) -> None:
    if command.get("Name") != "glueetl":
        raise _invalid(f"Command.Name {command.get('Name')} is not supported by the local stack: use glueetl")
    _check_uri(command.get("ScriptLocation") or "", "Command.ScriptLocation", (".py",))
    if command.get("PythonVersion", "3") != "3":
        raise _invalid(f"Command.PythonVersion must be 3, not {command['PythonVersion']}")
    if command.get("Runtime"):
        raise _invalid("Command.Runtime is of jobs that run on Ray, which the local stack does not")


def _check_shared(request: dict[str, Any]) -> None:
    """Check the fields that a job and a run have in common."""
    _check_number(request, "Timeout", 1, LONGEST_TIMEOUT)
    if request.get("JobRunQueuingEnabled"):
        raise _invalid("JobRunQueuingEnabled is not supported by the local stack: leave it out")
    if request.get("ExecutionClass", "STANDARD") not in ("STANDARD", "FLEX"):
        raise _invalid(f"ExecutionClass must be STANDARD or FLEX, not {request['ExecutionClass']}")
    by_workers = {"NumberOfWorkers", "WorkerType"} & request.keys()
    if len(by_workers) == 1:
        raise _invalid(f"{by_workers.pop()} is set alone: NumberOfWorkers and WorkerType go together")
    if by_workers and "MaxCapacity" in request:
        raise _invalid("MaxCapacity cannot be set together with NumberOfWorkers and WorkerType")
    if not re.fullmatch(r"[GR]\.\d{1,2}X", request.get("WorkerType", "G.1X")):
        raise _invalid(f"WorkerType must be one of G.1X, G.2X, … R.8X, not {request['WorkerType']}")
    _check_number(request, "NumberOfWorkers", 2, 299)


def _check_number(fields: dict[str, Any], name: str, lowest: int, highest: int, path: str = "") -> None:
    value = fields.get(name)
    if value is not None and not lowest <= value <= highest:
        raise _invalid(f"{path}{name} must be from {lowest} to {highest}, not {value}")


def _check_uri(uri: str, field: str, endings: tuple[str, ...]) -> None:
    try:
        _, key = split(uri)
    except ValueError as error:
        raise _invalid(f"{field}: {error}") from None
    if not key.endswith(endings):
        raise _invalid(f"{field} must end with {' or '.join(endings)}, not be {uri}")


def _refuse_unsupported(request: dict[str, Any], supported: set[str]) -> None:
    asked = sorted(name for name, value in request.items() if value and name not in supported)
    if asked:
        raise _invalid(f"{', '.join(asked)}: not supported by the local stack")


def _invalid(message: str) -> InvalidInputException:
    return InvalidInputException("", message)
