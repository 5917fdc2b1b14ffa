"""Writing to CloudWatch Logs from inside the local stack."""

import codecs
import io
import threading
import time
from collections.abc import Iterable, Iterator

from moto.logs.models import LogsBackend, logs_backends

from local.aws.settings import ACCOUNT, REGION

# CloudWatch takes events of 256 KiB and counts 26 bytes of each as its own.
EVENT_BYTES = 256 * 1024 - 26

# moto looks a group up and creates it in two steps; two threads doing so would lose one of the groups.
_creating = threading.Lock()


class LogStream:
    """One stream of a log group, both created when missing.

    One writer at a time; readers see the events at once, in the order of writing.
    """

    def __init__(self, group: str, name: str, region: str = REGION) -> None:
        self.group, self.name = group, name
        self._backend = _backend(region)
        self._latest = 0
        with _creating:
            self._backend.ensure_log_group(group)
            self._backend.ensure_log_stream(group, name)

    def write(self, lines: Iterable[str]) -> None:
        """Append one event per line.

        Args:
            lines: Without line ends. A line over CloudWatch's limit becomes several events, an empty one none.
        """
        # Readers sort by time: a clock that is set back must not change the order.
        self._latest = max(self._latest, int(time.time() * 1000))
        events = [{"timestamp": self._latest, "message": piece} for line in lines if line for piece in pieces(line)]
        if events:
            self._backend.put_log_events(self.group, self.name, events)


def group_exists(group: str, region: str = REGION) -> bool:
    """Whether a log group was created."""
    return group in _backend(region).groups


class Lines:
    r"""Turns the bytes of a process's output into lines, as they come.

    ``\n``, ``\r\n`` and a lone ``\r`` (a progress bar) end a line; bytes that are not UTF-8 become U+FFFD; a line that
    outgrows an event is handed out in pieces before its end is known.
    """

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._unfinished = ""

    def feed(self, output: bytes, final: bool = False) -> list[str]:
        """Take more output.

        Args:
            output: The next bytes, cut anywhere.
            final: Nothing follows: hand out the last line though no line end came.

        Returns:
            The lines that are complete now.
        """
        *lines, rest = (self._unfinished + self._decoder.decode(output, final)).split("\n")
        *full, self._unfinished = pieces(rest)
        lines += full
        if final and self._unfinished:
            lines.append(self._unfinished)
            self._unfinished = ""
        return lines


def pieces(line: str) -> Iterator[str]:
    """Cut a line into parts that fit into one event each, never through a character.

    Yields:
        Non-empty parts, which joined are the line; the empty line as one empty part.
    """
    if len(line) * 4 <= EVENT_BYTES:
        yield line
        return
    encoded = line.encode()
    start = 0
    while len(encoded) - start > EVENT_BYTES:
        end = start + EVENT_BYTES
        while encoded[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        yield encoded[start:end].decode()
        start = end
    yield encoded[start:].decode()


def _backend(region: str) -> LogsBackend:
    return logs_backends[ACCOUNT][region]
