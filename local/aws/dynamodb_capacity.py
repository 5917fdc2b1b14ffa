"""Capacity: what a request consumed, and tables that are told to have too little of it."""

import random
from typing import Any

from local.aws.dynamodb_errors import ValidationError
from local.aws.dynamodb_tables import Table

_READ_UNIT, _WRITE_UNIT = 4096, 1024
_CHOICES = ("INDEXES", "TOTAL", "NONE")

# Seeded, so that a test that fails fails again; not regular, so that no pattern of retries keeps hitting the same turn.
_chance = random.Random(0)


def throttles(table: Table) -> bool:
    """Whether the next request (of a batch: its next item) is to be refused for want of throughput.

    A table does that to the share of requests in its tag ``local:throttled-share``, a number from 0 to 1; without the
    tag never. Provisioned throughput itself is not enforced.
    """
    return _chance.random() < table.throttled_share


def wanted(request: dict[str, Any]) -> bool:
    """Whether a request wants to know what it consumed.

    Raises:
        ValidationError: It says so in an unknown way.
    """
    choice = request.get("ReturnConsumedCapacity", "NONE")
    if choice not in _CHOICES:
        raise ValidationError(
            f"1 validation error detected: Value '{choice}' at 'returnConsumedCapacity' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(_CHOICES)}]"
        )
    return bool(choice != "NONE")


def read_units(size: int, consistent: bool) -> float:
    """Read capacity units of reading that many bytes."""
    return max(-(-size // _READ_UNIT), 1) * (1.0 if consistent else 0.5)


def write_units(size: int) -> float:
    """Write capacity units of writing an item of that many bytes, indexes apart."""
    return float(max(-(-size // _WRITE_UNIT), 1))


def consumed(request: dict[str, Any], table: str, units: float) -> dict[str, Any]:
    """``ConsumedCapacity`` of a table, as the request wants it. What indexes consume is not counted."""
    total = {"TableName": table, "CapacityUnits": units}
    return {**total, "Table": {"CapacityUnits": units}} if request["ReturnConsumedCapacity"] == "INDEXES" else total
