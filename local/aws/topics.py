"""SNS: moto's topics, whose messages reach queues, functions and web servers, or are missed loudly."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from moto.core.utils import iso_8601_datetime_with_milliseconds
from moto.sns import models
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend, Subscription

from local.aws import destinations, lambdas, plugging
from local.aws.destinations import DeliveryError
from local.aws.timetable import timetable

log = logging.getLogger(__name__)

PROTOCOLS = ("sqs", "lambda", "http", "https")
SUBSCRIPTIONS = 100
HTTP_SECONDS = 15
HTTP_RETRY_SECONDS = (1.0, 2.0)
"""Before the second and the third attempt. AWS tries for an hour."""
_THREADS = 4

_executor: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def plug() -> None:
    """Let this module answer SNS."""
    models.Subscription = LocalSubscription  # type: ignore[misc]
    plugging.plug(LocalSNSBackend)


def stop() -> None:
    """Forget what waits for a web server."""
    global _executor
    with _lock:
        executor, _executor = _executor, None
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)


class LocalSNSBackend(plugging.Plugged, SNSBackend):
    """moto's topics, with the subscriptions that something is delivered to."""

    service = "sns"

    def subscribe(self, topic_arn: str, endpoint: str, protocol: str) -> Subscription:
        """Subscribe a queue, a function or a web server; it counts as confirmed."""
        if protocol not in PROTOCOLS:
            raise SNSInvalidParameter(
                f"Invalid parameter: Protocol {protocol}: the local SNS delivers to {', '.join(PROTOCOLS)}"
            )
        if protocol in ("sqs", "lambda") and destinations.kind(endpoint) != protocol:
            raise SNSInvalidParameter(f"Invalid parameter: Endpoint {endpoint}: it must be an ARN of {protocol}")
        if len(self._get_topic_subscriptions(self.get_topic(topic_arn))) >= SUBSCRIPTIONS:
            raise SNSInvalidParameter(f"Invalid parameter: the local SNS has {SUBSCRIPTIONS} subscriptions of a topic")
        return super().subscribe(topic_arn, endpoint, protocol)

    def publish(  # type: ignore[override]
        self, message: str, arn: str | None, phone_number: str | None = None, **kwargs: Any
    ) -> str:
        """Publish to a topic."""
        if phone_number:
            raise SNSInvalidParameter("Invalid parameter: PhoneNumber: the local SNS sends no text messages")
        return super().publish(message, arn, **kwargs)


class LocalSubscription(Subscription):
    """A subscription that never keeps a message from the others of its topic."""

    def publish(
        self,
        message: str,
        message_id: str,
        subject: str | None = None,
        message_attributes: dict[str, Any] | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        message_structure: str | None = None,
    ) -> None:
        """Deliver a message if the filter policy lets it pass."""
        matcher = self._filter_policy_matcher
        if matcher is not None and not matcher.matches(message_attributes, message):
            return
        if message_structure == "json":
            message = self._parse_message_structure(message, self.protocol)
        attributes = message_attributes or {}
        envelope = self.get_post_data(message, message_id, subject, message_attributes=attributes)
        raw = str(self.attributes.get("RawMessageDelivery")).lower() == "true"
        body = message if raw else json.dumps(envelope)
        sqs_attributes = _sqs_attributes(attributes) if raw else {}
        try:
            match self.protocol:
                case "sqs":
                    destinations.deliver(self.endpoint, body, group_id, sqs_attributes)
                case "lambda":
                    self._invoke(envelope)
                case _:
                    self._post(body, message_id, raw)
        except DeliveryError as error:
            self._give_up(error, body, sqs_attributes)

    def _invoke(self, envelope: dict[str, Any]) -> None:
        if reason := destinations.missing(self.endpoint):
            raise DeliveryError(reason)
        if not lambdas.permits(self.endpoint, "sns.amazonaws.com", self.topic.arn):
            raise DeliveryError(
                f"{self.endpoint} does not let {self.topic.arn} invoke it: AddPermission with Principal "
                "sns.amazonaws.com is missing"
            )
        renamed = {"SigningCertURL": "SigningCertUrl", "UnsubscribeURL": "UnsubscribeUrl"}
        told = {"Subject": None, "MessageAttributes": {}, **envelope}
        record = {
            "EventVersion": "1.0",
            "EventSubscriptionArn": self.arn,
            "EventSource": "aws:sns",
            "Sns": {renamed.get(field, field): value for field, value in told.items()},
        }
        destinations.deliver(self.endpoint, json.dumps({"Records": [record]}))

    def _post(self, body: str, message_id: str, raw: bool, attempt: int = 0) -> None:
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": message_id,
            "x-amz-sns-topic-arn": self.topic.arn,
            "x-amz-sns-subscription-arn": self.arn,
            **({"x-amz-sns-rawdelivery": "true"} if raw else {}),
        }

        def post() -> None:
            try:
                answer = requests.post(self.endpoint, body.encode(), headers=headers, timeout=HTTP_SECONDS)
                answer.raise_for_status()
            except requests.RequestException as error:
                if attempt < len(HTTP_RETRY_SECONDS):
                    timetable.after(HTTP_RETRY_SECONDS[attempt], lambda: self._post(body, message_id, raw, attempt + 1))
                else:
                    self._give_up(error, body, {})

        global _executor
        with _lock:
            _executor = _executor or ThreadPoolExecutor(_THREADS, thread_name_prefix="sns")
            _executor.submit(post)

    def _give_up(self, error: Exception, body: str, attributes: dict[str, Any]) -> None:
        policy = self.attributes.get("RedrivePolicy")
        dead_letters = json.loads(policy).get("deadLetterTargetArn") if policy else None
        what = f"A message of {self.topic.arn} of {iso_8601_datetime_with_milliseconds()} for {self.endpoint}"
        destinations.give_up(what, error, dead_letters, body, attributes=attributes)


def _sqs_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a message as SQS has them."""
    return {
        name: {
            "DataType": value["Type"],
            **(
                {"BinaryValue": value["Value"]}
                if value["Type"].startswith("Binary")
                else {"StringValue": str(value["Value"])}
            ),
        }
        for name, value in attributes.items()
    }
