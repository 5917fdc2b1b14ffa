"""What a resource's policy lets an AWS service do, of the forms that deployments use."""

import json
from fnmatch import fnmatchcase
from typing import Any

from local.aws.settings import ACCOUNT

_LIKE = {"ArnEquals", "ArnLike", "StringLike"}


def allows(policy: str | list[dict[str, Any]], service: str, action: str, resource: str, source: str) -> bool:
    """Whether a policy lets a service act for a resource of this account. Statements that deny are not looked at.

    Args:
        policy: The policy as JSON, or its statements.
        service: Who wants to act, e.g. ``s3.amazonaws.com``.
        action: What, e.g. ``sqs:SendMessage``.
        resource: On what: the ARN that the policy belongs to.
        source: For what: the ARN of the bucket, topic or rule.
    """
    statements = json.loads(policy)["Statement"] if isinstance(policy, str) else policy
    return any(_allows(statement, service, action, resource, source) for statement in _list(statements))


def _allows(statement: dict[str, Any], service: str, action: str, resource: str, source: str) -> bool:
    request = {"aws:sourcearn": source, "aws:sourceaccount": ACCOUNT}
    return (
        statement["Effect"] == "Allow"
        and statement.get("Principal") in ("*", {"AWS": "*"}, {"Service": service})
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _list(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"]))
        and all(
            any(_holds(operator, request.get(key.lower()), wanted) for wanted in _list(values))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, values in conditions.items()
        )
    )


def _holds(operator: str, value: str | None, wanted: str) -> bool:
    if value is None:
        return False
    return fnmatchcase(value, wanted) if operator in _LIKE else operator == "StringEquals" and value == wanted


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
