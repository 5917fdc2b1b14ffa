import json
from datetime import date, datetime

import numpy as np
import openpyxl
import polars as pl
import pytest

from include.algorithms import artefacts, workbook
from include.algorithms.outcome import Outcome

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "http://example.com", "mailto:a@b.c", "{=1}"]
AWKWARD = ["", "a & b < c > d", "_x0041_", "bell\x07", " spaces ", "Maçã São João", "'quoted'", "日本"]

TABLE = pl.DataFrame(
    {
        "product_id": DANGEROUS,
        "product_name": AWKWARD,
        "position": [1, 2, 3, 4, 5, 6, 7, None],
        "support": [0.1, 1e-7, 1e20, -0.5, float("nan"), float("inf"), None, 0.0],
        "amount": [1.5, 2.0, -3.25, 0.0, 1e9, 0.1, 0.2, 0.3],
        "quantity": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        "units": [0.5] * 8,
        "sale_date": [datetime(2024, 2, 29, 13, 45, 30)] * 7 + [None],
        "first": [date(1999, 12, 31)] * 8,
        "is_anomaly": [True, False, None, True, True, True, True, True],
    },
    schema_overrides={"sale_date": pl.Datetime("us")},
)
NOTES = {"run": {"engine": "lcm", "reason": None}, "parameters": {"min_support": 5e-5}, "excluded": {"return": 1234}}


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "a.xlsx"
    workbook.write(TABLE, "mba_store", path, "pt", "BRL", NOTES)
    return openpyxl.load_workbook(path)


def test_a_workbook_holds_the_values_of_the_table(book):
    sheet = book["Plano de loja"]
    read = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    columns = dict(zip(TABLE.columns, map(list, zip(*read, strict=True)), strict=True))
    assert columns["product_id"] == DANGEROUS
    assert columns["product_name"][1:3] == ["a & b < c > d", "_x005F_x0041_"]  # the escape that Excel reads as _x0041_
    assert columns["product_name"][3:] == ["bell", *AWKWARD[4:]]
    assert columns["position"] == [1, 2, 3, 4, 5, 6, 7, None]
    assert columns["support"] == [0.1, 1e-7, 1e20, -0.5, None, None, None, 0.0]
    assert columns["amount"] == TABLE["amount"].to_list()
    assert columns["sale_date"] == TABLE["sale_date"].to_list()
    assert columns["first"][0] == datetime(1999, 12, 31)
    assert columns["is_anomaly"] == TABLE["is_anomaly"].to_list()


def test_text_never_becomes_a_formula_or_a_link(book):
    sheet = book["Plano de loja"]
    cells = [sheet.cell(row, 1) for row in range(2, 10)]
    # A formula would have the type "f"; openpyxl guesses one only for what it writes itself, never for inline text.
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr"}
    assert all(cell.hyperlink is None for cell in cells)


def test_a_workbook_is_dressed_in_the_clients_language_and_money(book):
    sheet = book["Plano de loja"]
    assert [cell.value for cell in sheet[1]][:6] == [
        "Produto",
        "Nome do produto",
        "Posição",
        "Suporte",
        "Valor",
        "Quantidade",
    ]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:J9"
    assert sheet.dimensions == "A1:J9"
    formats = {name: sheet.cell(2, i + 1).number_format for i, name in enumerate(TABLE.columns)}
    assert formats == {
        "product_id": "@",
        "product_name": "@",
        "position": "#,##0",
        "support": "0.00%",
        "amount": '"R$" #,##0.00',
        "quantity": "#,##0",
        "units": "#,##0.00",
        "sale_date": "dd/mm/yyyy hh:mm",
        "first": "dd/mm/yyyy",
        "is_anomaly": "@",
    }
    assert all(12 <= sheet.column_dimensions[letter].width <= 62 for letter in "ABCDEFGHIJ")
    notes = [[cell.value for cell in row] for row in book["Notas"].iter_rows()]
    assert ["Motor", "lcm"] in notes
    assert ["Suporte mínimo", "5e-05"] in notes
    assert ["Devolução ou sem quantidade", "1.234"] in notes
    assert ["Observação", "nenhum"] in notes


def test_an_empty_table_still_has_its_headings(tmp_path):
    workbook.write(TABLE.clear(), "mba_store", tmp_path / "a.xlsx", "en", "GBP", {})
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["Store plan"]
    assert [cell.value for cell in sheet[1]][:2] == ["Product", "Product name"]
    assert sheet.max_row == 1


def test_rows_are_written_in_parts_that_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "_ROWS_AT_A_TIME", 3)
    table = pl.DataFrame({"position": range(10), "product_id": [f"p{n}" for n in range(10)]})
    workbook.write(table, "mba_store", tmp_path / "a.xlsx", "en", "GBP", {})
    read = pl.read_excel(tmp_path / "a.xlsx", sheet_name="Store plan")
    assert read.rows() == table.rows()


def test_the_same_outcome_gives_the_same_bytes(tmp_path):
    names = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        names = artefacts.write_tables(Outcome({"mba_store": TABLE}), folder, "2024-03-01_a", "es", "EUR", NOTES)
    assert names == ["mba_store/2024-03-01_a_mba_store.parquet", "2024-03-01_a_mba_store.xlsx"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert pl.read_parquet(tmp_path / "one" / names[0]).equals(TABLE)


@pytest.mark.parametrize(
    ("height", "width", "fits"),
    [(1_048_575, 1, True), (1_048_576, 1, False), (1, 16_384, True), (1, 16_385, False)],
)
def test_excels_limits(height, width, fits):
    table = pl.DataFrame({f"c{n}": np.zeros(height, np.int8) for n in range(width)})
    assert artefacts.fits_a_sheet(table) is fits


def test_a_table_no_sheet_can_hold_becomes_csv(tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "MAX_ROWS", 8)
    names = artefacts.write_tables(Outcome({"mba_store": TABLE}), tmp_path, "2024-03-01_a", "pt", "BRL", NOTES)
    assert names[1] == "2024-03-01_a_mba_store.csv"
    text = (tmp_path / names[1]).read_text(encoding="utf-8-sig")
    assert text.splitlines()[0].startswith("Produto;Nome do produto;Posição;Suporte;Valor")
    assert "'=1+1;" in text
    assert ";1,5;" in text
    read = pl.read_csv(tmp_path / names[1], separator=";", decimal_comma=True, infer_schema=False)
    assert all(not value.lstrip().startswith(("=", "+", "-", "@")) for value in read["Produto"])


def test_the_report_is_plain_json(tmp_path):
    report = {
        "day": date(2024, 1, 2),
        "count": np.int64(3),
        "share": np.float32(0.5),
        "lost": float("nan"),
        "groups": ("a", "b"),
        "nested": {"x": [np.float64("inf")]},
    }
    artefacts.write_report(report, tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "day": "2024-01-02",
        "count": 3,
        "share": 0.5,
        "lost": None,
        "groups": ["a", "b"],
        "nested": {"x": [None]},
    }
    with pytest.raises(TypeError, match="cannot hold a object"):
        artefacts.write_report({"x": object()}, tmp_path / "run.json")
