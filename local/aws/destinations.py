"""Where Lambda, SNS and EventBridge send things: queues, topics, functions and buckets of this stack."""

import json
import logging
from typing import Any

from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.aws import s3
from local.aws.settings import ACCOUNT

log = logging.getLogger(__name__)


class DeliveryError(RuntimeError):
    """Something could not be delivered; the message names the destination and the reason."""


def kind(arn: str) -> str:
    """The service of an ARN: ``sqs``, ``sns``, ``lambda``, ``s3`` …; empty when it is none."""
    parts = arn.split(":", 5)
    return parts[2] if len(parts) == 6 and parts[0] == "arn" else ""


def missing(arn: str) -> str | None:
    """Why nothing can be delivered to an ARN, or ``None`` when it can."""
    service, region, name = kind(arn), arn.split(":")[3] if kind(arn) else "", arn.rsplit(":", 1)[-1]
    if service == "sqs":
        found = name in sqs_backends[ACCOUNT][region].queues
    elif service == "sns":
        found = arn in sns_backends[ACCOUNT][region].topics
    elif service == "s3":
        found = s3.path(name.partition("/")[0]).is_dir()
    elif service == "lambda":
        from local.aws import lambdas  # late: functions have destinations themselves

        found = lambdas.exists(arn)
    else:
        return f"{arn}: the local stack delivers to SQS, SNS, Lambda and S3 only"
    return None if found else f"{arn} does not exist"


def deliver(arn: str, document: str, group: str | None = None, attributes: dict[str, Any] | None = None) -> None:
    """Send a document to a queue, topic or function.

    Args:
        arn: Of the destination.
        document: The message, or the event as JSON.
        group: The message group of a FIFO queue.
        attributes: Message attributes, as SQS and SNS of moto take them.

    Raises:
        DeliveryError: It is not there, or refused.
    """
    if reason := missing(arn):
        raise DeliveryError(reason)
    region, name = arn.split(":")[3], arn.rsplit(":", 1)[-1]
    try:
        match kind(arn):
            case "sqs":
                sqs_backends[ACCOUNT][region].send_message(
                    name, document, message_attributes=attributes, group_id=group
                )
            case "sns":
                sns_backends[ACCOUNT][region].publish(document, arn, message_attributes=attributes)
            case "lambda":
                from local.aws import lambda_queue

                lambda_queue.invoke_later(arn, json.loads(document))
            case _:
                raise DeliveryError(f"{arn}: a message can't be delivered to a bucket")
    except DeliveryError:
        raise
    except Exception as error:
        raise DeliveryError(f"{arn} refused: {error}") from error


def give_up(what: str, error: Exception, dead_letters: str | None, document: str, **message: Any) -> None:
    """Say that something was not delivered, and keep it where its owner wanted it kept.

    Args:
        what: What was to be delivered.
        error: Why it was not.
        dead_letters: ARN of the queue for such things, if there is one.
        document: The thing.
        **message: As for :func:`deliver`.
    """
    if dead_letters:
        try:
            deliver(dead_letters, document, **message)
        except DeliveryError as second:
            log.error("%s was lost: %s; dead letters: %s", what, error, second)
        else:
            log.warning("%s went to the dead letters %s: %s", what, dead_letters, error)
    else:
        log.error("%s was lost: %s", what, error)
