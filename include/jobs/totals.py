"""Counts and sums of frames, for the jobs' reports."""

from collections.abc import Sequence
from typing import Any

import narwhals as nw


def of(frame: nw.LazyFrame, money: Sequence[str] = ()) -> tuple[int, dict[str, str]]:
    """Number of rows, and the exact sum of each column of money, as text with two decimals."""
    (found,) = _rows(frame.select(nw.len().alias("rows"), *(nw.col(column).sum() for column in money)))
    return found["rows"], {column: f"{found[column] or 0:.2f}" for column in money}


def by(frame: nw.LazyFrame, column: str) -> dict[str, int]:
    """Number of rows of each value of a column, in the order of the values as text."""
    counts = _rows(frame.group_by(column).agg(nw.len().alias("rows")))
    return dict(sorted((str(count[column]), count["rows"]) for count in counts))


def _rows(frame: nw.LazyFrame) -> list[dict[str, Any]]:
    return frame.collect("pyarrow").to_native().to_pylist()
