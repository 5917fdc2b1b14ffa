"""Keys as bytes that sort as DynamoDB sorts keys, so that a page of any query or scan is one range of a B-tree.

An encoded value never is the beginning of another one, so encoded values can follow each other: where an item is found
is its *place*: four bytes of a hash of its partition key (which spread partitions over segments of a scan, and hide any
order of partition keys, as in DynamoDB), then the partition key, then the sort key.
"""

import base64
import hashlib
from decimal import Decimal

from local.aws.dynamodb_values import Value, kind_of

_SLOT = 4
_LONGEST_PARTITION_KEY = 2048
EVERYTHING = (b"", b"\xff" * (_SLOT + _LONGEST_PARTITION_KEY + 1))

_NEGATIVE, _ZERO, _POSITIVE = b"\x00", b"\x01", b"\x02"
_EXPONENT_OFFSET = 130
_COMPLEMENT = bytes(range(255, -1, -1))


def place(partition: Value) -> bytes:
    """Where the items of a partition begin."""
    encoded = encode(partition)
    return hashlib.blake2b(encoded, digest_size=_SLOT).digest() + encoded


def encode(value: Value) -> bytes:
    """Encode a string, number or binary value.

    Returns:
        Bytes that sort as the values do.
    """
    kind = kind_of(value)
    if kind == "N":
        return _number(value["N"])
    return beginning(value) + b"\x00\x00"


def beginning(value: Value) -> bytes:
    """What the encodings of all strings (binaries) that begin with this one have in common."""
    data: bytes = value["S"].encode() if kind_of(value) == "S" else base64.b64decode(value["B"])
    return data.replace(b"\x00", b"\x00\xff")


def after(prefix: bytes) -> bytes:
    """The first bytes that are behind all those with this prefix."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1])


def segment(number: int, total: int) -> tuple[bytes, bytes]:
    """The range of places of one segment of a parallel scan.

    Args:
        number: Of the segment, from 0.
        total: How many segments there are.

    Returns:
        Its beginning, and its end, which doesn't belong to it.
    """
    bounds = [-(-(part << 8 * _SLOT) // total) for part in (number, number + 1)]
    low, high = (bound.to_bytes(_SLOT + 1, "big") for bound in bounds)
    return low[1:], EVERYTHING[1] if high[0] else high[1:]


def _number(text: str) -> bytes:
    sign, digits, exponent = Decimal(text).as_tuple()
    written = "".join(map(str, digits)).rstrip("0")
    if not written:
        return _ZERO
    magnitude = len(digits) - 1 + int(exponent)
    written += "0" * (len(written) % 2)
    pairs = [int(written[at : at + 2]) + 1 for at in range(0, len(written), 2)]
    body = bytes([magnitude + _EXPONENT_OFFSET, *pairs, 0])
    return _NEGATIVE + body.translate(_COMPLEMENT) if sign else _POSITIVE + body
