"""Records that nobody can use, made of good ones."""

import json
import re
from collections.abc import Callable
from typing import Any

type Poisoner = Callable[[int, bytes], tuple[str, bytes]]
"""Index and content of a record to a kind of poison and the spoilt content."""


def clicks(index: int, data: bytes) -> tuple[str, bytes]:
    """Spoils a click."""
    return _spoilt(_JSON | {"wrong type": lambda data: _with(data, custid="seventeen")}, index, data)


def orders(index: int, data: bytes) -> tuple[str, bytes]:
    """Spoils an order's line."""
    return _spoilt(_JSON | {"wrong type": lambda data: _with(data, Quantity="many")}, index, data)


def positions(index: int, data: bytes) -> tuple[str, bytes]:
    """Spoils a position."""
    return _spoilt(_JSON | {"no such place": lambda data: _with(data, latitude=99.5)}, index, data)


def web_logs(index: int, data: bytes) -> tuple[str, bytes]:
    """Spoils a log's line."""
    return _spoilt(_LINES, index, data)


def _spoilt(kinds: dict[str, Callable[[bytes], bytes]], index: int, data: bytes) -> tuple[str, bytes]:
    kind, spoil = list(kinds.items())[index % len(kinds)]
    return kind, spoil(data)


def _with(data: bytes, **values: Any) -> bytes:
    return json.dumps(json.loads(data) | values).encode()


def _without_first(data: bytes) -> bytes:
    fields = json.loads(data)
    del fields[next(iter(fields))]
    return json.dumps(fields).encode()


_JSON: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[: len(data) // 2],
    "not UTF-8": lambda data: data[:-1] + b"\xff\xfe",
    "missing field": _without_first,
    "not an object": lambda data: b"[" + data + b"]",
}
_LINES: dict[str, Callable[[bytes], bytes]] = {
    "bad quoting": lambda data: data.rstrip(b'"'),
    "missing fields": lambda data: data.partition(b"]")[0],
    "impossible date": lambda data: re.sub(rb"\[\d\d/\w+/", b"[31/Feb/", data, count=1),
    "not UTF-8": lambda data: data + b"\xff\xfe",
}
