"""What a shard can take, for tests of producers' retries: by default as much as comes.

``VITRINE_KINESIS_SHARD_LIMIT=1000`` gives every shard the limit that AWS gives it, 1 000 records and 1 MiB per second;
another number of records scales both.
"""

import os
import time

LIMIT = "VITRINE_KINESIS_SHARD_LIMIT"
_BYTES_PER_RECORD = (1 << 20) / 1000


class Throughput:
    """A token bucket that holds what one second allows.

    Args:
        limit: Records per second; None for no limit.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._records = self._bytes = 0.0
        self._filled = float("-inf")

    def take(self, size: int, now: float | None = None) -> bool:
        """Whether a record still fits; if so, it is counted.

        Args:
            size: Bytes of key and data.
            now: Seconds on a clock that only goes forward.
        """
        if self._limit is None:
            return True
        now = time.monotonic() if now is None else now
        fill = min(now - self._filled, 1.0) * self._limit
        self._filled = now
        self._records = min(self._records + fill, self._limit)
        self._bytes = min(self._bytes + fill * _BYTES_PER_RECORD, self._limit * _BYTES_PER_RECORD)
        if self._records < 1 or self._bytes < size:
            return False
        self._records -= 1
        self._bytes -= size
        return True


def limit(variable: str = LIMIT) -> float | None:
    """The limit that the environment asks for.

    Raises:
        ValueError: It is not a positive number.
    """
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ValueError(f"{variable}={text}: write records per second of one shard, e.g. 1000, or leave it unset")
    return value
