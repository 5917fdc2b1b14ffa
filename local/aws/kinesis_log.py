"""The durable, append-only log under a shard.

A log is a folder of segments, ``<ordinal of its first record>.log``. A segment is a sequence of frames: what one put
appended, in one write. Nothing is synced to the disk: what a process has written survives the process, if not the
machine. A frame that a kill cut short is found by its checksum and cut off when the log is opened again.
"""

import logging
import os
import struct
import threading
import time
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 << 20
_WORTH_DELETING = 1 << 20

# CRC-32 of the rest, bytes of the payload, ordinal of the first record, arrival in ms, records, bytes of their data.
# The payload: the lengths of all keys and data in pairs of 32 bits, then the keys and data themselves in pairs.
_HEADER = struct.Struct("<IIQQII")
_CHECKED = 4


class Entry(NamedTuple):
    """A record.

    Attributes:
        ordinal: Its place in the log, from 1.
        key: The partition key.
        data: The payload.
        arrival: Milliseconds since the epoch.
    """

    ordinal: int
    key: bytes
    data: bytes
    arrival: int


class Put(NamedTuple):
    """What one put brought.

    Attributes:
        arrival: Milliseconds since the epoch.
        records: How many.
        bytes: Of their data.
    """

    arrival: int
    records: int
    bytes: int


class _Frames:
    """Where the frames of a segment are: parallel arrays, of which `ordinals` grows last."""

    def __init__(self) -> None:
        self.offsets, self.ends, self.arrivals = array("Q"), array("Q"), array("Q")
        self.counts, self.sizes, self.ordinals = array("I"), array("I"), array("Q")

    def add(self, ordinal: int, offset: int, end: int, put: Put) -> None:
        self.offsets.append(offset)
        self.ends.append(end)
        self.arrivals.append(put.arrival)
        self.counts.append(put.records)
        self.sizes.append(put.bytes)
        self.ordinals.append(ordinal)

    def __len__(self) -> int:
        return len(self.ordinals)

    @property
    def end(self) -> int:
        return self.ends[len(self) - 1] if len(self) else 0

    def since(self, arrival: int) -> int:
        """The position of the first frame that arrived at or after a time (ms since the epoch)."""
        return bisect_left(self.arrivals, arrival, hi=len(self))


