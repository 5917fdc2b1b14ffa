"""What S3 checks before it agrees to notify somebody: that the queue or topic is there, and lets this bucket send."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from moto.s3.exceptions import S3ClientError
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.aws.settings import ACCOUNT

_SEND = {"Queue": "sqs:SendMessage", "Topic": "sns:Publish"}
_PRINCIPALS: tuple[Any, ...] = ("*", {"AWS": "*"}, {"Service": "s3.amazonaws.com"})
_LIKE = {"ArnEquals", "ArnLike", "StringLike"}


class UnwillingDestinationError(S3ClientError):
    """S3 could not send there."""

    code = "InvalidArgument"


def check(bucket: str, configuration: dict[str, Any]) -> None:
    """Refuse notifications that would never arrive.

    Args:
        bucket: Name of the bucket that would notify.
        configuration: As moto parses it.

    Raises:
        UnwillingDestinationError: A queue or topic isn't there, or its policy has no statement that lets S3 send for
            this bucket. Statements that deny are not looked at.
    """
    for kind, action in _SEND.items():
        for target in configuration.get(f"{kind}Configuration", []):
            arn = target[kind]
            if not any(_allows(statement, action, arn, bucket) for statement in _statements(arn)):
                raise UnwillingDestinationError(
                    "Unable to validate the following destination configurations: "
                    f"{arn} does not exist, or its policy does not let {bucket} do {action}"
                )


def _statements(arn: str) -> Iterator[dict[str, Any]]:
    region = arn.split(":")[3]
    queues = sqs_backends[ACCOUNT][region].queues.values()
    policies = [queue.policy for queue in queues if queue.queue_arn == arn]
    topics = sns_backends[ACCOUNT][region].topics
    policies += [topics[arn].policy] if arn in topics else []
    for policy in filter(None, policies):
        yield from _list(json.loads(policy)["Statement"])


def _allows(statement: dict[str, Any], action: str, arn: str, bucket: str) -> bool:
    request = {"aws:sourcearn": f"arn:aws:s3:::{bucket}", "aws:sourceaccount": ACCOUNT}
    return (
        statement["Effect"] == "Allow"
        and statement.get("Principal") in _PRINCIPALS
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _list(statement["Action"]))
        and any(fnmatchcase(arn, pattern) for pattern in _list(statement["Resource"]))
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
