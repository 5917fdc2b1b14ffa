"""Excel workbooks from tables, fast enough for a million rows."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell

from include.algorithms import headings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_TEXT = 32_767
"""Characters of an Excel cell."""

CURRENCY_SIGNS = {"BRL": "R$", "EUR": "€", "GBP": "£", "USD": "$"}

SHARES = {
    *("antecedent_support", "consequent_support", "support", "confidence"),
    *("p_alive", "cluster_share", "recall_at_10", "ndcg_at_10"),
}
MONEY = {"amount", "clv", "monetary", "expected_average_value"}
NEAR_ZERO = {"p_value", "q_value"}
FINE = {
    *("score", "z_score", "mean", "std", "threshold", "expected", "scale"),
    *("lift", "leverage", "conviction", "zhang"),
}
_ROWS_AT_A_TIME = 50_000


def write(
    table: pl.DataFrame, artefact: str, path: Path, language: str, currency: str, notes: Mapping[str, Any]
) -> None:
    """Writes a table as a workbook: a sheet of rows with a frozen, filtered header, and a sheet of notes.

    xlsxwriter makes the workbook; the rows are set into its first sheet as XML made column by column (`sheet_rows`),
    in a tenth of the time of writing cell by cell. Text stays text, whatever it starts with: nothing from the data
    becomes a formula or a link.

    Args:
        table: at most 1 048 575 rows and 16 384 columns.
        artefact: name of the table.
        path: the file to write.
        language: of the headings: en, es or pt.
        currency: ISO 4217 code of the amounts.
        notes: section → name → value, for the sheet of notes.
    """
    frame = io.BytesIO()
    with xlsxwriter.Workbook(frame, {"in_memory": True}) as book:
        # Without a date of its own the file would hold the clock's, and no two runs would be equal.
        book.set_properties({"created": datetime(2000, 1, 1), "title": headings.artefact(artefact, language)})
        header = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1, "bg_color": "#E8EEF4"})
        sheet = book.add_worksheet(headings.artefact(artefact, language)[:31])
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(table.height, 1), max(table.width - 1, 0))
        formats = [_number_format(table[name], language, currency) for name in table.columns]
        styles = {
            number_format: book.add_format({"num_format": number_format}) for number_format in dict.fromkeys(formats)
        }
        for index, name in enumerate(table.columns):
            title = headings.column(name, language)
            sheet.set_column(index, index, _width(table[name], title), styles[formats[index]])
            sheet.write_string(0, index, title, header)
        _write_notes(book, header, language, notes)
    last = xl_rowcol_to_cell(table.height, max(table.width - 1, 0))
    with zipfile.ZipFile(frame) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename != "xl/worksheets/sheet1.xml":
                target.writestr(member, content)
                continue
            content = re.sub(rb'<dimension ref="[^"]*"/>', f'<dimension ref="A1:{last}"/>'.encode(), content)
            before, end, after = content.partition(b"</sheetData>")
            # Zip files that need not be large are the ones every reader opens.
            may_be_huge = table.estimated_size() + 100 * table.height * table.width > 2**31
            rows_file = zipfile.ZipInfo(member.filename, member.date_time)
            rows_file.compress_type = zipfile.ZIP_DEFLATED
            with target.open(rows_file, "w", force_zip64=may_be_huge) as part:
                part.write(before)
                for start in range(0, table.height, _ROWS_AT_A_TIME):
                    rows = table.slice(start, _ROWS_AT_A_TIME)
                    part.write(sheet_rows(rows, start + 2, [styles[name].xf_index for name in formats]).encode())
                part.write(end + after)


def sheet_rows(table: pl.DataFrame, first: int, styles: Sequence[int]) -> str:
    """The rows as SpreadsheetML (ECMA-376, 18.3.1.73 `row`), nulls and what is no number as empty cells.

    Args:
        table: rows of text, numbers, booleans, dates and timestamps.
        first: the sheet's row of the first, from 1.
        styles: per column the index of its cell format in the workbook.
    """
    cells = []
    for index, (name, dtype) in enumerate(table.schema.items()):
        value, kind, before, after = pl.col(name), "", "<v>", "</v>"
        if dtype == pl.Boolean:
            value, kind = value.cast(pl.Int8).cast(pl.String), ' t="b"'
        elif dtype == pl.Date or isinstance(dtype, pl.Datetime):
            # Excel counts days from 30 December 1899.
            value = ((value.cast(pl.Datetime("us")) - datetime(1899, 12, 30)).dt.total_microseconds() / 86_400e6).cast(
                pl.String
            )
        elif dtype.is_numeric():
            value = value.cast(pl.Float64) if dtype.is_decimal() else value
            value = (
                pl.when(value.is_finite()).then(value.cast(pl.String)) if dtype.is_float() else value.cast(pl.String)
            )
        else:
            value, kind = _xml_text(value.cast(pl.String)), ' t="inlineStr"'
            before, after = '<is><t xml:space="preserve">', "</t></is>"
        opening = pl.format(f'<c r="{xl_col_to_name(index)}{{}}" s="{styles[index]}"{kind}>{before}', "row")
        cells.append(pl.concat_str(opening, value, pl.lit(f"{after}</c>")).fill_null(""))
    numbered = table.with_columns(row=pl.int_range(first, first + pl.len()))
    row = pl.concat_str(pl.format('<row r="{}">', "row"), *cells, pl.lit("</row>"))
    return numbered.select(row.str.join("")).item()


def _xml_text(text: pl.Expr) -> pl.Expr:
    # XML has no control characters, and Excel reads _x0041_ as an escaped A.
    clean = text.str.slice(0, MAX_TEXT).str.replace_all(r"[\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]", "")
    literal = clean.str.replace_all(r"_(x[0-9A-Fa-f]{4}_)", "_x005F_$1")
    return literal.str.replace_many(["&", "<", ">"], ["&amp;", "&lt;", "&gt;"])


def _write_notes(book: Any, header: Any, language: str, notes: Mapping[str, Any]) -> None:
    sheet = book.add_worksheet(headings.label("notes", language))
    sheet.set_column(0, 0, 44)
    sheet.set_column(1, 1, 80, book.add_format({"align": "left", "text_wrap": True}))
    line = 0
    for section, entries in notes.items():
        if entries:
            sheet.write_string(line, 0, headings.label(section, language), header)
            sheet.write_string(line, 1, "", header)
            for name, value in entries.items():
                line += 1
                sheet.write_string(line, 0, headings.note(section, name, language))
                sheet.write_string(line, 1, headings.value(value, language)[:MAX_TEXT])
            line += 2


def _number_format(values: pl.Series, language: str, currency: str) -> str:
    name, dtype = values.name, values.dtype
    date_format = "yyyy-mm-dd" if language == "en" else "dd/mm/yyyy"
    if dtype == pl.Date:
        return date_format
    if dtype.is_temporal():
        return f"{date_format} hh:mm"
    if not dtype.is_numeric():
        return "@"
    if name in MONEY:
        return f'"{CURRENCY_SIGNS.get(currency, currency)}" #,##0.00'
    if name in SHARES:
        return "0.00%"
    if name in NEAR_ZERO:
        return "0.00E+00"
    if name in FINE:
        return "#,##0.0000"
    return "#,##0" if dtype.is_integer() or bool((values == values.round()).all()) else "#,##0.00"


def _width(values: pl.Series, title: str) -> int:
    """A column's width in characters: of its longest value or its heading's longest word, within reason."""
    longest = max(map(len, title.split()))
    if values.dtype == pl.String and len(values):
        longest = max(longest, values.to_frame("text").select(pl.col("text").str.len_chars().max()).item() or 0)
    return min(max(longest + 3, 12), 60)
