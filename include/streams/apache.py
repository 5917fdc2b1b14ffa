"""Apache's combined log format, one line at a time: `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`."""

import ipaddress
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

_LONGEST_ZONE_HOURS = 14
_LARGEST = 2**63 - 1

# Possessive: a line that doesn't match is given up after one pass, however many backslashes it has.
_QUOTED = r'"((?:[^"\\]++|\\.)*+)"'
_FIELDS: dict[str, str] = {
    "client": r"(\S+)",
    "ident": r"(\S+)",
    "user": r"(\S+)",
    "time": r"\[([^\]]*)\]",
    "request": _QUOTED,
    "status": r"(\S+)",
    "bytes": r"(\S+)",
    "referrer": _QUOTED,
    "agent": _QUOTED,
}
_LINE = re.compile(" ".join(_FIELDS.values()))
_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_REQUEST = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+)(?: (HTTP/\d(?:\.\d)?))?", re.ASCII)
_ESCAPE = re.compile(rb'\\(?:x([0-9a-fA-F]{2})|([\\"nrtbfv]))')
_ESCAPED = {b"\\": b"\\", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}


class LineError(ValueError):
    """A line that is not of the combined log format; the message names the field."""


@dataclass(frozen=True)
class Entry:
    """A request, as the server logged it.

    Attributes:
        client: IPv4 or IPv6 address, in its shortest form.
        ident: Of identd; null for "-".
        user: As authenticated; null for "-".
        time: The moment, in UTC.
        request: The request's first line where it is not HTTP (a scan, a TLS greeting on a plain port), else null;
            then method, path, query and protocol are null.
        method: GET, POST, …
        path: Up to the first "?".
        query: Behind it; null when there is none.
        protocol: HTTP/1.1, …; null for HTTP 0.9, which sent none.
        status: 100 to 599.
        bytes: Size of the body; null for "-", which stands for none (a 304).
        referrer: Null for "-".
        agent: Null for "-".
    """

    client: str
    ident: str | None
    user: str | None
    time: datetime
    request: str | None
    method: str | None
    path: str | None
    query: str | None
    protocol: str | None
    status: int
    bytes: int | None
    referrer: str | None
    agent: str | None

    def document(self) -> dict[str, Any]:
        """The entry as JSON has it; the moment is ``@timestamp``, ISO 8601 in UTC, and nulls are left out."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return {"@timestamp": fields.pop("time").strftime("%Y-%m-%dT%H:%M:%SZ"), **fields}


def parse(line: bytes) -> Entry:
    r"""Reads one line.

    Args:
        line: With or without its line end. Apache's escapes (``\"``, ``\xhh``) are undone.

    Raises:
        LineError: it isn't UTF-8, lacks a field, quotes wrongly, or has an impossible value.
    """
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise LineError(f"line: not UTF-8 at byte {error.start}") from error
    match = _LINE.fullmatch(text)
    if not match:
        raise LineError(_complaint(text))
    client, ident, user, time, request, status, size, referrer, agent = match.groups()
    method, path, query, protocol = _request(request)
    return Entry(
        client=_address(client),
        ident=_text(ident),
        user=_text(user),
        time=_moment(time),
        request=None if method else _text(request),
        method=method,
        path=path,
        query=query,
        protocol=protocol,
        status=_number("status", status, 100, 599),
        bytes=None if size == "-" else _number("bytes", size, 0, _LARGEST),
        referrer=_text(referrer),
        agent=_text(agent),
    )


def _complaint(text: str) -> str:
    """Which field is the first that isn't there."""
    position = 0
    for name, pattern in _FIELDS.items():
        match = re.compile(pattern).match(text, position)
        if not match:
            if position >= len(text):
                return f"{name}: missing, the line ends before it"
            what = {'"': "its quotes don't close", "[": "its brackets don't close"}.get(text[position])
            return f"{name}: {what or 'not in its form'} at column {position + 1}"
        position = match.end()
        if position < len(text) and text[position] != " ":
            return f"{name}: no space behind it at column {position + 1}"
        position += 1
    return f"line: goes on behind the agent at column {position}"


def _text(value: str) -> str | None:
    if value in ("-", ""):
        return None
    if "\\" not in value:
        return value
    raw = _ESCAPE.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else _ESCAPED[m[2]], value.encode())
    return raw.decode(errors="backslashreplace")


def _address(value: str) -> str:
    try:
        address = ipaddress.ip_address(value.partition("%")[0])  # behind it: an interface of the server
    except ValueError:
        raise LineError(f"client: {value!r} is no IPv4 or IPv6 address; set HostnameLookups Off") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _moment(value: str) -> datetime:
    match = _TIME.fullmatch(value)
    if not match or match[2] not in _MONTHS:
        raise LineError(f"time: {value!r} is not like 17/May/2015:10:05:03 +0000")
    day, year, hour, minute, second, zone_hours, zone_minutes = map(int, match.group(1, 3, 4, 5, 6, 8, 9))
    offset = timedelta(hours=zone_hours, minutes=zone_minutes) * (-1 if match[7] == "-" else 1)
    try:
        if zone_minutes > 59 or zone_hours > _LONGEST_ZONE_HOURS:
            raise ValueError("there is no such zone")
        return datetime(year, _MONTHS[match[2]], day, hour, minute, second, tzinfo=timezone(offset)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise LineError(f"time: {value!r} is impossible: {error}") from None


def _request(value: str) -> tuple[str | None, str | None, str | None, str | None]:
    match = _REQUEST.fullmatch(value)
    if not match:
        return None, None, None, None
    path, mark, query = match[2].partition("?")
    return match[1], _text(path), _text(query) or "" if mark else None, match[3]


def _number(field: str, value: str, smallest: int, largest: int) -> int:
    if not (value.isascii() and value.isdecimal()) or not smallest <= int(value) <= largest:
        raise LineError(f"{field}: {value!r} is not a whole number from {smallest} to {largest}")
    return int(value)
