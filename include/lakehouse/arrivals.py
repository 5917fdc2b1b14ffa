"""Files that arrive: S3 tells a queue of each, and an asset's watcher turns what the queue holds into events.

Airflow's triggerer runs this. It deletes a message only when the event made of it is in Airflow's database; a message
that was not deleted comes back, so an arrival may be told twice but is never lost.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_plus

from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer
from botocore.exceptions import BotoCoreError, ClientError

log = logging.getLogger(__name__)

Message = dict[str, Any]

POLL_SECONDS = 20  # the longest that SQS waits for a message
RETRY_SECONDS = 30
BATCH = 10  # the most messages that SQS gives, or deletes, at once
# A delivery without end is told in parts: one event's keys go into one row of Airflow's database, and what was received
# first must be deleted before the queue's visibility timeout shows it again.
MOST_MESSAGES = 1000
LONGEST_SECONDS = 60


class FileArrivals(BaseEventTrigger):
    """Fires once for the files that arrive together, with ``{"keys": [...]}``, sorted.

    Args:
        queue: name of the SQS queue that S3 notifies; its address is asked for when the trigger runs.
        quiet_seconds: files belong together as long as no more of this time passes between them (1 to 20).
        aws_conn_id: the connection to AWS.

    Raises:
        ValueError: `quiet_seconds` is out of range.
    """

    def __init__(self, queue: str, quiet_seconds: int = 5, aws_conn_id: str = "aws_default") -> None:
        super().__init__()
        if not 1 <= quiet_seconds <= POLL_SECONDS:
            raise ValueError(f"quiet_seconds is {quiet_seconds}: it must be from 1 to {POLL_SECONDS}")
        self.queue = queue
        self.quiet_seconds = quiet_seconds
        self.aws_conn_id = aws_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, from which the triggerer makes this again."""
        arguments = {"queue": self.queue, "quiet_seconds": self.quiet_seconds, "aws_conn_id": self.aws_conn_id}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    def shared_stream_key(self) -> tuple[str, ...]:
        """Which triggers receive together: one queue gives each message to one receiver only."""
        return ("sqs", self.aws_conn_id, self.queue)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> "Arrivals":
        """What receives, and deletes when Airflow has stored the event."""
        return Arrivals(**kwargs)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[list[str]]) -> AsyncIterator[TriggerEvent]:
        """An event for each delivery that has files."""
        async for keys in shared_stream:
            if keys:
                yield TriggerEvent({"keys": keys})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same outside a triggerer: messages are deleted when the next event is asked for."""
        arrivals = Arrivals(self.queue, self.quiet_seconds, self.aws_conn_id)
        async for keys, messages in arrivals.open_stream():
            if keys:
                yield TriggerEvent({"keys": keys})
            await arrivals.delete(messages)


class Arrivals(SharedStreamProducer):
    """The queue's messages as deliveries; arguments as :class:`FileArrivals`."""

    def __init__(self, queue: str, quiet_seconds: int, aws_conn_id: str) -> None:
        self._queue = queue
        self._quiet_seconds = quiet_seconds
        self._hook = SqsHook(aws_conn_id=aws_conn_id)

    async def open_stream(self) -> AsyncIterator[tuple[list[str], list[Message]]]:
        """Keys of the files that arrived together, and the messages to delete afterwards; without end.

        A queue that is missing or out of reach is tried again: a trigger that fails is started anew at once, for ever.
        """
        while True:
            try:
                async with await self._hook.get_async_conn() as sqs:
                    url = (await sqs.get_queue_url(QueueName=self._queue))["QueueUrl"]
                    while True:
                        if messages := await self._delivery(sqs, url):
                            yield keys_of(messages), messages
            except (BotoCoreError, ClientError) as error:
                log.warning("The queue %s was not read, next try in %s s: %s", self._queue, RETRY_SECONDS, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _delivery(self, sqs: Any, url: str) -> list[Message]:
        """All messages until none came for the quiet time; empty when none was there at all."""
        clock = asyncio.get_running_loop().time
        messages = more = await self._receive(sqs, url, POLL_SECONDS)
        end = clock() + LONGEST_SECONDS
        while more and len(messages) < MOST_MESSAGES and clock() < end:
            more = await self._receive(sqs, url, self._quiet_seconds)
            messages = messages + more
        return messages

    @staticmethod
    async def _receive(sqs: Any, url: str, seconds: int) -> list[Message]:
        received = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds)
        return received.get("Messages", [])

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Delete the messages of deliveries whose event is stored; the others come back by themselves."""
        await self.delete([message for item in batch if item.outcome.is_clean for message in item.broker_payload])

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages from the queue."""
        async with await self._hook.get_async_conn() as sqs:
            url = (await sqs.get_queue_url(QueueName=self._queue))["QueueUrl"]
            for start in range(0, len(messages), BATCH):
                entries = [
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                    for index, message in enumerate(messages[start : start + BATCH])
                ]
                answer = await sqs.delete_message_batch(QueueUrl=url, Entries=entries)
                for failed in answer.get("Failed", []):
                    log.warning("A message of %s was not deleted and comes back: %s", self._queue, failed)


def keys_of(messages: Iterable[Message]) -> list[str]:
    """The files that messages of S3 tell of, sorted, each once; S3's test messages and foreign ones tell of none."""
    keys: set[str] = set()
    for message in messages:
        try:
            records = json.loads(message["Body"]).get("Records", [])
            # S3 writes a key as a form does: a space is a plus.
            keys |= {unquote_plus(record["s3"]["object"]["key"]) for record in records}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("Not a message of S3, left out: %.500s", message["Body"])
    return sorted(key for key in keys if not key.endswith("/"))  # by such a key, consoles mark a folder
