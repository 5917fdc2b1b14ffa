"""Delivering a stream to S3, so that a kill loses nothing and repeats nothing.

Records stay in their source, a Kinesis stream or the delivery stream's own, until they are delivered. A batch is first
written down as a plan (which records of which shards), then its objects are written, then the plan's end becomes the
checkpoint of the source. Whoever finds a plan at the start does it again: the same records make the same objects under
the same keys.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from local.aws import kinesis_shards, s3
from local.aws.firehose_definitions import Destination
from local.aws.firehose_records import Delivery, Item, Naming, deliveries
from local.aws.kinesis_shards import Checkpoints, Stream, StreamGoneError
from local.aws.logs import LogStream

log = logging.getLogger(__name__)

TIME_SCALE = "VITRINE_FIREHOSE_TIME_SCALE"
_LONGEST_PAUSE = 30.0
_KEPT_SECONDS = 15 * 86400


def time_scale() -> float:
    """How many seconds of a buffering interval pass in one of the clock.

    Raises:
        ValueError: The environment has no positive number.
    """
    text = os.environ.get(TIME_SCALE) or "1"
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if scale <= 0:
        raise ValueError(f"{TIME_SCALE}={text}: write a positive number; 60 makes an interval of 60 s one of 1 s")
    return scale


class FlushError(RuntimeError):
    """What was buffered could not be delivered."""


class Done(NamedTuple):
    """A batch that was delivered.

    Attributes:
        time: When, in seconds since the epoch.
        records: In objects of records.
        bytes: Of these objects.
        failed: How many records are in objects of failed ones, by error output type.
        read: How many records the source had.
        freshness: Age of the oldest of them then, in seconds.
        keys: Of all objects.
    """

    time: float
    records: int
    bytes: int
    failed: dict[str, int]
    read: int
    freshness: float
    keys: list[str]


class Ledger:
    """What was delivered in the last days, a line for each batch.

    Args:
        file: Where it is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        known = [Done(**json.loads(line)) for line in lines if line.endswith("}")]  # a kill may have cut the last
        self._done = [done for done in known if done.time > time.time() - _KEPT_SECONDS]
        if len(self._done) < len(lines):
            kinesis_shards.replace(file, "".join(self._line(done) for done in self._done))

    @staticmethod
    def _line(done: Done) -> str:
        return json.dumps(done._asdict()) + "\n"

    def add(self, done: Done) -> None:
        """Remember a batch."""
        with self._file.open("a") as file:
            file.write(self._line(done))
        self._done.append(done)

    def between(self, start: float, end: float) -> list[Done]:
        """The batches of some time, in seconds since the epoch, `end` not included."""
        return [done for done in list(self._done) if start <= done.time < end]


@dataclass
class _Buffer:
    """Records that were read and not delivered."""

    items: list[Item] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    positions: dict[str, str] = field(default_factory=dict)

    def add(self, items: list[Item]) -> None:
        if items and not self.items:
            self.since = time.monotonic()
        self.items += items
        self.size += sum(len(item.data) for item in items)
        self.positions |= {item.shard_id: item.record.sequence_number for item in items}


