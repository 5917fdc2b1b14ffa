"""Local Kinesis streams: durable shards, their topology, and how consumers inside the stack read them.

A consumer (an event-source mapping, Firehose) reads a shard after the sequence number it has dealt with, and waits for
changes of the stream:

    stream = open_stream("vitrine-clickstream")
    checkpoints = stream.checkpoints("esm-<uuid>")
    while running:
        change = stream.change
        for shard in stream.shards():
            if all(stream.drained(parent, checkpoints.get(parent)) for parent in shard.parents):
                while records := stream.read(shard.shard_id, checkpoints.get(shard.shard_id), limit=100):
                    …
                    checkpoints.put(shard.shard_id, records[-1].sequence_number)
        stream.wait(change, timeout=None)  # returns at once when anything was put since `change` was read

A stream is the folder ``<state>/kinesis/<stream>``: `stream.json`, which each change of the topology replaces in one
step, a folder with the log of each shard, and the positions of consumers.
"""

import json
import shutil
import threading
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from local.aws import settings
from local.aws.kinesis_gauge import Gauge
from local.aws.kinesis_log import SEGMENT_BYTES
from local.aws.kinesis_state import (
    Checkpoints,
    Definition,
    Facts,
    Placed,
    Record,
    SequenceNumberError,
    Shard,
    ShardLog,
    StreamGoneError,
    TopologyError,
    replace,
)

__all__ = [
    "Checkpoints",
    "Definition",
    "Placed",
    "Record",
    "SequenceNumberError",
    "Shard",
    "Stream",
    "StreamGoneError",
    "TopologyError",
    "close",
    "create_stream",
    "delete_stream",
    "load",
    "names",
    "open_stream",
    "replace",
]

HASH_KEYS = 1 << 128
BATCH_BYTES = 10 << 20


