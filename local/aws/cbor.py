"""CBOR (RFC 8949), as far as AWS's protocols write it: no half floats, no big numbers, times as tag 1."""

import struct
from collections.abc import Mapping
from typing import Any

_BREAK = object()
_EPOCH = 1  # the tag of a time


class Timestamp(float):
    """Seconds since the epoch: a time where a plain number would be just a number."""


def encode(value: Any, ticks: int | None = None) -> bytes:
    """Write a value.

    Args:
        value: Dictionaries, lists, text, bytes, numbers, booleans, None and :class:`Timestamp`.
        ticks: Write times as so many whole ticks per second; by default as seconds with a fraction.

    Raises:
        TypeError: A value is of another type.
    """
    out = bytearray()
    _write(out, value, ticks)
    return bytes(out)


def decode(data: bytes, ticks: int = 1) -> Any:
    """Read one value.

    Args:
        data: The whole of it.
        ticks: How many ticks of a time are a second.

    Raises:
        ValueError: The data end too early, or are of a kind that AWS's protocols don't use.
    """
    try:
        value, _ = _read(data, 0, ticks)
    except (IndexError, struct.error) as error:
        raise ValueError("the CBOR data end in the middle of a value") from error
    return value


def _write(out: bytearray, value: Any, ticks: int | None) -> None:
    if value is None or isinstance(value, bool):
        out.append({False: 0xF4, True: 0xF5, None: 0xF6}[value])
    elif isinstance(value, Timestamp):
        _head(out, 6, _EPOCH)
        _write(out, float(value) if ticks is None else round(value * ticks), None)
    elif isinstance(value, int):
        _head(out, 0 if value >= 0 else 1, value if value >= 0 else -1 - value)
    elif isinstance(value, float):
        out += b"\xfb" + struct.pack(">d", value)
    elif isinstance(value, str):
        data = value.encode()
        _head(out, 3, len(data))
        out += data
    elif isinstance(value, bytes):
        _head(out, 2, len(value))
        out += value
    elif isinstance(value, Mapping):
        _head(out, 5, len(value))
        for name, part in value.items():
            _write(out, name, ticks)
            _write(out, part, ticks)
    elif isinstance(value, list | tuple):
        _head(out, 4, len(value))
        for part in value:
            _write(out, part, ticks)
    else:
        raise TypeError(f"{type(value).__name__} cannot be written as CBOR")


def _head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for size, additional in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if argument < 1 << 8 * size:
            out.append(major << 5 | additional)
            out += argument.to_bytes(size, "big")
            return
    raise TypeError(f"{argument} is too large for CBOR's integers")


def _read(data: bytes, at: int, ticks: int) -> tuple[Any, int]:
    major, additional = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return _simple(data, at, additional)
    if additional == 31:
        return _unbounded(data, at, major, ticks)
    if additional > 27:
        raise ValueError(f"CBOR's additional information {additional} means nothing")
    argument = additional
    if additional >= 24:
        size = 1 << additional - 24
        argument = int.from_bytes(_piece(data, at, size))
        at += size
    if major in (0, 1):
        return (argument if major == 0 else -1 - argument), at
    if major in (2, 3):
        piece = _piece(data, at, argument)
        return (piece if major == 2 else piece.decode()), at + argument
    if major == 6:
        value, at = _read(data, at, ticks)
        return (Timestamp(value / ticks) if argument == _EPOCH else value), at
    parts = []
    for _ in range(argument * (2 if major == 5 else 1)):
        part, at = _read(data, at, ticks)
        parts.append(part)
    return (dict(zip(parts[::2], parts[1::2], strict=True)) if major == 5 else parts), at


def _piece(data: bytes, at: int, size: int) -> bytes:
    piece = data[at : at + size]
    if len(piece) < size:
        raise IndexError
    return piece


def _simple(data: bytes, at: int, additional: int) -> tuple[Any, int]:
    known = {20: False, 21: True, 22: None, 23: None, 31: _BREAK}
    if additional in known:
        return known[additional], at
    if additional == 26:
        return struct.unpack_from(">f", data, at)[0], at + 4
    if additional == 27:
        return struct.unpack_from(">d", data, at)[0], at + 8
    raise ValueError(f"CBOR's simple value {additional} is not used by AWS")


def _unbounded(data: bytes, at: int, major: int, ticks: int) -> tuple[Any, int]:
    parts = []
    while True:
        part, at = _read(data, at, ticks)
        if part is _BREAK:
            break
        parts.append(part)
    if major == 2:
        return b"".join(parts), at
    if major == 3:
        return "".join(parts), at
    if major == 4:
        return parts, at
    if major == 5:
        return dict(zip(parts[::2], parts[1::2], strict=True)), at
    raise ValueError(f"CBOR's major type {major} cannot be without a length")
