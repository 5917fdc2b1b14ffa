"""Items of a DynamoDB table that several workers change at once: read, merged, and put if nobody was faster.

A change is a function from the item that is stored to the one that shall be, or to None when the stored one is right
already. It may be asked several times, each time with what another worker has put meanwhile. So no write is lost, and a
change that is applied again, because nobody knows whether it was, changes nothing.

Every item has a `version`, the number of its puts, on which the next put depends.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

T = TypeVar("T")

Item = dict[str, dict[str, Any]]
"""Attributes as DynamoDB has them: names to types to values."""
Place = tuple[str, str]
"""HASH and RANGE of an item, both text."""
Change = Callable[[Item | None], Item | None]

READS = 100
"""Items of a request to read."""
WRITES = 50
"""Items of a transaction. All or none of them are written, so after a conflict the next ones are smaller."""
WRITE_BYTES = 3_500_000
ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

_PASSING = frozenset(
    {
        *("InternalFailure", "InternalServerError", "RequestLimitExceeded"),
        *("ProvisionedThroughputExceededException", "ServiceUnavailable", "ThrottlingException"),
        *("TransactionConflictException", "TransactionInProgressException"),
    }
)
_PASSING_REASONS = frozenset({"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
_OVERTAKEN = "ConditionalCheckFailed"


class UnavailableError(RuntimeError):
    """DynamoDB did not answer in time, however often it was asked."""


class Items:
    """The items of a table.

    Args:
        client: a boto3 client of DynamoDB that doesn't retry by itself.
        table: the table's name.
        keys: the names of its HASH and its RANGE.
        deadline: until when anything is tried again, on the monotonic clock.
        sleep: waits.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        keys: tuple[str, str],
        deadline: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.client, self.table, self.keys = client, table, keys
        self._deadline, self._sleep = deadline, sleep

    def read(self, places: Iterable[Place]) -> dict[Place, Item]:
        """Items as they are now; those that aren't there are left out.

        Raises:
            UnavailableError: some could not be read in time.
        """
        found: dict[Place, Item] = {}
        waiting = list(dict.fromkeys(places))
        for _ in self._attempts():
            chunks = [waiting[first : first + READS] for first in range(0, len(waiting), READS)]
            waiting = [place for chunk in chunks for place in self._read(chunk, found)]
            if not waiting:
                return found
        raise UnavailableError(f"{len(waiting)} items of {self.table} could not be read: it throttles, or is away")

    def change(self, changes: Mapping[Place, Change], known: bool = True) -> set[Place]:
        """Applies changes.

        Args:
            changes: by place.
            known: whether there are such items, usually. If not, they are put first and read only where there are.

        Returns:
            The places where it could not be done in time. Nothing is half done.
        """
        stored: dict[Place, Item] = {}
        try:
            if known:
                stored = self.read(changes)
        except UnavailableError:
            return set(changes)
        waiting = list(changes)
        for attempt in self._attempts():
            puts = {place: item for place in waiting if (item := changes[place](stored.get(place))) is not None}
            waiting = []
            for chunk in _chunks(puts, max(WRITES >> (2 * attempt), 1)):
                waiting += self._put(chunk, stored)
            if not waiting:
                return set()
        return set(waiting)

    def patiently(self, call: Callable[[], T]) -> T:
        """What a call gives, made again while DynamoDB throttles or is away.

        Raises:
            UnavailableError: it was so until the end.
        """
        for _ in self._attempts():
            try:
                return call()
            except (ClientError, ConnectionError, HTTPClientError) as error:
                _check_passing(error)
        raise UnavailableError(f"{self.table} throttles, or is away")

    def key(self, place: Place) -> Item:
        """The key of an item."""
        return {name: {"S": value} for name, value in zip(self.keys, place, strict=True)}

    def put_if_unchanged(self, place: Place, item: Item, stored: Item | None) -> dict[str, Any]:
        """The parameters of a put that happens only if the item is still the stored one.

        Args:
            place: of the item.
            item: its attributes; key and version are added.
            stored: the item, or None if there was none.
        """
        before = stored["version"]["N"] if stored else "0"
        return {
            "TableName": self.table,
            "Item": {**item, **self.key(place), "version": {"N": str(int(before) + 1)}},
            "ConditionExpression": "version = :before" if stored else "attribute_not_exists(version)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **({"ExpressionAttributeValues": {":before": {"N": before}}} if stored else {}),
        }

    def _attempts(self) -> Iterator[int]:
        """Numbers attempts from 0, with growing pauses in between, for as long as there is time."""
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)
                if time.monotonic() + pause > self._deadline:
                    return
                self._sleep(pause)
            yield attempt

    def _read(self, chunk: list[Place], found: dict[Place, Item]) -> list[Place]:
        """Reads up to `READS` items; the places that were not."""
        keys = [self.key(place) for place in chunk]
        try:
            answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": keys, "ConsistentRead": True}})
        except (ClientError, ConnectionError, HTTPClientError) as error:
            _check_passing(error)
            return chunk
        found |= {self._place(item): item for item in answer["Responses"].get(self.table, [])}
        return [self._place(key) for key in answer["UnprocessedKeys"].get(self.table, {}).get("Keys", [])]

    def _place(self, item: Item) -> Place:
        return item[self.keys[0]]["S"], item[self.keys[1]]["S"]

    def _put(self, chunk: dict[Place, Item], stored: dict[Place, Item]) -> list[Place]:
        """Puts items, all or none; the places that were not, and in `stored` what others have put there."""
        puts = [self.put_if_unchanged(place, item, stored.get(place)) for place, item in chunk.items()]
        try:
            if len(puts) == 1:
                self.client.put_item(**puts[0])
            else:
                self.client.transact_write_items(TransactItems=[{"Put": put} for put in puts])
            return []
        except self.client.exceptions.ConditionalCheckFailedException as error:
            reasons = [{"Code": _OVERTAKEN, "Item": error.response.get("Item")}]
        except self.client.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            if any(reason["Code"] not in {_OVERTAKEN, *_PASSING_REASONS} for reason in reasons):
                raise
        except (ClientError, ConnectionError, HTTPClientError) as error:
            _check_passing(error)
            return list(chunk)
        for place, reason in zip(chunk, reasons, strict=True):
            if reason["Code"] == _OVERTAKEN:
                stored.pop(place, None)
                if item := reason.get("Item"):
                    stored[place] = item
        return list(chunk)


def _check_passing(error: Exception) -> None:
    """Raises the error again unless another attempt may do better."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"] not in _PASSING:
        raise error


def _chunks(puts: dict[Place, Item], size: int) -> Iterator[dict[Place, Item]]:
    """Cuts puts into such as one transaction takes."""
    chunk: dict[Place, Item] = {}
    held = 0
    for place, item in puts.items():
        weight = sum(len(name) + len(next(iter(value.values()))) for name, value in item.items() if "BOOL" not in value)
        if chunk and (len(chunk) == size or held + weight > WRITE_BYTES):
            yield chunk
            chunk, held = {}, 0
        chunk[place] = item
        held += weight
    if chunk:
        yield chunk
