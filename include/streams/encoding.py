"""Bytes that mean the same everywhere and for ever: what states, snapshots and identities are made of.

Equal things have equal bytes, whatever the order in which they came together.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

_LENGTH = struct.Struct(">I")


def canonical(value: Any) -> bytes:
    """JSON with sorted names, without spaces, in ASCII.

    Raises:
        ValueError: a number is infinite or not a number.
        TypeError: JSON has no such type.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def hash64(data: bytes) -> int:
    """An int in [0, 2**64) that stands for the bytes: blake2b of 8 bytes, big-endian."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def pack(parts: Iterable[bytes]) -> bytes:
    """The parts, each after its length (4 bytes, big-endian)."""
    return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))


def unpack(packed: bytes) -> Iterator[bytes]:
    """What `pack` put together.

    Raises:
        ValueError: the bytes end in the middle of a part.
    """
    place = 0
    while place < len(packed):
        start = place + _LENGTH.size
        if start > len(packed):
            raise ValueError(f"packed bytes end at {len(packed)} within a length: they were cut off")
        place = start + _LENGTH.unpack_from(packed, start - _LENGTH.size)[0]
        if place > len(packed):
            raise ValueError(f"packed bytes end at {len(packed)}, {place} are announced: they were cut off")
        yield packed[start:place]


def pack_ids(ids: Iterable[int]) -> bytes:
    """Identities, each 8 bytes big-endian, in ascending order.

    Raises:
        ValueError: one is no int in [0, 2**64).
    """
    ordered = sorted(ids)
    try:
        return struct.pack(f">{len(ordered)}Q", *ordered)
    except struct.error as error:
        raise ValueError("an identity must be an int in [0, 2**64), such as rules.identity gives") from error


def unpack_ids(packed: bytes) -> tuple[int, ...]:
    """What `pack_ids` put together.

    Raises:
        ValueError: the bytes end in the middle of an identity.
    """
    if len(packed) % 8:
        raise ValueError(f"{len(packed)} bytes are no whole number of identities of 8: they were cut off")
    return struct.unpack(f">{len(packed) // 8}Q", packed)
