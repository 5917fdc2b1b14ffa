"""Reading an SQS queue for a Lambda function: one thread receives, a few run batches."""

import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from moto.core.utils import unix_time_millis
from moto.sqs.exceptions import QueueDoesNotExist, ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, sqs_backends

from local.aws.event_patterns import Matcher
from local.aws.event_source_batches import call, failed_items
from local.aws.settings import ACCOUNT, REGION

log = logging.getLogger(__name__)

CONCURRENCY = 4
"""Batches at a time of a mapping without MaximumConcurrency."""


@dataclass(frozen=True)
class Receiving:
    """What to receive for whom, and how.

    Attributes:
        queue_arn: ARN of the queue.
        function: Name of the function.
        batch_size: Messages of a batch at most.
        window: Seconds to wait for a full batch.
        concurrency: Batches at a time.
        partial: The function reports which messages failed.
        filters: Only messages that match one are delivered, the others are deleted; all are when there is none.
    """

    queue_arn: str
    function: str
    batch_size: int
    window: float
    concurrency: int
    partial: bool
    filters: tuple[Matcher, ...]


def queue_of(arn: str) -> Queue | None:
    """The queue of an ARN, if it is there."""
    return sqs_backends[ACCOUNT][REGION].queues.get(arn.rsplit(":", 1)[-1])


class QueueReader:
    """Receives from a queue until it is stopped.

    Messages of a batch that failed stay invisible until their visibility timeout ends, and then come again; the queue's
    redrive policy says how often.

    Args:
        receiving: What and how.
        previous: Waits until whoever received before has ended.
    """

    def __init__(self, receiving: Receiving, previous: Callable[[], None] = lambda: None) -> None:
        self._receiving = receiving
        self._previous = previous
        queue = queue_of(receiving.queue_arn)
        if queue is None:
            raise QueueDoesNotExist
        self._queue = queue
        self._stopping = threading.Event()
        self._free = threading.Semaphore(receiving.concurrency)
        self._thread = threading.Thread(target=self._run, name=f"mapping-{receiving.function}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Receive nothing any more. Does not wait for the batches that are at work."""
        self._stopping.set()
        self._free.release()
        with self._queue._messages_lock:
            self._queue._messages_lock.notify_all()

    def join(self) -> None:
        """Wait until nothing is at work any more."""
        self._thread.join()

    def forget(self) -> None:
        """Stop for good: a queue keeps no positions."""
        self.stop()

    def _run(self) -> None:
        self._previous()
        name = self._thread.name
        with ThreadPoolExecutor(self._receiving.concurrency, thread_name_prefix=name) as executor:
            while not self._stopping.is_set():
                self._free.acquire()
                if self._stopping.is_set():
                    return
                try:
                    batch = self._collect()
                except QueueDoesNotExist:
                    log.warning(
                        "The mapping of %s ends: its queue %s is gone", self._receiving.function, self._queue.name
                    )
                    return
                if batch:
                    executor.submit(self._process, batch)
                else:
                    self._free.release()

    def _collect(self) -> list[Message]:
        """The next messages, waiting for the first of them, and for a full batch while the window is open."""
        batch: list[Message] = []
        closes: float | None = None
        with self._queue._messages_lock:
            while not self._stopping.is_set():
                batch += self._receive(self._receiving.batch_size - len(batch))
                if batch and (len(batch) >= self._receiving.batch_size or not self._receiving.window):
                    break
                wait = self._next_visible()
                if batch:
                    closes = closes or time.monotonic() + self._receiving.window
                    remaining = closes - time.monotonic()
                    if remaining <= 0:
                        break
                    wait = remaining if wait is None else min(wait, remaining)
                self._queue._messages_lock.wait(wait)
        return batch

    def _receive(self, count: int) -> list[Message]:
        backend = sqs_backends[ACCOUNT][REGION]
        if backend.queues.get(self._queue.name) is not self._queue:
            raise QueueDoesNotExist
        visibility = int(self._queue.visibility_timeout)  # type: ignore[attr-defined]
        return backend.receive_message(self._queue.name, count, 0, visibility, ["All"])

    def _next_visible(self) -> float | None:
        """Seconds until a message of the queue shows up by itself; ``None`` when none will."""
        times = [max(message.visible_at, message.delayed_until) for message in self._queue._messages]
        return max(0.001, (min(times) - unix_time_millis()) / 1000) if times else None

    def _process(self, batch: list[Message]) -> None:
        try:
            wanted = [message for message in batch if self._is_wanted(message)]
            failed: set[str] = set()
            if wanted:
                event = {"Records": [self._record(message) for message in wanted]}
                ended = call(self._receiving.function, event, lambda seconds: not self._stopping.wait(seconds))
                identifiers = [message.id for message in wanted]
                if ended is None or ended.error is not None:
                    failed = set(identifiers)
                elif self._receiving.partial:
                    failed = failed_items(ended, identifiers)
            for message in batch:
                if message.id not in failed:
                    self._delete(message)
        except Exception:
            log.exception("The mapping of %s: a batch of %s comes again", self._receiving.function, self._queue.name)
        finally:
            self._free.release()

    def _delete(self, message: Message) -> None:
        try:
            sqs_backends[ACCOUNT][REGION].delete_message(self._queue.name, str(message.receipt_handle))
        except (ReceiptHandleIsInvalid, QueueDoesNotExist):
            log.warning("A message of %s was gone before it could be deleted: %s", self._queue.name, message.id)

    def _is_wanted(self, message: Message) -> bool:
        if not self._receiving.filters:
            return True
        record = self._record(message)
        with contextlib.suppress(ValueError):  # then its text is what a filter sees
            record["body"] = json.loads(record["body"])
        return any(matches(record) for matches in self._receiving.filters)

    def _record(self, message: Message) -> dict[str, Any]:
        return {
            "messageId": message.id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.approximate_receive_count),
                "SentTimestamp": str(int(message.sent_timestamp or 0)),
                "SenderId": message.sender_id,
                "ApproximateFirstReceiveTimestamp": str(int(message.approximate_first_receive_timestamp or 0)),
            },
            "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
            "md5OfBody": message.body_md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": self._receiving.queue_arn,
            "awsRegion": REGION,
        }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    kind = value["DataType"]
    if kind.startswith("Binary"):
        binary = value["BinaryValue"]
        content = {"binaryValue": base64.b64encode(binary).decode() if isinstance(binary, bytes) else binary}
    else:
        content = {"stringValue": value["StringValue"]}
    return {**content, "stringListValues": [], "binaryListValues": [], "dataType": kind}