class Stream:
    """One stream.

    Args:
        folder: Where everything of it is; its name is the stream's.
        clock: Seconds since the epoch.
        segment_bytes: Size of the files that are deleted as a whole when their records are past retention.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.name = folder.name
        self.folder, self._clock, self._segment_bytes = folder, clock, segment_bytes
        self.ages = Gauge(clock)
        self._condition = threading.Condition(threading.RLock())
        self._change = 0
        self._gone = False
        described = json.loads((folder / "stream.json").read_text())
        self.definition = Definition(**described["definition"])
        self._next_index: int = described["next_index"]
        shards = [ShardLog(Facts(**facts), folder, segment_bytes) for facts in described["shards"]]
        self._shards = {shard.shard_id: shard for shard in shards}
        files = (folder / "consumers").glob("*.json")
        self._consumers = {file.stem: Checkpoints(file) for file in files}
        self._route()
        self._expire()

    @classmethod
    def create(cls, folder: Path, shards: int, definition: Definition) -> "Stream":
        """Make a stream with equal shares of the hash keys.

        Args:
            folder: Does not exist yet.
            shards: How many.
            definition: Its attribute `created` also dates the shards.
        """
        bounds = _uniform(shards)
        facts = [
            Facts(index, start, end - 1, int(definition.created), definition.created)
            for index, (start, end) in enumerate(zip(bounds, [*bounds[1:], HASH_KEYS], strict=True))
        ]
        folder.mkdir(parents=True)
        _describe(folder, definition, shards, facts)
        return cls(folder)

    @property
    def arn(self) -> str:
        """The ARN."""
        return f"{_arn_prefix()}{self.name}"

    def save(self) -> None:
        """Keep a changed `definition`."""
        with self._condition:
            self._require()
            _describe(self.folder, self.definition, self._next_index, [shard.facts for shard in self._shards.values()])

    def _require(self) -> None:
        if self._gone:
            raise StreamGoneError(f"the stream {self.name} was deleted")

    def _shard(self, shard_id: str) -> ShardLog:
        self._require()
        try:
            return self._shards[shard_id]
        except KeyError:
            raise StreamGoneError(f"{shard_id} is not a shard of {self.name}, or is past its retention") from None

    # -------------------------------------------------------------------------------------------------------- changes

    @property
    def change(self) -> int:
        """A number that grows with every put, reshard, :meth:`wake` and with deletion."""
        return self._change

    def wait(self, change: int, timeout: float | None) -> int:
        """Sleep until the stream's `change` is no longer the given one, or for `timeout` seconds (None: for ever).

        Returns:
            The `change` of now.

        Raises:
            StreamGoneError: The stream was deleted.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._gone or self._change != change, timeout)
            self._require()
            return self._change

    def wake(self) -> None:
        """Let all that wait return, e.g. to see that they should stop."""
        with self._condition:
            self._change += 1
            self._condition.notify_all()

    def _expire(self) -> None:
        """Forget what is past retention."""
        horizon = self._horizon()
        for shard in list(self._shards.values()):
            shard.log.trim(shard.log.since(int(horizon * 1000)))
            if shard.facts.closed is not None and shard.facts.closed < horizon:
                del self._shards[shard.shard_id]
                self.save()
                shard.log.close()
                shutil.rmtree(shard.log.folder, ignore_errors=True)

    def _horizon(self) -> float:
        return self._clock() - self.definition.retention_hours * 3600

    # -------------------------------------------------------------------------------------------------------- reading

    def shards(self) -> list[Shard]:
        """All shards, open and closed, parents before children."""
        with self._condition:
            self._require()
            self._expire()
            return [self._describe_shard(shard) for shard in self._shards.values()]

    def _describe_shard(self, shard: ShardLog) -> Shard:
        facts = shard.facts
        ids = [f"shardId-{parent:012}" for parent in facts.parents]
        return Shard(
            shard.shard_id,
            tuple(parent for parent in ids if parent in self._shards),
            shard.sequence_number(0),
            None if facts.closed is None else shard.sequence_number(shard.log.next),
            facts.start,
            facts.end,
            facts.opened,
            facts.closed,
        )

    def read(self, shard_id: str, after: str | None, limit: int = 10_000, max_bytes: int = BATCH_BYTES) -> list[Record]:
        """The next records of a shard, in order.

        Args:
            shard_id: The shard.
            after: Sequence number behind which to begin; None for the oldest record that is kept (TRIM_HORIZON).
            limit: At most so many.
            max_bytes: Stop before the data outgrow this (at least one record is given).

        Raises:
            StreamGoneError: The stream or shard is gone.
            SequenceNumberError: `after` is not of this shard.
        """
        shard = self._shard(shard_id)
        start = max(shard.following(after), shard.log.since(int(self._horizon() * 1000)))
        entries = shard.log.read(start, limit, max_bytes)
        caught_up = not entries or entries[-1].ordinal + 1 >= shard.log.next
        self.ages.add(0.0 if caught_up else self._clock() * 1000 - entries[-1].arrival)
        return [
            Record(shard.sequence_number(ordinal), key.decode(), data, arrival / 1000)
            for ordinal, key, data, arrival in entries
        ]

    def latest(self, shard_id: str) -> str | None:
        """The `after` of a consumer that begins at LATEST; None when nothing was ever put.

        Put it down as the consumer's first checkpoint, or a restart before the second would begin at TRIM_HORIZON.
        """
        shard = self._shard(shard_id)
        return shard.sequence_number(shard.log.next - 1) if shard.log.next > 1 else None

    def before(self, shard_id: str, timestamp: float) -> str | None:
        """The `after` of a consumer that begins AT_TIMESTAMP (seconds since the epoch)."""
        shard = self._shard(shard_id)
        return self._after(shard, shard.log.since(round(timestamp * 1000)))

    def preceding(self, shard_id: str, sequence_number: str) -> str | None:
        """The `after` of a consumer that begins AT_SEQUENCE_NUMBER.

        Raises:
            SequenceNumberError: The number is not of this shard.
        """
        shard = self._shard(shard_id)
        return self._after(shard, max(shard.ordinal(sequence_number), 1))

    @staticmethod
    def _after(shard: ShardLog, ordinal: int) -> str | None:
        return shard.sequence_number(ordinal - 1) if ordinal > 1 else None

    def drained(self, shard_id: str, after: str | None) -> bool:
        """Whether the shard is closed and has nothing behind `after` (also when the shard is past retention)."""
        self._require()
        shard = self._shards.get(shard_id)
        return shard is None or (shard.facts.closed is not None and self._behind(shard, after) is None)

    def _behind(self, shard: ShardLog, after: str | None) -> int | None:
        """The ordinal of the first record behind a position."""
        start = max(shard.following(after), shard.log.since(int(self._horizon() * 1000)))
        return start if start < shard.log.next else None

    def oldest(self, shard_id: str, after: str | None) -> float | None:
        """When the first record behind `after` arrived, in seconds since the epoch; None when there is none."""
        shard = self._shard(shard_id)
        start = self._behind(shard, after)
        return None if start is None else shard.log.read(start, 1, 1)[0].arrival / 1000

    def discard(self, shard_id: str, through: str) -> None:
        """Delete files of records that nobody wants any more, up to a sequence number."""
        shard = self._shard(shard_id)
        shard.log.trim(shard.following(through))

    def puts(self, start: float, end: float) -> Iterable[tuple[float, int, int]]:
        """What was put in a time (seconds since the epoch, `end` not included), as far as it is kept.

        Yields:
            Time, records, bytes of data, of each shard's part of each put.
        """
        for shard in list(self._shards.values()):
            for put in shard.log.puts(round(start * 1000), round(end * 1000)):
                yield put.arrival / 1000, put.records, put.bytes

    # ------------------------------------------------------------------------------------------------------ consumers

    def checkpoints(self, consumer: str) -> Checkpoints:
        """The durable positions of a consumer; they go with the stream.

        Args:
            consumer: Letters, digits, ``-``, ``_`` and ``.``.
        """
        with self._condition:
            self._require()
            if consumer not in self._consumers:
                self._consumers[consumer] = Checkpoints(self.folder / "consumers" / f"{consumer}.json")
            return self._consumers[consumer]

    def forget(self, consumer: str) -> None:
        """A consumer is no more."""
        with self._condition:
            if checkpoints := self._consumers.pop(consumer, None):
                checkpoints.forget()

    def lag(self) -> float | None:
        """How long, in milliseconds, the oldest record that a consumer has not dealt with is there.

        Returns:
            Of the consumer that is furthest behind; None without consumers.
        """
        with self._condition:
            consumers = list(self._consumers.values())
        now = self._clock()
        arrivals = [
            self.oldest(shard_id, consumer.get(shard_id)) or now for consumer in consumers for shard_id in self._shards
        ]
        return max(now - min(arrivals), 0.0) * 1000 if arrivals else None

    # -------------------------------------------------------------------------------------------------------- putting

    def put(self, records: Iterable[tuple[bytes, bytes, int]]) -> list[Placed | str]:
        """Append records; what is answered survives ``kill -9``.

        Args:
            records: Partition key, data and hash key of each.

        Returns:
            For each record its place, or the id of the shard whose throughput it would exceed.

        Raises:
            StreamGoneError: The stream was deleted.
            OSError: The disk is full or broken; records of some shards may have been put.
        """
        with self._condition:
            self._require()
            placed: list[Placed | str] = []
            batches: dict[ShardLog, list[tuple[bytes, bytes]]] = {}
            numbers: dict[ShardLog, list[int]] = {}
            for number, (key, data, hash_key) in enumerate(records):
                shard = self._open[bisect_right(self._starts, hash_key) - 1]
                placed.append(shard.shard_id)
                if shard.throughput.take(len(key) + len(data)):
                    batches.setdefault(shard, []).append((key, data))
                    numbers.setdefault(shard, []).append(number)
            now = self._clock()
            for shard, batch in batches.items():
                first = shard.log.append(batch, now)
                for offset, number in enumerate(numbers[shard]):
                    placed[number] = Placed(shard.shard_id, shard.sequence_number(first + offset))
            if batches:
                self.wake()
            return placed

    def _route(self) -> None:
        shards = [shard for shard in self._shards.values() if shard.facts.closed is None]
        self._open = sorted(shards, key=lambda shard: shard.facts.start)
        self._starts = [shard.facts.start for shard in self._open]

    # ------------------------------------------------------------------------------------------------------- topology

    @property
    def open_shards(self) -> int:
        """How many shards take records."""
        return len(self._open)

    def split(self, shard_id: str, hash_key: int) -> None:
        """Divide an open shard in two.

        Args:
            shard_id: Which.
            hash_key: The lowest of the upper half.

        Raises:
            StreamGoneError: There is no such shard.
            TopologyError: It is closed, or the hash key leaves nothing for one half.
        """
        with self._condition:
            facts = self._open_facts(shard_id)
            if not facts.start < hash_key <= facts.end:
                raise TopologyError(
                    f"NewStartingHashKey {hash_key} must be above {facts.start} and not above {facts.end}, the range "
                    f"of {shard_id}"
                )
            self._reshape([facts], [(facts.start, hash_key - 1), (hash_key, facts.end)])

    def merge(self, shard_id: str, adjacent: str) -> None:
        """Make one of two open shards with adjacent ranges of hash keys.

        Raises:
            StreamGoneError: There is no such shard.
            TopologyError: One is closed, or they are not adjacent.
        """
        with self._condition:
            parents = [self._open_facts(shard_id), self._open_facts(adjacent)]
            low, high = sorted(parents, key=lambda facts: facts.start)
            if low.end + 1 != high.start:
                raise TopologyError(f"{shard_id} and {adjacent} are not adjacent in their ranges of hash keys")
            self._reshape(parents, [(low.start, high.end)])

    def scale(self, shards: int) -> None:
        """Divide and merge until there are so many open shards of equal size."""
        with self._condition:
            wanted = _uniform(shards)
            for bound in sorted(set(wanted) - set(self._starts)):
                self.split(self._open[bisect_right(self._starts, bound) - 1].shard_id, bound)
            for bound in sorted(set(self._starts) - set(wanted)):
                position = self._starts.index(bound)
                self.merge(self._open[position - 1].shard_id, self._open[position].shard_id)

    def _open_facts(self, shard_id: str) -> Facts:
        facts = self._shard(shard_id).facts
        if facts.closed is not None:
            raise TopologyError(f"{shard_id} is closed: it was split or merged before")
        return facts

    def _reshape(self, parents: list[Facts], ranges: list[tuple[int, int]]) -> None:
        now = self._clock()
        created = max(int(now), *(parent.created + 1 for parent in parents))
        for parent in parents:
            parent.closed = now
            self._shards[f"shardId-{parent.index:012}"].log.close()
        for start, end in ranges:
            facts = Facts(self._next_index, start, end, created, now, [parent.index for parent in parents])
            child = ShardLog(facts, self.folder, self._segment_bytes)
            self._shards[child.shard_id] = child
            self._next_index += 1
        self.save()
        self._route()
        self.wake()

    def children(self, shard_id: str) -> list[Shard]:
        """The shards that a closed shard was split into or merged to."""
        return [shard for shard in self.shards() if shard_id in shard.parents]

    # ----------------------------------------------------------------------------------------------------------- ends

    def close(self) -> None:
        """Let go of files."""
        for shard in self._shards.values():
            shard.log.close()

    def end(self) -> None:
        """Nothing more can be done with the stream: it was deleted."""
        with self._condition:
            self._gone = True
            self.close()
            self.wake()


