"""The compression formats of Firehose. Equal input gives equal output, so that a repeated delivery changes nothing."""

import gzip
import io
import zipfile
from collections.abc import Callable

_SNAPPY_BLOCK = 1 << 16
_HADOOP_BLOCK = 1 << 18
_STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"


def _snappy(data: bytes) -> bytes:
    import pyarrow

    return pyarrow.compress(data, codec="snappy", asbytes=True)


def _framed_snappy(data: bytes) -> bytes:
    """Snappy's framing format (google/snappy, framing_format.txt)."""
    out = bytearray(_STREAM_IDENTIFIER)
    for start in range(0, len(data), _SNAPPY_BLOCK):
        block = data[start : start + _SNAPPY_BLOCK]
        checksum = _crc32c(block)
        masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
        chunk = masked.to_bytes(4, "little") + _snappy(block)
        out += b"\x00" + len(chunk).to_bytes(3, "little") + chunk
    return bytes(out)


def _hadoop_snappy(data: bytes) -> bytes:
    """Hadoop's block format: lengths before and after compression, big-endian, around each block."""
    out = bytearray()
    for start in range(0, len(data), _HADOOP_BLOCK):
        block = data[start : start + _HADOOP_BLOCK]
        compressed = _snappy(block)
        out += len(block).to_bytes(4, "big") + len(compressed).to_bytes(4, "big") + compressed
    return bytes(out)


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("records"), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table()


def _crc32c(data: bytes) -> int:
    value, table = 0xFFFFFFFF, _CRC32C
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


FORMATS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "UNCOMPRESSED": ("", lambda data: data),
    "GZIP": (".gz", lambda data: gzip.compress(data, compresslevel=6, mtime=0)),
    "ZIP": (".zip", _zip),
    "Snappy": (".snappy", _framed_snappy),
    "HADOOP_SNAPPY": (".hsnappy", _hadoop_snappy),
}
"""By name: the extension of objects, and what compresses them."""
