"""Secrets of a container, read from the local Secrets Manager and Parameter Store as the ECS agent would."""

import json
from collections.abc import Iterable, Mapping

from botocore.exceptions import ClientError

from local.aws.settings import client


class SecretError(RuntimeError):
    """A secret that a job definition names cannot be read."""


def resolve(secrets: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Read the secrets of a job definition.

    Args:
        secrets: ``name`` of the environment variable and ``valueFrom``: the ARN of a Secrets Manager secret, optionally
            followed by ``:json-key:version-stage:version-id``, or the ARN or name of an SSM parameter.

    Returns:
        Values by variable name.

    Raises:
        SecretError: One does not exist or has no such key.
    """
    return {secret["name"]: _resolve(secret["name"], secret["valueFrom"]) for secret in secrets}


def _resolve(name: str, source: str) -> str:
    try:
        return _secret(source) if ":secretsmanager:" in source else _parameter(source)
    except (ClientError, KeyError, json.JSONDecodeError) as error:
        detail = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise SecretError(f"secret {name} from {source}: {detail}") from error


def _secret(source: str) -> str:
    parts = source.split(":")
    key, stage, version = [*parts[7:], "", "", ""][:3]
    chosen = {"VersionStage": stage, "VersionId": version}
    value = client("secretsmanager").get_secret_value(
        SecretId=":".join(parts[:7]), **{field: value for field, value in chosen.items() if value}
    )["SecretString"]
    return str(json.loads(value)[key]) if key else value


def _parameter(source: str) -> str:
    # The ARNs of the parameters "name" and "/name" are the same.
    path = source.split(":parameter", 1)[-1]
    names = {source} if path == source else {path, path.removeprefix("/")}
    found = client("ssm").get_parameters(Names=sorted(names), WithDecryption=True)["Parameters"]
    if not found:
        raise SecretError(f"there is no SSM parameter {source}")
    return found[0]["Value"]