class Worker:
    """Reads one source and delivers it, in a thread of its own.

    Args:
        folder: Of the delivery stream.
        source: Opens the source; it may be gone for a while.
        consumer: Under which the source keeps how far this worker is.
        owned: Whether nobody else reads the source, so that what is delivered can be deleted there.
        target: Destination and naming of now.
    """

    def __init__(
        self,
        folder: Path,
        source: Callable[[], Stream],
        consumer: str,
        owned: bool,
        target: Callable[[], tuple[Destination, Naming]],
    ) -> None:
        self.name = folder.name
        self.ledger = Ledger(folder / "delivered.jsonl")
        self.problem: str | None = None
        self._plan_file = folder / "plan.json"
        self._open, self._consumer, self._owned, self._target = source, consumer, owned, target
        self._scale = time_scale()
        self._buffer = _Buffer()
        self._delivering = threading.Lock()
        self._state = threading.Condition()
        self._stopping = False
        self._flushes_wanted = self._flushes_done = 0
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"firehose-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin, with what a kill has left undone."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is being delivered; the rest waits in the source for the next start."""
        self._stopping = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Let the worker look around."""
        with self._state:
            self._state.notify_all()
        with contextlib.suppress(StreamGoneError):
            self._open().wake()

    def flush(self, timeout: float) -> list[str]:
        """Deliver everything that was put until now.

        Args:
            timeout: Seconds to wait for it.

        Returns:
            The keys of the objects.

        Raises:
            FlushError: It failed, or takes longer.
        """
        with self._state:
            begun, failures = len(self.ledger.between(0, float("inf"))), self._failures
            self._flushes_wanted += 1
            wanted = self._flushes_wanted
        self.wake()
        with self._state:
            self._state.wait_for(lambda: self._flushes_done >= wanted or self._failures > failures, timeout)
            if self._flushes_done < wanted:
                raise FlushError(self.problem or f"{self.name} was not delivered within {timeout:g} s")
        return [key for done in self.ledger.between(0, float("inf"))[begun:] for key in done.keys]

    def change_target(self, change: Callable[[], None]) -> None:
        """Change the destination between two batches; one that failed is made anew for the new destination."""
        with self._delivering:
            change()
            self._plan_file.unlink(missing_ok=True)
        self.wake()

    def oldest(self) -> float | None:
        """When the oldest record arrived that is not delivered, in seconds since the epoch."""
        try:
            source = self._open()
            checkpoints = source.checkpoints(self._consumer)
            arrivals = [source.oldest(shard.shard_id, checkpoints.get(shard.shard_id)) for shard in source.shards()]
        except StreamGoneError:
            return None
        return min((arrival for arrival in arrivals if arrival is not None), default=None)

    # ---------------------------------------------------------------------------------------------------------- thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._work(self._open())
            except StreamGoneError:
                self._lose_source()
            except Exception as error:
                self._fail(error)

    def _lose_source(self) -> None:
        """Wait for a source of this name; what was read of the old one cannot be read again."""
        while self._buffer.items and not self._stopping:
            try:
                with self._delivering:
                    self._write(self._buffer.items, lambda: None)
                self._buffer = _Buffer()
            except Exception as error:
                self._fail(error)
        self._plan_file.unlink(missing_ok=True)
        with self._state:
            self._flushes_done = self._flushes_wanted
            self._state.notify_all()
            while not self._stopping:
                try:
                    self._open()
                    return
                except StreamGoneError:
                    self._state.wait()

    def _work(self, source: Stream) -> None:
        """Read and deliver until something fails."""
        checkpoints = source.checkpoints(self._consumer)
        self._finish_plan(source, checkpoints)
        self._buffer = _Buffer()
        while not self._stopping:
            change, wanted = source.change, self._flushes_wanted
            destination, _ = self._target()
            self._fill(source, checkpoints, destination.size)
            full, flushing = self._buffer.size >= destination.size, wanted > self._flushes_done
            left = self._buffer.since + destination.interval / self._scale - time.monotonic()
            if self._buffer.items and (full or flushing or left <= 0):
                self._deliver(source, checkpoints)
            if flushing and not full:
                with self._state:
                    self._flushes_done = wanted
                    self._state.notify_all()
            elif not full:
                source.wait(change, max(left, 0.0) if self._buffer.items else None)

    def _fill(self, source: Stream, checkpoints: Checkpoints, size: int) -> None:
        """Read everything that fits; parents before children."""
        positions = self._buffer.positions

        def position(shard_id: str) -> str | None:
            return positions.get(shard_id) or checkpoints.get(shard_id)

        for shard in source.shards():
            if all(source.drained(parent, position(parent)) for parent in shard.parents):
                while (room := size - self._buffer.size) > 0:
                    records = source.read(shard.shard_id, position(shard.shard_id), max_bytes=room)
                    if not records:
                        break
                    self._buffer.add([Item(shard.shard_id, record, record.data) for record in records])

    def _deliver(self, source: Stream, checkpoints: Checkpoints) -> None:
        ends = self._buffer.positions
        shards = {shard_id: [checkpoints.get(shard_id), end] for shard_id, end in ends.items()}
        with self._delivering:
            plan = {"source": source.definition.identity, "shards": shards}
            kinesis_shards.replace(self._plan_file, json.dumps(plan))
            self._write(self._buffer.items, lambda: self._settle(source, checkpoints, ends))
        self._buffer = _Buffer()

    def _settle(self, source: Stream, checkpoints: Checkpoints, ends: dict[str, str]) -> None:
        checkpoints.put_all(ends)
        self._plan_file.unlink(missing_ok=True)
        if self._owned:
            for shard_id, end in ends.items():
                source.discard(shard_id, end)

    def _finish_plan(self, source: Stream, checkpoints: Checkpoints) -> None:
        """Deliver the batch again that a kill or a failure interrupted."""
        if not self._plan_file.exists():
            return
        plan: dict[str, Any] = json.loads(self._plan_file.read_text())
        ends = {shard_id: end for shard_id, (_, end) in plan["shards"].items()}
        done = all(checkpoints.get(shard_id) == end for shard_id, end in ends.items())
        if done or plan["source"] != source.definition.identity:
            self._plan_file.unlink()
            return
        items = self._planned(source, plan["shards"])
        with self._delivering:
            self._write(items, lambda: self._settle(source, checkpoints, ends))

    def _planned(self, source: Stream, shards: dict[str, list[Any]]) -> list[Item]:
        items: list[Item] = []
        for shard_id, (after, end) in shards.items():
            while after is None or int(after) < int(end):
                records = [record for record in source.read(shard_id, after) if int(record.sequence_number) <= int(end)]
                if not records:
                    log.error("%s: records of %s went past retention before they were delivered", self.name, shard_id)
                    break
                items += [Item(shard_id, record, record.data) for record in records]
                after = records[-1].sequence_number
        return items

    def _write(self, items: list[Item], settle: Callable[[], None]) -> None:
        """Write the objects of a batch, then settle, then count."""
        destination, naming = self._target()
        objects = deliveries(items, destination, naming) if items else []
        for each in objects:
            s3.put(f"s3://{destination.bucket}/{each.key}", each.body)
        settle()
        self._count(items, objects)
        self.problem, self._failures = None, 0

    def _count(self, items: list[Item], objects: list[Delivery]) -> None:
        now = time.time()
        good = [each for each in objects if each.failed is None]
        failed = {each.failed: each.records for each in objects if each.failed is not None}
        oldest = min((item.record.arrival for item in items), default=now)
        self.ledger.add(
            Done(
                time=round(now, 3),
                records=sum(each.records for each in good),
                bytes=sum(len(each.body) for each in good),
                failed=failed,
                read=len(items),
                freshness=round(max(now - oldest, 0.0), 3),
                keys=[each.key for each in objects],
            )
        )

    def _fail(self, error: Exception) -> None:
        """Say what is wrong, and try again after a while; nothing is given up."""
        message = f"{self.name} was not delivered and will be tried again: {type(error).__name__}: {error}"
        if message != self.problem:
            log.error("Firehose: %s", message, exc_info=error)
            self._tell(message)
        with self._state:
            self.problem = message
            self._failures += 1
            self._state.notify_all()
            pause, wanted = min(0.1 * 2**self._failures, _LONGEST_PAUSE), self._flushes_wanted
            self._state.wait_for(lambda: self._stopping or self._flushes_wanted > wanted, pause)

    def _tell(self, message: str) -> None:
        destination, naming = self._target()
        if destination.logs:
            event = {"deliveryStreamARN": naming.arn, "errorCode": "S3.DeliveryFailed", "errorMessage": message}
            LogStream(*destination.logs).write([json.dumps(event)])
