"""Records of JSON, read field by field; what breaks the schema is named, with the fix.

    fields = Fields(record)
    url = fields.text("url")
    fields.no_others("a click")

Times are int microseconds since the epoch, UTC.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from include.streams.encoding import canonical, hash64

LONGEST_TEXT = 8_192
"""Bytes of a text. An item of DynamoDB has room for some such, not for what Kinesis lets pass."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1)  # Without a zone, as the times are.


EARLIEST, LATEST = 0, 32_503_680_000_000_000
"""What a record's time may be: from 1970 up to 3000, so that windows around it have times, too."""


class RecordError(ValueError):
    """A record that breaks the schema: poison.

    Attributes:
        field: the name of the field; "record" where it is the whole.
        reason: what is wrong, and what would be right.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


def identity(fields: Mapping[str, Any]) -> int:
    """Which event this is: an int in [0, 2**64), of all fields, whatever their order. Equal records are one event.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    return hash64(canonical(dict(fields)))


def micros(text: str) -> int:
    """Microseconds since the epoch of ISO 8601 text such as 2026-03-01T10:00:00.123456: UTC, without a zone.

    Raises:
        ValueError: the text is of another form, or no such time exists.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"is {text!r}: write UTC as 2026-03-01T10:00:00.123456, without a zone")
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def iso(time: int) -> str:
    """ISO 8601 text of microseconds since the epoch, always with six digits of a second."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds")


class Fields:
    """The fields of a record, UTF-8 JSON.

    Attributes:
        values: all of them, by name.

    Raises:
        RecordError: it is no JSON object, or has a name twice.
    """

    def __init__(self, record: bytes | str) -> None:
        self.values = _object(record)
        self._read: set[str] = set()

    def integer(self, name: str, values: range) -> int:
        """A field that must be there.

        Raises:
            RecordError: it is missing, or no integer of these.
        """
        value = self._present(name)
        if value.__class__ is not int or value not in values:
            raise RecordError(name, f"is {_shown(value)}: an integer from {values[0]} to {values[-1]} is expected")
        return value

    def number(self, name: str, least: float, most: float) -> float:
        """A field that must be there.

        Raises:
            RecordError: it is missing, or no number from the least to the most.
        """
        value = self._present(name)
        if value.__class__ not in (int, float) or not least <= value <= most:
            raise RecordError(name, f"is {_shown(value)}: a number from {least:g} to {most:g} is expected")
        return float(value)

    def flag(self, name: str) -> bool:
        """A field that must be there.

        Raises:
            RecordError: it is missing, or neither true nor false.
        """
        value = self._present(name)
        if value.__class__ is not bool:
            raise RecordError(name, f"is {_shown(value)}: true or false is expected")
        return bool(value)

    def text(self, name: str, longest: int = LONGEST_TEXT, empty: bool = False) -> str:
        """A field that must be there.

        Args:
            name: of the field.
            longest: bytes that it may have.
            empty: whether "" will do.

        Raises:
            RecordError: it is missing, or no such text.
        """
        value = self._present(name)
        if value.__class__ is not str or not (value or empty):
            raise RecordError(name, f"is {_shown(value)}: text{'' if empty else ' that is not empty'} is expected")
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError as error:  # JSON can spell half of a pair, which no store of ours takes.
            raise RecordError(name, f"has half a surrogate pair at {error.start}: write whole characters") from error
        if size > longest:
            raise RecordError(name, f"has {size:,} bytes of UTF-8: {longest:,} at most are expected")
        return value

    def time(self, name: str) -> int:
        """A field that must be there: UTC, ISO 8601, in microseconds since the epoch.

        Raises:
            RecordError: it is missing, or no such time.
        """
        value = self.text(name)
        try:
            time = micros(value)
        except ValueError as error:
            reason = str(error) if str(error).startswith("is ") else f"is {value!r}: no such time exists ({error})"
            raise RecordError(name, reason) from error
        if not EARLIEST <= time < LATEST:
            raise RecordError(name, f"is {value!r}: a time from {iso(EARLIEST)} to {iso(LATEST)} is expected")
        return time

    def has(self, name: str) -> bool:
        """Whether there is such a field; null is one."""
        return name in self.values

    def no_others(self, what: str) -> None:
        """Says that the schema ends with the fields that have been read.

        Raises:
            RecordError: there is another one.
        """
        if unknown := self.values.keys() - self._read:
            raise RecordError(min(unknown), f"is not a field of {what}: remove it, or add it to the schema")

    def _present(self, name: str) -> Any:
        self._read.add(name)
        value = self.values.get(name)
        if value is None:
            raise RecordError(name, "is null: give it a value" if name in self.values else "is missing: add it")
        return value


def _object(record: bytes | str) -> dict[str, Any]:
    try:
        fields = json.loads(record.decode() if isinstance(record, bytes) else record, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise RecordError("record", f"is not UTF-8 at byte {error.start}: encode it so") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError("record", f"is not JSON ({error}): write one JSON object") from error
    except RecordError:
        raise
    except ValueError as error:  # A number of thousands of digits.
        raise RecordError("record", f"is not usable JSON ({error}): write one JSON object") from error
    if not isinstance(fields, dict):
        raise RecordError("record", f"is a JSON {type(fields).__name__}: write one JSON object")
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise RecordError(next(name for name in names if names.count(name) > 1), "is there twice: write it once")
    return fields


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
