"""Source files to bronze: the columns of a table, typed where text is not meant, and the rows that could not be.

Bronze keeps every row of a source that can be read, sound or not, so that silver can judge it again with other rules.
"""

from typing import Any, NamedTuple

import narwhals as nw

from include.transforms.casting import present
from include.transforms.screening import Field, Table

PROVENANCE = ("source_file", "row_number", "load_time")
"""Where a row comes from: its file, its number among the file's rows from 1 on, and the moment the file landed, UTC."""
REASON = "reason"

_TYPED = "typed_"


class Bronze(NamedTuple):
    """What became of the rows of a source, in the frame's own type.

    Attributes:
        accepted: All columns of the table, null where the source lacks one, and `PROVENANCE`.
        rejected: The other rows: the same columns as text, `PROVENANCE`, and `reason`, joined by "; ".
    """

    accepted: Any
    rejected: Any


def missing(table: Table, columns: list[str]) -> list[str]:
    """The columns that a source of the table must have and that are not among these."""
    return [field.source for field in table.fields if not field.optional and field.source not in columns]


def typed(table: Table, raw: Any) -> Bronze:
    """Types the columns that are not text, and parts rows with a value that can't be read from the others.

    Whether a value is there, allowed or known is for silver to say.

    Args:
        table: What the rows are of.
        raw: Rows of a source with `PROVENANCE`, eager or lazy: narwhals frames of PyArrow, Polars or Spark. Columns
            that the table doesn't know are left out.

    Raises:
        TypeError: a column has a type that its kind can't be read from; the message names it.
    """
    raw = with_all_columns(table, raw)
    schema = raw.collect_schema()
    values = {field.source: _read(field, schema[field.source]) for field in table.fields}
    flagged = raw.with_columns(**{_TYPED + source: value for source, value in values.items()})
    unreadable = [
        (nw.col(_TYPED + field.source).is_null() & present(nw.col(field.source), schema[field.source]), field)
        for field in table.fields
        if field.kind.name
    ]
    provenance = [nw.col(column) for column in PROVENANCE]
    columns = [nw.col(_TYPED + field.source).alias(field.source) for field in table.fields]
    if not unreadable:
        nothing = flagged.filter(nw.col("row_number") < 0).with_columns(nw.lit("").alias(REASON))
        return Bronze(flagged.select(*columns, *provenance), as_text(table, nothing))
    broken = nw.any_horizontal(*(condition for condition, _ in unreadable), ignore_nulls=False)
    why = [
        nw.when(condition).then(nw.lit(f"{field.source} is not {field.kind.name}")) for condition, field in unreadable
    ]
    rejected = flagged.filter(broken).with_columns(nw.concat_str(why, separator="; ", ignore_nulls=True).alias(REASON))
    return Bronze(flagged.filter(~broken).select(*columns, *provenance), as_text(table, rejected))


def with_all_columns(table: Table, rows: Any) -> Any:
    """The rows with every column of the table; those that they lack are null, and text."""
    there = rows.collect_schema().names()
    lacking = [field.source for field in table.fields if field.source not in there]
    return rows.with_columns(**{column: nw.lit(None, dtype=nw.String) for column in lacking}) if lacking else rows


def as_text(table: Table, rejected: Any) -> Any:
    """Rejected rows, of bronze or of silver, as quarantine keeps them: the source's columns as text, and why."""
    rejected = with_all_columns(table, rejected)
    schema = rejected.collect_schema()
    columns = [_text(field.source, schema[field.source]).alias(field.source) for field in table.fields]
    return rejected.select(*columns, *PROVENANCE, REASON)


def _read(field: Field, dtype: Any) -> nw.Expr:
    column = nw.col(field.source)
    if not field.kind.name and dtype == nw.String:
        return column
    try:
        value = field.kind.read(column, dtype)
    except TypeError as error:
        raise TypeError(f"{field.source}: {error}") from None
    return value if field.kind.name else column.cast(nw.String)


def _text(name: str, dtype: Any) -> nw.Expr:
    if dtype == nw.Datetime:
        return nw.col(name).dt.to_string("%Y-%m-%d %H:%M:%S").str.slice(0, 19)  # PyArrow adds fractions
    return nw.col(name).cast(nw.String)
