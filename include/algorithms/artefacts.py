"""Writes what a run found: Parquet for Athena, Excel for people, and last the run's report.

Everything is prepared in a scratch folder and published as a whole. The same tables give the same bytes: no file holds
the time of its writing.
"""

from __future__ import annotations

import json
import logging
import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from include.algorithms import headings, workbook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.algorithms.outcome import Outcome

log = logging.getLogger(__name__)

MAX_ROWS = 1_048_576
"""Rows of an Excel sheet, its header included."""
MAX_COLUMNS = 16_384


def write_tables(
    outcome: Outcome, folder: Path, stem: str, language: str, currency: str, notes: Mapping[str, Any]
) -> list[str]:
    """Writes every table of an outcome twice: for Athena, without the columns that are `report_only`, and for people.

    Args:
        outcome: what the product found.
        folder: an empty folder.
        stem: start of every file's name, `<report_date>_<client>`.
        language: of the headings: en, es or pt.
        currency: ISO 4217 code of the amounts.
        notes: name → value, shown in the workbooks' sheet of notes in front of parameters and exclusions.

    Returns:
        The files' names within the folder: `<artefact>/<stem>_<artefact>.parquet` and `<stem>_<artefact>.xlsx`, or
        `.csv` for a table that no sheet can hold.
    """
    names = []
    for artefact, table in outcome.tables.items():
        parquet = f"{artefact}/{stem}_{artefact}.parquet"
        (folder / artefact).mkdir(parents=True)
        table.drop(outcome.report_only, strict=False).write_parquet(folder / parquet, compression="zstd")
        if fits_a_sheet(table):
            sheet = f"{stem}_{artefact}.xlsx"
            workbook.write(table, artefact, folder / sheet, language, currency, notes)
        else:
            sheet = f"{stem}_{artefact}.csv"
            write_csv(table, folder / sheet, language)
        log.info("wrote %s: %s rows", artefact, f"{len(table):,}")
        names += [parquet, sheet]
    return names


def fits_a_sheet(table: pl.DataFrame) -> bool:
    """Whether an Excel sheet can hold the table and its header."""
    return table.height + 1 <= MAX_ROWS and table.width <= MAX_COLUMNS


def write_csv(table: pl.DataFrame, path: Path, language: str) -> None:
    """Writes a table as the CSV that Excel opens in the client's country: with `;` and decimal commas in es and pt.

    UTF-8 with its mark. A text that a spreadsheet would read as a formula gets an apostrophe in front.
    """
    is_formula = pl.col(pl.String).str.contains(r"^\s*[=+\-@\t\r]")
    safe = table.with_columns(
        pl.when(is_formula).then("'" + pl.col(pl.String)).otherwise(pl.col(pl.String)).name.keep()
    )
    comma = language != "en"
    safe.rename({name: headings.column(name, language) for name in table.columns}).write_csv(
        path, include_bom=True, separator=";" if comma else ",", decimal_comma=comma
    )


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Writes the run's report as JSON; what JSON cannot hold (not a number, infinity) becomes null."""
    path.write_text(json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"the run's report cannot hold a {type(value).__name__}: {value!r}")
