"""Compares what a warehouse holds with what was published."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any


class LoadError(ValueError):
    """A warehouse holds something else than was published; the message lists every difference."""


def compare(load: Mapping[str, Any], totals: Sequence[Any]) -> None:
    """Raises LoadError unless the totals are those that the load expects.

    Args:
        load: label, rows, and money (column → amount as text).
        totals: rows, then the sum of each column of money, in its order.
    """
    rows, *sums = totals
    faults = []
    if int(rows) != load["rows"]:
        faults.append(f"{rows} rows instead of {load['rows']}")
    for (name, expected), found in zip(load["money"].items(), sums, strict=True):
        if Decimal(str(found or 0)) != Decimal(str(expected)):
            faults.append(f"Σ {name} = {found} instead of {expected}")
    if faults:
        raise LoadError(f"{load['label']}: {'; '.join(faults)}")


def record(results: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The values of the first row that the Redshift Data API returned for the first statement."""
    (row, *_) = results[0]["Records"]
    return [None if field.get("isNull") else next(iter(field.values())) for field in row]
