"""PutRecords: in batches as large as Kinesis takes, and again for what it did not take, and only that."""

import random
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from local.producer.injection import Emission

BATCH_RECORDS = 500
BATCH_BYTES = 5 << 20
RECORD_BYTES = 1 << 20
ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 3.0

_PASSING = {
    "InternalFailure",
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ServiceUnavailable",
    "ThrottlingException",
}


class DeliveryError(RuntimeError):
    """A stream doesn't take the records; the message says why."""


class Batches:
    """Emissions by the batch.

    Args:
        emissions: In the order of sending.
    """

    def __init__(self, emissions: Iterator[Emission]) -> None:
        self._emissions = emissions

    def take(self, records: int) -> list[Emission]:
        """The next ones; none at the end.

        Args:
            records: At most so many, and never more than one request may have.

        Raises:
            DeliveryError: one alone is too large.
        """
        batch: list[Emission] = []
        size = 0
        for emission in islice(self._emissions, min(records, BATCH_RECORDS)):
            length = len(emission.data) + len(emission.key.encode())
            if length > RECORD_BYTES:
                raise DeliveryError(
                    f"record {emission.place.number} has {length:,} bytes with its key, "
                    f"a stream takes {RECORD_BYTES:,}: shorten it"
                )
            if size + length > BATCH_BYTES:
                self._emissions = chain([emission], self._emissions)
                break
            batch.append(emission)
            size += length
        return batch


class Delivery:
    """A stream that is written to.

    Args:
        kinesis: A boto3 client that doesn't retry by itself.
        stream: Its name.
        sleep: Waits.
    """

    def __init__(self, kinesis: Any, stream: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._kinesis, self._stream, self._sleep = kinesis, stream, sleep
        self.requests = self.retried = 0

    def check(self) -> None:
        """Makes sure that the stream is there.

        Raises:
            DeliveryError: it isn't, or nobody answers.
        """
        try:
            self._kinesis.describe_stream_summary(StreamName=self._stream)
        except (ClientError, ConnectionError, HTTPClientError) as error:
            raise self._refused(error) from error

    def put(self, batch: list[Emission]) -> None:
        """Sends a batch until the stream has acknowledged every record of it.

        Raises:
            DeliveryError: it doesn't.
        """
        pending = [{"Data": emission.data, "PartitionKey": emission.key} for emission in batch]
        for attempt in range(ATTEMPTS):
            pending, reason = self._attempt(pending)
            if not pending:
                return
            self.retried += len(pending)
            self._sleep(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1))
        raise DeliveryError(
            f"{self._stream} did not take {len(pending)} records in {ATTEMPTS} attempts ({reason}): "
            "add shards, or lower --rate; --resume goes on from here"
        )

    def _attempt(self, records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        """What the stream did not take, and why."""
        self.requests += 1
        try:
            answer = self._kinesis.put_records(StreamName=self._stream, Records=records)
        except (ConnectionError, HTTPClientError) as error:
            return records, str(error)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _PASSING:
                raise self._refused(error) from error
            return records, str(error)
        failed = [
            (record, f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}")
            for record, result in zip(records, answer["Records"], strict=True)
            if result.get("ErrorCode")
        ]
        return [record for record, _ in failed], failed[-1][1] if failed else ""

    def _refused(self, error: Exception) -> DeliveryError:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
            streams = self._kinesis.list_streams()["StreamNames"]
            there = f"there are {', '.join(streams)}" if streams else "there is none at all"
            return DeliveryError(f"there is no stream {self._stream} at {self._kinesis.meta.endpoint_url}: {there}")
        return DeliveryError(f"{self._stream} at {self._kinesis.meta.endpoint_url}: {error}")
