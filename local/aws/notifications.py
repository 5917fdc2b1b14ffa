"""What S3 checks before it agrees to notify somebody: that the queue or topic is there, and lets this bucket send."""

from collections.abc import Iterator
from typing import Any

from moto.s3.exceptions import S3ClientError
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.aws.policies import allows
from local.aws.settings import ACCOUNT

_SEND = {"Queue": "sqs:SendMessage", "Topic": "sns:Publish"}


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
            source = f"arn:aws:s3:::{bucket}"
            if not any(allows(policy, "s3.amazonaws.com", action, arn, source) for policy in _policies(arn)):
                raise UnwillingDestinationError(
                    "Unable to validate the following destination configurations: "
                    f"{arn} does not exist, or its policy does not let {bucket} do {action}"
                )


def _policies(arn: str) -> Iterator[str]:
    region = arn.split(":")[3]
    queues = sqs_backends[ACCOUNT][region].queues.values()
    yield from filter(None, (queue.policy for queue in queues if queue.queue_arn == arn))
    topics = sns_backends[ACCOUNT][region].topics
    if arn in topics:
        yield topics[arn].policy
