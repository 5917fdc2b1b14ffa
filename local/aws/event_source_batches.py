"""What becomes of a batch of records: tried again, cut in two, given up, but never passed over."""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from local.aws import lambdas
from local.aws.lambda_workers import Ended, ThrottledError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0

type Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]


class Record(Protocol):
    """What a batch consists of."""

    @property
    def sequence_number(self) -> str:
        """What the function reports a failure of the record by."""

    @property
    def arrival(self) -> float:
        """Seconds since the epoch."""


@dataclass(frozen=True)
class Rules:
    """What a mapping wants done about failures.

    Attributes:
        bisect: Cut a failed batch in two.
        retries: How often a failed batch is tried again; -1 is for ever.
        max_age: Seconds after its arrival that a record is given up; -1 is never.
        partial: The function reports which records failed.
    """

    bisect: bool = False
    retries: int = -1
    max_age: float = -1
    partial: bool = False


@dataclass(frozen=True)
class GivenUp:
    """Records that the function did not get done.

    Attributes:
        records: In order.
        condition: Why they were given up.
        attempts: How often they were tried.
        ended: The last invocation; none was made when they were too old at once.
    """

    records: Sequence[Any]
    condition: Condition
    attempts: int
    ended: Ended | None


def call(function: str, event: dict[str, Any], pause: Callable[[float], bool]) -> Ended | None:
    """Run a function, however long it has no worker or is not there.

    Args:
        function: Its name.
        event: The event.
        pause: Waits for some seconds; false when everything shall stop.

    Returns:
        How it ended, or ``None`` when everything shall stop.
    """
    payload = json.dumps(event).encode()
    seconds = FIRST_PAUSE_SECONDS
    if not pause(0):
        return None
    while True:
        try:
            return lambdas.run(function, payload)
        except (lambdas.UnknownFunctionError, ThrottledError) as error:
            if seconds == FIRST_PAUSE_SECONDS:
                log.error("An event-source mapping waits: %s", error)
        if not pause(seconds):
            return None
        seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)


def failed_items(ended: Ended, known: Sequence[str]) -> set[str]:
    """The identifiers that the answer of a function reports as failed (ReportBatchItemFailures).

    An answer that makes no sense means that all failed: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html

    Args:
        ended: An invocation that had no error.
        known: The identifiers of the batch.
    """
    try:
        answer = json.loads(ended.payload or b"null")
        if not answer or not (failures := answer.get("batchItemFailures")):
            return set()
        reported = {failure["itemIdentifier"] for failure in failures}
    except (ValueError, AttributeError, KeyError, TypeError):
        return set(known)
    return reported if reported <= set(known) else set(known)


class Batches[R: Record]:
    """Gets batches done, in order.

    Args:
        rules: About failures.
        invoke: Run the function on records; ``None`` when everything shall stop.
        give_up: Tell somebody about records that are given up. Must succeed, or wait until everything shall stop and
            return false.
        done: The records up to this one are dealt with.
        pause: Wait for some seconds; false when everything shall stop.
    """

    def __init__(
        self,
        rules: Rules,
        invoke: Callable[[Sequence[R]], Ended | None],
        give_up: Callable[[GivenUp], bool],
        done: Callable[[R], None],
        pause: Callable[[float], bool],
    ) -> None:
        self._rules = rules
        self._invoke = invoke
        self._give_up = give_up
        self._done = done
        self._pause = pause

    def process(self, records: Sequence[R]) -> bool:
        """Deal with a batch.

        Returns:
            Whether it is done; else everything shall stop.
        """
        waiting: deque[tuple[Sequence[R], int]] = deque([(records, 0)])
        ended: Ended | None = None
        while waiting:
            batch, attempts = waiting.popleft()
            expired = self._expired(batch)
            if expired:
                if not self._finish(GivenUp(batch[:expired], "RecordAgeExceeded", attempts, ended)):
                    return False
                batch = batch[expired:]
                if not batch:
                    continue
            ended = self._invoke(batch)
            if ended is None:
                return False
            failed = self._first_failure(batch, ended)
            if failed:
                self._done(batch[failed - 1])
            if failed == len(batch):
                continue
            rest = batch[failed:]
            if self._rules.bisect and len(batch) > 1:  # which does not count as a retry
                middle = len(rest) // 2
                parts = [rest] if failed else [rest[middle:], rest[:middle]]
                waiting.extendleft((part, attempts) for part in parts)
                continue
            attempts = 1 if failed else attempts + 1
            if 0 <= self._rules.retries < attempts:
                if not self._finish(GivenUp(rest, "RetryAttemptsExhausted", attempts, ended)):
                    return False
                continue
            if not self._pause(min(FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 16), LONGEST_PAUSE_SECONDS)):
                return False
            waiting.appendleft((rest, attempts))
        return True

    def _finish(self, given_up: GivenUp) -> bool:
        if not self._give_up(given_up):
            return False
        self._done(given_up.records[-1])
        return True

    def _expired(self, batch: Sequence[R]) -> int:
        """How many of the first records are too old."""
        if self._rules.max_age < 0:
            return 0
        oldest = time.time() - self._rules.max_age
        return next((place for place, record in enumerate(batch) if record.arrival >= oldest), len(batch))

    def _first_failure(self, batch: Sequence[R], ended: Ended) -> int:
        """Place of the first record that failed; the batch's length when none did."""
        if ended.error is not None:
            return 0
        if not self._rules.partial:
            return len(batch)
        failed = failed_items(ended, [record.sequence_number for record in batch])
        return next((place for place, record in enumerate(batch) if record.sequence_number in failed), len(batch))
