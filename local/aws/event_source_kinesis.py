"""Reading a Kinesis stream for a Lambda function: a thread per shard, positions that survive the stack.

A position is written after its records are dealt with: after a crash they are delivered again, none is left out.
"""

import base64
import json
import logging
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.aws import destinations, s3
from local.aws.event_patterns import Matcher
from local.aws.event_source_batches import LONGEST_PAUSE_SECONDS, Batches, GivenUp, Rules, call
from local.aws.kinesis_shards import Record, Shard, StreamGoneError, open_stream
from local.aws.lambda_workers import Ended
from local.aws.settings import REGION

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 6_000_000
"""An event is no larger: records come in Base64, with some 400 bytes of description each."""
READ_BYTES = 4 << 20
_RECORD_BYTES = 400


@dataclass(frozen=True)
class Reading:
    """What to read for whom, and how.

    Attributes:
        uuid: Of the mapping.
        stream_arn: ARN of the stream.
        function: Name of the function.
        function_arn: Its ARN.
        role: ARN of its role.
        start: TRIM_HORIZON, LATEST or AT_TIMESTAMP.
        timestamp: Seconds since the epoch, for AT_TIMESTAMP.
        batch_size: Records of a batch at most.
        window: Seconds to wait for a full batch.
        lanes: Batches of a shard at a time; a partition key stays in its lane.
        rules: About failures.
        on_failure: ARN of who is told about records that are given up.
        filters: Only records that match one are delivered; all are when there is none.
    """

    uuid: str
    stream_arn: str
    function: str
    function_arn: str
    role: str
    start: str
    timestamp: float | None
    batch_size: int
    window: float
    lanes: int
    rules: Rules
    on_failure: str | None
    filters: tuple[Matcher, ...]