class _Segment:
    """A file of frames."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = int(path.stem)
        self.file = path.open("rb", buffering=0)  # closed with the last reader, also when trimmed meanwhile
        self._frames: _Frames | None = None

    @property
    def frames(self) -> _Frames:
        if self._frames is None:
            self._frames = self._index()
        return self._frames

    def _index(self) -> _Frames:
        frames, data = _Frames(), self.path.read_bytes()
        offset, ordinal = 0, self.first
        while offset + _HEADER.size <= len(data):
            checksum, size, first, arrival, records, of_data = _HEADER.unpack_from(data, offset)
            end = offset + _HEADER.size + size
            whole = end <= len(data) and zlib.crc32(memoryview(data)[offset + _CHECKED : end]) == checksum
            if not whole or first != ordinal:
                break
            frames.add(first, offset, end, Put(arrival, records, of_data))
            offset, ordinal = end, first + records
        if offset < len(data):
            log.warning("%s: its last %d bytes are no whole put and are left out", self.path, len(data) - offset)
        return frames

    @property
    def next(self) -> int:
        frames = self.frames
        last = len(frames) - 1  # and not -1: the writer may be at it, and fills `ordinals` last
        return frames.ordinals[last] + frames.counts[last] if last >= 0 else self.first

    def entries(self, position: int) -> list[Entry]:
        """The records of a frame."""
        frames = self.frames
        start = frames.offsets[position] + _HEADER.size
        payload = os.pread(self.file.fileno(), frames.ends[position] - start, start)
        count, ordinal, arrival = frames.counts[position], frames.ordinals[position], frames.arrivals[position]
        lengths = struct.unpack_from(f"<{2 * count}I", payload)
        at, found = 8 * count, []
        for number in range(count):
            middle = at + lengths[2 * number]
            end = middle + lengths[2 * number + 1]
            found.append(Entry(ordinal + number, payload[at:middle], payload[middle:end], arrival))
            at = end
        return found


class Log:
    """The records of one shard; one writer at a time, any number of readers.

    Args:
        folder: Where the segments are; made at the first put.
        segment_bytes: A segment that has grown to this is followed by another.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder, self._segment_bytes = folder, segment_bytes
        files = sorted(folder.glob("*.log"), key=lambda file: int(file.stem)) if folder.is_dir() else []
        self._segments = [_Segment(file) for file in files]
        self._writing = threading.Lock()
        self._output = -1
        self._arrival = 0
        if self._segments:
            last = self._segments[-1]
            os.truncate(last.path, last.frames.end)
            self._arrival = last.frames.arrivals[-1] if len(last.frames) else 0

    @property
    def next(self) -> int:
        """The ordinal that the next record gets."""
        segments = self._segments
        return segments[-1].next if segments else 1

    @property
    def first(self) -> int:
        """The ordinal of the oldest record in the files, or `next`."""
        segments = self._segments
        return segments[0].first if segments else 1

    def append(self, records: Sequence[tuple[bytes, bytes]], now: float | None = None) -> int:
        """Add records, in one write.

        Args:
            records: Pairs of key and data, at least one.
            now: Seconds since the epoch; arrivals never fall.

        Returns:
            The ordinal of the first.

        Raises:
            OSError: Nothing was added.
        """
        with self._writing:
            segment = self._writable()
            self._arrival = max(self._arrival, int((time.time() if now is None else now) * 1000))
            parts = [part for record in records for part in record]
            lengths = [len(part) for part in parts]
            payload = struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(parts)
            put = Put(self._arrival, len(records), sum(lengths[1::2]))
            ordinal = segment.next
            header = _HEADER.pack(0, len(payload), ordinal, *put)
            checksum = zlib.crc32(payload, zlib.crc32(header[_CHECKED:]))
            frame = checksum.to_bytes(_CHECKED, "little") + header[_CHECKED:] + payload
            start = segment.frames.end
            self._write(frame, segment)
            segment.frames.add(ordinal, start, start + len(frame), put)
            return ordinal

    def _write(self, frame: bytes, segment: _Segment) -> None:
        rest = memoryview(frame)
        try:
            while rest:
                rest = rest[os.write(self._output, rest) :]
        except OSError:
            os.truncate(segment.path, segment.frames.end)
            raise

    def _writable(self) -> _Segment:
        if not self._segments or self._segments[-1].frames.end >= self._segment_bytes:
            self._roll()
        elif self._output < 0:
            self._output = os.open(self._segments[-1].path, os.O_WRONLY | os.O_APPEND)
        return self._segments[-1]

    def _roll(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.next:020}.log"
        output = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if self._output >= 0:
            os.close(self._output)
        self._output = output
        self._segments = [*self._segments, _Segment(file)]

    def close(self) -> None:
        """Let go of the file that is written; a later put opens it again."""
        with self._writing:
            if self._output >= 0:
                os.close(self._output)
            self._output = -1

    # -------------------------------------------------------------------------------------------------------- reading

    def read(self, start: int, limit: int, max_bytes: int) -> list[Entry]:
        """Records from an ordinal on.

        Args:
            start: The first that is wanted; those that are gone are passed over.
            limit: At most so many.
            max_bytes: Stop before keys and data outgrow this, though not before the first record.
        """
        found: list[Entry] = []
        size = 0
        for segment, position in self._frames_from(start):
            for entry in segment.entries(position):
                if entry.ordinal < start:
                    continue
                size += len(entry.key) + len(entry.data)
                if len(found) == limit or (found and size > max_bytes):
                    return found
                found.append(entry)
        return found

    def _frames_from(self, ordinal: int) -> Iterator[tuple[_Segment, int]]:
        segments = self._segments
        for index in range(
            max(bisect_right(segments, ordinal, key=lambda segment: segment.first) - 1, 0), len(segments)
        ):
            ordinals = segments[index].frames.ordinals
            for position in range(max(bisect_right(ordinals, ordinal) - 1, 0), len(ordinals)):
                yield segments[index], position

    def since(self, arrival: int) -> int:
        """The ordinal of the first record that arrived at or after a time (ms since the epoch), or `next`."""
        for segment in self._segments:
            frames = segment.frames
            if (position := frames.since(arrival)) < len(frames):
                return frames.ordinals[position]
        return self.next

    def puts(self, start: int, end: int) -> Iterator[Put]:
        """What was put from one time to before another (ms since the epoch), as far as it is kept."""
        for segment in self._segments:
            frames = segment.frames
            for position in range(frames.since(start), len(frames)):
                if frames.arrivals[position] >= end:
                    return
                yield Put(frames.arrivals[position], frames.counts[position], frames.sizes[position])

    # ------------------------------------------------------------------------------------------------------- trimming

    def trim(self, before: int) -> None:
        """Delete segments whose records have all an ordinal below `before`; `next` is not forgotten.

        When the last segment is wholly past, too, an empty one follows it, unless it is small.
        """
        with self._writing:
            if self._segments and self.next <= before and self._segments[-1].frames.end >= _WORTH_DELETING:
                self._roll()
            followed = zip(self._segments, self._segments[1:], strict=False)
            past = [segment for segment, following in followed if following.first <= before]
            self._segments = self._segments[len(past) :]
            for segment in past:
                segment.path.unlink(missing_ok=True)