def _uniform(shards: int) -> list[int]:
    return [HASH_KEYS * number // shards for number in range(shards)]


def _describe(folder: Path, definition: Definition, next_index: int, shards: list[Facts]) -> None:
    described = {
        "definition": asdict(definition),
        "next_index": next_index,
        "shards": [asdict(facts) for facts in shards],
    }
    replace(folder / "stream.json", json.dumps(described))


# --------------------------------------------------------------------------------------------------------- all streams

_streams: dict[str, Stream] = {}
_lock = threading.Lock()
on_create: list[Callable[[Stream], None]] = []
"""Called with every stream that is created, by whoever waits for one."""


def _arn_prefix() -> str:
    return f"arn:aws:kinesis:{settings.REGION}:{settings.ACCOUNT}:stream/"


def _folder() -> Path:
    return settings.current().state / "kinesis"


def _deleted() -> Path:
    return settings.current().state / "kinesis-deleted"


def load() -> None:
    """Open the streams of the current settings' state."""
    shutil.rmtree(_deleted(), ignore_errors=True)
    with _lock:
        _streams.clear()
        on_create.clear()
        for described in sorted(_folder().glob("*/stream.json")):
            _streams[described.parent.name] = Stream(described.parent)


def close() -> None:
    """Let go of all streams; their files stay. Consumers must have stopped."""
    with _lock:
        for stream in _streams.values():
            stream.close()
        _streams.clear()


def names() -> list[str]:
    """The streams that exist, sorted."""
    with _lock:
        return sorted(_streams)


def open_stream(name: str) -> Stream:
    """A stream by name or ARN; the same object for all that open it.

    Raises:
        StreamGoneError: There is none.
    """
    try:
        return _streams[name.removeprefix(_arn_prefix())]
    except KeyError:
        raise StreamGoneError(f"there is no stream {name} in {settings.ACCOUNT}, {settings.REGION}") from None


def create_stream(name: str, shards: int, definition: Definition) -> Stream:
    """Make a stream.

    Raises:
        FileExistsError: There is one of this name.
    """
    with _lock:
        if name in _streams:
            raise FileExistsError(name)
        folder = _folder() / name
        if folder.exists():  # what a kill left of a creation
            shutil.rmtree(folder)
        _streams[name] = stream = Stream.create(folder, shards, definition)
    for call in on_create:
        call(stream)
    return stream


def delete_stream(name: str) -> None:
    """Delete a stream with its records and the positions of its consumers.

    Raises:
        StreamGoneError: There is none.
    """
    stream = open_stream(name)
    with _lock:
        _streams.pop(stream.name, None)
        stream.end()
        _deleted().mkdir(exist_ok=True)
        moved = stream.folder.rename(_deleted() / uuid.uuid4().hex)
    shutil.rmtree(moved, ignore_errors=True)
