"""What is kept of a Kinesis stream: definition, shards with their sequence numbers, positions of consumers."""

import json
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from local.aws import kinesis_throughput
from local.aws.kinesis_log import Log
from local.aws.kinesis_throughput import Throughput

# A sequence number, from the top: 2, when the shard was created (s), the record's ordinal, the shard's index, 2. So
# they have the 56 digits of AWS's, grow within a shard and from parents to children, and are unique in the stream.
_CREATED, _ORDINAL, _INDEX = 148, 84, 4
_MARKS = 2 << 184 | 2


class StreamGoneError(LookupError):
    """The stream, or the shard, does not exist (any more)."""


class SequenceNumberError(ValueError):
    """A sequence number that is not of this shard."""


class TopologyError(ValueError):
    """A split or merge that is not possible."""


class Record(NamedTuple):
    """A record of a shard.

    Attributes:
        sequence_number: Decimal digits; within a shard it grows strictly. Compare as ``int``.
        partition_key: As the producer gave it.
        data: The payload.
        arrival: Seconds since the epoch, to the millisecond; never falls within a shard.
    """

    sequence_number: str
    partition_key: str
    data: bytes
    arrival: float


class Shard(NamedTuple):
    """A shard that may have something to read, or may get something.

    Attributes:
        shard_id: ``shardId-000000000000``.
        parents: Ids of the shards it was split or merged from, whose records come before its own; a parent whose
            records are past retention is left out.
        starting_sequence_number: Lower than those of all its records.
        ending_sequence_number: Higher than those of all its records; ``None`` while the shard is open.
        starting_hash_key: Lower end of its hash keys.
        ending_hash_key: Upper end, inclusive.
        opened: When it was created, in seconds since the epoch.
        closed: When it was closed; ``None`` while the shard is open.
    """

    shard_id: str
    parents: tuple[str, ...]
    starting_sequence_number: str
    ending_sequence_number: str | None
    starting_hash_key: int
    ending_hash_key: int
    opened: float
    closed: float | None


class Placed(NamedTuple):
    """Where a record was put."""

    shard_id: str
    sequence_number: str


@dataclass
class Definition:
    """What is known of a stream beside its shards.

    Attributes:
        created: Seconds since the epoch.
        retention_hours: How long records are kept.
        mode: PROVISIONED or ON_DEMAND.
        max_record_kib: The largest record.
        tags: Of the user.
        identity: A name that no other stream has or had.
    """

    created: float = 0.0
    retention_hours: int = 24
    mode: str = "PROVISIONED"
    max_record_kib: int = 1024
    tags: dict[str, str] = field(default_factory=dict)
    identity: str = field(default_factory=lambda: uuid.uuid4().hex[:20] + "-loc")


@dataclass
class Facts:
    """What `stream.json` keeps of a shard."""

    index: int
    start: int
    end: int
    created: int  # as its sequence numbers say: after that of the parents, even within a second
    opened: float
    parents: list[int] = field(default_factory=list)
    closed: float | None = None


class ShardLog:
    """A shard with its log."""

    def __init__(self, facts: Facts, folder: Path, segment_bytes: int) -> None:
        self.facts = facts
        self.shard_id = f"shardId-{facts.index:012}"
        self.log = Log(folder / self.shard_id, segment_bytes)
        self.throughput = Throughput(kinesis_throughput.limit())
        self._base = _MARKS | facts.created << _CREATED | facts.index << _INDEX

    def sequence_number(self, ordinal: int) -> str:
        """Of a record by its place in the shard, from 1."""
        return str(self._base + (ordinal << _ORDINAL))

    def ordinal(self, sequence_number: str) -> int:
        """The place of a record in the shard.

        Raises:
            SequenceNumberError: The number is of another shard, or no number.
        """
        offset = int(sequence_number) - self._base if sequence_number.isdecimal() else -1
        ordinal = offset >> _ORDINAL
        if offset < 0 or offset != ordinal << _ORDINAL or ordinal >> (_CREATED - _ORDINAL):
            raise SequenceNumberError(f"{sequence_number} is not a sequence number of {self.shard_id}")
        return ordinal

    def following(self, after: str | None) -> int:
        """The place behind a position; None is before the first record."""
        return 1 if after is None else self.ordinal(after) + 1


class Checkpoints:
    """How far a consumer of a stream is, by shard; survives ``kill -9``.

    Args:
        file: Where it is kept.
    """

    def __init__(self, file: Path) -> None:
        self.consumer = file.stem
        self._file, self._lock = file, threading.Lock()
        self._positions: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, shard_id: str) -> str | None:
        """The sequence number of the last record dealt with, or None."""
        return self._positions.get(shard_id)

    def put(self, shard_id: str, sequence_number: str) -> None:
        """Remember, durably before it returns."""
        self.put_all({shard_id: sequence_number})

    def put_all(self, positions: dict[str, str]) -> None:
        """Remember positions of several shards in one step."""
        with self._lock:
            self._positions = {**self._positions, **positions}
            self._file.parent.mkdir(exist_ok=True)
            replace(self._file, json.dumps(self._positions))

    def forget(self) -> None:
        """The consumer is no more."""
        with self._lock:
            self._positions = {}
            self._file.unlink(missing_ok=True)


def replace(file: Path, text: str) -> None:
    """Write a file in one step: it has the old text or the new one, whenever the process is killed."""
    staged = file.with_name(f"{file.name}.new")
    staged.write_text(text)
    staged.replace(file)
