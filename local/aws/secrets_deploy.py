"""CloudFormation's ``AWS::SecretsManager::Secret`` through Secrets Manager's API.

moto keeps secrets in memory, but what was made with one, such as pseudonyms in the lake, outlives the process. So a
generated secret is kept in the state, readable for its owner alone, and is the same again after a restart.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.aws.settings import client, current

_FLAGS = (
    *(f"Exclude{kind}" for kind in ("Numbers", "Punctuation", "Uppercase", "Lowercase")),
    "IncludeSpace",
    "RequireEachIncludedType",
)
_GENERATED: dict[str, Callable[[Any], Any]] = {
    "PasswordLength": int,
    "ExcludeCharacters": str,
    **dict.fromkeys(_FLAGS, lambda value: str(value).lower() == "true"),
}


def create(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Create a secret, with the generated value of an earlier run if there is one.

    Args:
        name: Of the secret.
        properties: As the template has them.

    Returns:
        The physical id, which is the ARN, and the attributes of ``Fn::GetAtt``.

    Raises:
        ClientError: Secrets Manager refuses a property.
        KeyError: A generated string is to have what is not done here.
    """
    manager = client("secretsmanager")
    request = {part: value for part, value in properties.items() if part not in ("Name", "GenerateSecretString")}
    if "GenerateSecretString" in properties:
        wanted = properties["GenerateSecretString"]
        request["SecretString"] = _kept(name, {part: _GENERATED[part](value) for part, value in wanted.items()})
    arn = manager.create_secret(Name=name, **request)["ARN"]
    return arn, {"Id": arn}


def remove(arn: str) -> None:
    """Delete a secret at once; what was generated for it stays in the state, as the lake does."""
    client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def _kept(name: str, wanted: dict[str, Any]) -> str:
    file: Path = current().state / "secrets" / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        made = client("secretsmanager").get_random_password(**wanted)["RandomPassword"]
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
            target.write(made)
    return file.read_text()
