"""Whether rows add up from raw to the refined tables, as rows of the table `quality`."""

from collections.abc import Mapping
from typing import Any

from include.lakehouse.quality import Measured, QualityError
from include.streams_lake.streams import Stream


def rows(
    stream: Stream,
    loaded: Mapping[str, Any] | None,
    refined: Mapping[str, Any] | None,
    expected: int,
    warnings: Mapping[str, str],
) -> list[Measured]:
    """A row for each table that a run wrote.

    Args:
        stream: the stream.
        loaded: what the job said of bronze; None where it did not run.
        refined: what it said of the refined tables; None where it did not run.
        expected: rows that bronze has of the event hours that were refined.
        warnings: table → what its audit warned of.
    """
    return [*_bronze(stream, loaded, warnings), *_refined(stream, refined, expected, warnings)]


def _bronze(stream: Stream, loaded: Mapping[str, Any] | None, warnings: Mapping[str, str]) -> list[Measured]:
    if not loaded:
        return []
    counts = ("rows_in", "rows", "rejected", "duplicates")
    taken, out, rejected, duplicates = (sum(hour[count] for hour in loaded["hours"]) for count in counts)
    complete = taken == out + rejected + duplicates
    return [Measured("bronze", stream.bronze, taken, out, rejected, None, complete, warnings.get(stream.bronze))]


def _refined(
    stream: Stream, refined: Mapping[str, Any] | None, expected: int, warnings: Mapping[str, str]
) -> list[Measured]:
    if not refined:
        return []
    found = []
    for name, made in refined["tables"].items():
        is_anchor = name == stream.anchor
        taken = refined["rows_in"] if is_anchor else None
        # What is summed up is compared with the anchor by the checks of its contract.
        complete = not is_anchor or taken == expected == made["rows_out"] + refined["duplicates"]
        found.append(Measured(made["layer"], name, taken, made["rows_out"], 0, None, complete, warnings.get(name)))
    return found


def require_every_row(measured: list[Measured]) -> None:
    """Raises QualityError when rows went missing between two tables; the message says where and how many."""
    lost = [row for row in measured if not row.reconciled]
    if lost:
        raise QualityError(
            "; ".join(
                f"{row.layer} {row.table_name}: {row.rows_in} rows came in, {row.rows_out} went out, "
                f"{row.rejected} were rejected"
                for row in lost
            )
        )