class KinesisReader:
    """Reads a stream until it is stopped.

    Args:
        reading: What and how.
        previous: Waits until whoever read before has ended.
    """

    def __init__(self, reading: Reading, previous: Callable[[], None] = lambda: None) -> None:
        self._reading = reading
        self._previous = previous
        self._stream = open_stream(reading.stream_arn)
        self._checkpoints = self._stream.checkpoints(f"lambda-{reading.function}")
        self._stopping = threading.Event()
        self._remembering = threading.Lock()
        self._forgotten = False
        self._shards: dict[str, threading.Thread] = {}
        self._begin()
        self._thread = threading.Thread(target=self._run, name=f"mapping-{reading.function}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read nothing any more. Does not wait for the batches that are at work."""
        self._stopping.set()
        self._stream.wake()

    def join(self) -> None:
        """Wait until nothing is at work any more."""
        self._thread.join()

    def forget(self) -> None:
        """Stop for good, and drop the positions: another mapping of the function begins anew."""
        with self._remembering:
            self._forgotten = True
            self._checkpoints.forget()
        self.stop()

    # ------------------------------------------------------------------------------------------------------ positions

    def _begin(self) -> None:
        """Fix where a new mapping starts, so that what is put from now on is read, also after a crash."""
        shards = self._stream.shards()
        if self._reading.start == "TRIM_HORIZON" or any(self._checkpoints.get(shard.shard_id) for shard in shards):
            return
        for shard in shards:
            if self._reading.start == "LATEST":
                position = self._stream.latest(shard.shard_id)
            else:
                position = self._stream.before(shard.shard_id, self._reading.timestamp or 0.0)
            self._checkpoints.put(shard.shard_id, position or shard.starting_sequence_number)

    def _remember(self, shard_id: str, record: Record) -> None:
        with self._remembering:
            if not self._forgotten:
                self._checkpoints.put(shard_id, record.sequence_number)

    def _run(self) -> None:
        """Start a thread for each shard once its parents are drained."""
        self._previous()
        try:
            while not self._stopping.is_set():
                change = self._stream.change
                for shard in self._stream.shards():
                    if self._is_due(shard):
                        name = f"{self._thread.name}-{shard.shard_id}"
                        thread = threading.Thread(target=self._read, args=(shard.shard_id,), name=name, daemon=True)
                        self._shards[shard.shard_id] = thread
                        thread.start()
                if not self._stopping.is_set():
                    self._stream.wait(change, None)
        except StreamGoneError:
            log.warning("The mapping of %s ends: its stream %s is gone", self._reading.function, self._stream.name)
            self._stopping.set()
        for thread in self._shards.values():
            thread.join()

    def _is_due(self, shard: Shard) -> bool:
        return shard.shard_id not in self._shards and all(
            self._stream.drained(parent, self._checkpoints.get(parent)) for parent in shard.parents
        )

    # -------------------------------------------------------------------------------------------------------- a shard

    def _read(self, shard_id: str) -> None:
        """Read a shard to its end."""
        position = self._checkpoints.get(shard_id)
        try:
            while not self._stopping.is_set():
                change = self._stream.change
                records = self._collect(shard_id, position)
                if records:
                    if not self._process(shard_id, records):
                        return
                    position = records[-1].sequence_number
                elif self._stream.drained(shard_id, position):
                    self._stream.wake()  # for its children's sake
                    return
                else:
                    self._stream.wait(change, None)
        except StreamGoneError:
            self._stopping.set()
        except Exception:
            log.exception("The mapping of %s no longer reads %s", self._reading.function, shard_id)

    def _collect(self, shard_id: str, position: str | None) -> list[Record]:
        """The next records, waiting for a full batch while the window is open."""
        limit = self._reading.batch_size * self._reading.lanes
        closes: float | None = None
        while True:
            change = self._stream.change
            records = self._stream.read(shard_id, position, limit, READ_BYTES)
            full = len(records) >= limit or sum(len(record.data) for record in records) > READ_BYTES - (1 << 20)
            if not records or not self._reading.window or full:
                return records
            closes = closes or time.monotonic() + self._reading.window
            remaining = closes - time.monotonic()
            last = records[-1].sequence_number
            if remaining <= 0 or self._stopping.is_set() or self._stream.drained(shard_id, last):
                return records
            self._stream.wait(change, remaining)

    def _process(self, shard_id: str, records: list[Record]) -> bool:
        """Get records done, and remember it."""
        if self._reading.lanes == 1:
            if not self._get_done(shard_id, records, lambda record: self._remember(shard_id, record)):
                return False
        else:
            lanes: dict[int, list[Record]] = {}
            for record in records:
                lanes.setdefault(zlib.crc32(record.partition_key.encode()) % self._reading.lanes, []).append(record)
            with ThreadPoolExecutor(len(lanes), thread_name_prefix=threading.current_thread().name) as executor:
                work = [executor.submit(self._get_done, shard_id, lane, lambda _: None) for lane in lanes.values()]
            if not all(lane.result() for lane in work):
                return False
        self._remember(shard_id, records[-1])
        return True

    def _get_done(self, shard_id: str, records: list[Record], done: Callable[[Record], None]) -> bool:
        wanted = [record for record in records if self._is_wanted(record)]
        batches = Batches[Record](
            self._reading.rules,
            lambda batch: call(self._reading.function, self._event(shard_id, batch), self._pause),
            lambda given_up: self._tell(shard_id, given_up),
            done,
            self._pause,
        )
        return all(batches.process(batch) for batch in _cut(wanted, self._reading.batch_size))

    def _pause(self, seconds: float) -> bool:
        return not self._stopping.wait(seconds)

    def _is_wanted(self, record: Record) -> bool:
        if not self._reading.filters:
            return True
        try:
            data = json.loads(record.data)
        except ValueError:
            data = record.data.decode(errors="replace")
        seen = {**self._description(record), "data": data}
        return any(matches(seen) for matches in self._reading.filters)

    # ----------------------------------------------------------------------------------------------------- what is told

    def _event(self, shard_id: str, records: Sequence[Record]) -> dict[str, Any]:
        return {
            "Records": [
                {
                    "kinesis": {**self._description(record), "data": base64.b64encode(record.data).decode()},
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": f"{shard_id}:{record.sequence_number}",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": self._reading.role,
                    "awsRegion": REGION,
                    "eventSourceARN": self._reading.stream_arn,
                }
                for record in records
            ]
        }

    @staticmethod
    def _description(record: Record) -> dict[str, Any]:
        return {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.partition_key,
            "sequenceNumber": record.sequence_number,
            "approximateArrivalTimestamp": record.arrival,
        }

    def _tell(self, shard_id: str, given_up: GivenUp) -> bool:
        """Tell the destination about records that are given up; without one, the stack's log."""
        first, last = given_up.records[0], given_up.records[-1]
        what = (
            f"{self._reading.function} did not get done {len(given_up.records)} records of {self._stream.name} "
            f"{shard_id}, {first.sequence_number} to {last.sequence_number} ({given_up.condition})"
        )
        if self._reading.on_failure is None:
            log.error("%s; the mapping has no OnFailure destination, so nothing else tells about them", what)
            return True
        document = self._failure(shard_id, given_up)
        seconds = 0.1
        while True:
            try:
                self._send(self._reading.on_failure, shard_id, document, given_up)
            except Exception as error:
                log.error("%s; its destination is tried again: %s", what, error)
            else:
                return True
            if not self._pause(seconds):
                return False
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)

    def _send(self, destination: str, shard_id: str, document: dict[str, Any], given_up: GivenUp) -> None:
        if destinations.kind(destination) != "s3":
            destinations.deliver(destination, json.dumps(document))
            return
        # A bucket also gets the records; a message might be too small for them.
        document = {**document, "payload": json.dumps(self._event(shard_id, given_up.records))}
        now = datetime.now(UTC)
        key = f"{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        bucket = destination.rsplit(":", 1)[-1]
        uri = f"s3://{bucket}/aws/lambda/{self._reading.uuid}/{shard_id}/{key}"
        s3.put(uri, json.dumps(document).encode())

    def _failure(self, shard_id: str, given_up: GivenUp) -> dict[str, Any]:
        """https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html."""
        first, last = given_up.records[0], given_up.records[-1]
        ended: Ended | None = given_up.ended
        response = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
        if ended is not None and ended.error is None:
            del response["functionError"]
        return {
            "requestContext": {
                "requestId": ended.request_id if ended else str(uuid.uuid4()),
                "functionArn": self._reading.function_arn,
                "condition": given_up.condition,
                "approximateInvokeCount": given_up.attempts,
            },
            **({"responseContext": response} if ended else {}),
            "version": "1.0",
            "timestamp": _iso(time.time()),
            "KinesisBatchInfo": {
                "shardId": shard_id,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": _iso(first.arrival),
                "approximateArrivalOfLastRecord": _iso(last.arrival),
                "batchSize": len(given_up.records),
                "streamArn": self._reading.stream_arn,
            },
        }


def _cut(records: list[Record], size: int) -> list[list[Record]]:
    """Batches that are within the size, and within what an event may hold."""
    batches: list[list[Record]] = []
    held = 0
    for record in records:
        weight = len(record.data) * 4 // 3 + _RECORD_BYTES + len(record.partition_key)
        if not batches or len(batches[-1]) >= size or held + weight > PAYLOAD_BYTES:
            batches.append([])
            held = 0
        batches[-1].append(record)
        held += weight
    return batches


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
