"""What every product hands back, and how it says that its input cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


class InputError(ValueError):
    """The input or a parameter cannot be used; the message names it and the fix.

    The command line prints the message on one line and exits with code 2, without a traceback.
    """


@dataclass(frozen=True)
class Outcome:
    """The result of one run of a product.

    Attributes:
        tables: artefact name → rows. Every artefact of the product is present, possibly empty, with its columns' types.
        excluded: reason (snake_case) → number of sale lines that were left out for it.
        facts: figures about the run that belong in its report (fitted parameters, sizes, metrics): JSON values only.
        reason: why tables are empty or a part was not computed; None when nothing is missing.
        report_only: columns that are for people: in the Excel or CSV files, not in the Parquet files.
    """

    tables: dict[str, pl.DataFrame]
    excluded: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    report_only: tuple[str, ...] = ()
