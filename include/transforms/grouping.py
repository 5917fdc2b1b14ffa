"""Aggregates of groups, of the same types on every engine; Dask takes nothing but plain aggregations."""

from collections.abc import Mapping, Sequence

import narwhals as nw


def aggregated(
    rows: nw.LazyFrame, by: Sequence[str], aggregations: Sequence[nw.Expr], types: Mapping[str, nw.dtypes.DType]
) -> nw.LazyFrame:
    """Plain aggregations of each group, in columns of these types."""
    # As a cast of the frame, not of its columns: Dask's planner loses the keys in a join that follows a group-by of
    # many partitions with nothing but assignments between (KeyError in 2026.8).
    return rows.group_by(list(by)).agg(*aggregations).cast(types)


def counted(rows: nw.LazyFrame, by: Sequence[str], name: str) -> nw.LazyFrame:
    """The number of rows of each group."""
    return aggregated(rows, by, [nw.len().alias(name)], {name: nw.Int64()})


def summed(rows: nw.LazyFrame, by: Sequence[str], columns: Sequence[str]) -> nw.LazyFrame:
    """Sums of whole numbers of each group."""
    return aggregated(rows, by, [nw.col(*columns).sum()], dict.fromkeys(columns, nw.Int64()))
