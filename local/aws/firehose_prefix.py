"""Prefixes of delivered objects: text with expressions ``!{namespace:value}``."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from local.aws.rpc import ApiError, refused

BY_HOUR = "!{timestamp:yyyy/MM/dd/HH/}"
ERROR_TYPE = "error-output-type"
KEY_NAMESPACES = ("partitionKeyFromQuery", "partitionKeyFromLambda")

_EXPRESSION = re.compile(r"!\{([^:}]*):?([^}]*)\}")
_PATTERN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z'])")
_FIELDS = {
    "yyyy": "%Y",
    "yy": "%y",
    "MM": "%m",
    "MMM": "%b",
    "dd": "%d",
    "DDD": "%j",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
}


class Facts(NamedTuple):
    """What expressions are evaluated on.

    Attributes:
        moment: Arrival of the oldest record in the object, in seconds since the epoch.
        random: Of 11 letters and digits.
        error_type: Of an object with failed records.
        keys: Partition keys.
    """

    moment: float
    random: str
    error_type: str | None = None
    keys: Mapping[str, str] = {}


class Prefix:
    """A prefix that was checked.

    Args:
        text: As the user wrote it; without any expression the hour of arrival follows.
        field: The name of the parameter, for errors.
        zone: Of timestamps.

    Raises:
        ApiError: An expression is none of Firehose's, or is not done here.
    """

    def __init__(self, text: str, field: str, zone: tzinfo = UTC) -> None:
        if "!{" in _EXPRESSION.sub("", text):
            raise ApiError("InvalidArgumentException", f"{field}: an expression is not closed in {text!r}")
        self.text, self._zone = text if "!{" in text else text + BY_HOUR, zone
        self._expressions = [(found[1], found[2]) for found in _EXPRESSION.finditer(self.text)]
        for namespace, value in self._expressions:
            self._check(namespace, value, field)

    @staticmethod
    def _check(namespace: str, value: str, field: str) -> None:
        if namespace == "timestamp":
            strftime(value, field)
        elif namespace == "firehose":
            if value not in ("random-string", ERROR_TYPE):
                raise ApiError("InvalidArgumentException", f"{field}: !{{firehose:{value}}} means nothing")
        elif namespace not in KEY_NAMESPACES:
            raise ApiError("InvalidArgumentException", f"{field}: the namespace of !{{{namespace}:{value}}} is unknown")

    def values(self, namespace: str) -> set[str]:
        """What stands behind a namespace."""
        return {value for known, value in self._expressions if known == namespace}

    def render(self, facts: Facts) -> str:
        """The prefix of one object.

        Raises:
            KeyError: A partition key is missing.
        """
        moment = datetime.fromtimestamp(facts.moment, self._zone)

        def evaluate(found: re.Match[str]) -> str:
            if found[1] == "timestamp":
                return moment.strftime(strftime(found[2], "Prefix"))
            if found[1] == "firehose":
                return facts.random if found[2] == "random-string" else facts.error_type or ""
            return facts.keys[found[2]]

        return _EXPRESSION.sub(evaluate, self.text)


def strftime(pattern: str, field: str) -> str:
    """Python's form of a pattern of Java's DateTimeFormatter.

    Raises:
        ApiError: A letter is not done here.
    """
    result, position = [], 0
    while position < len(pattern):
        found = _PATTERN.match(pattern, position)
        if found is None:
            raise ApiError("InvalidArgumentException", f"{field}: a quote is not closed in !{{timestamp:{pattern}}}")
        if found[2]:
            if found[0] not in _FIELDS:
                raise refused(f"{field}: {found[0]} in !{{timestamp:{pattern}}}; there are {', '.join(_FIELDS)}")
            result.append(_FIELDS[found[0]])
        else:
            literal = "'" if found[0] == "''" else (found[3] or found[1].replace("''", "'"))
            result.append(literal.replace("%", "%%"))
        position = found.end()
    return "".join(result)
