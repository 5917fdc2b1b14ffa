import gzip
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from include.clients import contract
from include.clients.contract import Contract
from local.sales_file import FileError, read

HEADER = "item,name,sold,units,price,buyer,shop"
FIRST = "85123A,Lampião,01/12/2010 08:26,6,2.55,17850,Rio"
ROW = ("85123A", "Lampião", datetime(2010, 12, 1, 8, 26), 6, Decimal("2.5500"), 17850, "Rio")
CONTRACT = """\
client: shop
title: A shop
language: pt
currency: BRL
source:
  database: RETAIL
  schema: SHOP
  view: SALES
  decimal_separator: "."
  columns:
    item: {type: string}
    name: {type: string, required: false}
    sold: {type: timestamp, formats: ["%d/%m/%Y %H:%M", "%d/%m/%y"]}
    units: {type: integer}
    price: {type: decimal}
    buyer: {type: integer, required: false}
    shop: {type: string, required: false}
roles: {product_id: item, product_name: name, product_group: item, sale_date: sold, quantity: units, order_id: item,
  amount: units * price, customer_id: buyer, store: shop, anomaly_group: item}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Contract:
    return contracted(tmp_path)


def contracted(folder: Path, old: str = "", new: str = "") -> Contract:
    (folder / "shop.yaml").write_text(CONTRACT.replace(old, new) if old else CONTRACT, encoding="utf-8")
    return contract.load("shop", folder)


def sales_csv(folder: Path, *lines: str, name: str = "sales.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def error(path: Path, shop: Contract) -> str:
    with pytest.raises(FileError) as caught:
        read(path, shop)
    return str(caught.value)


def test_columns_types_and_order_are_the_contracts(tmp_path: Path, shop: Contract) -> None:
    path = sales_csv(
        tmp_path, "shop,buyer,price,units,sold,name,item", "Rio,17850,2.55,6,01/12/2010 08:26,Lampião,85123A"
    )
    file = read(path, shop)
    assert file.frame.rows() == [ROW]
    assert file.frame.schema == {
        "item": pl.String,
        "name": pl.String,
        "sold": pl.Datetime("us"),
        "units": pl.Int64,
        "price": pl.Decimal(18, 4),
        "buyer": pl.Int64,
        "shop": pl.String,
    }
    assert file.notes == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, shop: Contract, delimiter: str) -> None:
    path = sales_csv(tmp_path, *(line.replace(",", delimiter) for line in (HEADER, FIRST)))
    assert read(path, shop).frame.rows() == [ROW]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_encodings(tmp_path: Path, shop: Contract, encoding: str) -> None:
    file = read(sales_csv(tmp_path, HEADER, FIRST, encoding=encoding), shop)
    assert file.frame.rows() == [ROW]
    assert file.notes == []


def test_latin_1_is_read_with_a_note(tmp_path: Path, shop: Contract) -> None:
    file = read(sales_csv(tmp_path, HEADER, FIRST, encoding="latin-1"), shop)
    assert file.frame.rows() == [ROW]
    assert file.notes == ["read as Windows-1252, because it isn't UTF-8"]


def test_gzip(tmp_path: Path, shop: Contract) -> None:
    path = tmp_path / "sales.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{FIRST}\n".encode()))
    assert read(path, shop).frame.rows() == [ROW]


def test_names_are_matched_without_case_but_exactly_first(tmp_path: Path, shop: Contract) -> None:
    assert read(sales_csv(tmp_path, HEADER.upper(), FIRST), shop).frame.rows() == [ROW]
    both = read(sales_csv(tmp_path, f"ITEM,{HEADER}", f"other,{FIRST}"), shop)
    assert both.frame.rows() == [ROW]
    ambiguous = error(sales_csv(tmp_path, f"ITEM,Item,{HEADER[5:]}", f"x,{FIRST}"), shop)
    assert "column 'item' could be any of ITEM, Item" in ambiguous


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("01/12/2010 08:26", datetime(2010, 12, 1, 8, 26)),
        ("1/12/2010 8:26", datetime(2010, 12, 1, 8, 26)),
        ("01/12/10", datetime(2010, 12, 1)),
        ("2010-12-01", datetime(2010, 12, 1)),
        ("2010-12-01 08:26", datetime(2010, 12, 1, 8, 26)),
        ("2010-12-01T08:26:05", datetime(2010, 12, 1, 8, 26, 5)),
        ("2010-12-01 08:26:05.250", datetime(2010, 12, 1, 8, 26, 5, 250_000)),
    ],
)
def test_dates(tmp_path: Path, shop: Contract, text: str, moment: datetime) -> None:
    path = sales_csv(tmp_path, HEADER, FIRST.replace("01/12/2010 08:26", text), FIRST)
    assert read(path, shop).frame["sold"].to_list() == [moment, ROW[2]]


def test_a_date_column_takes_moments(tmp_path: Path) -> None:
    shop = contracted(tmp_path, "sold: {type: timestamp", "sold: {type: date")
    assert read(sales_csv(tmp_path, HEADER, FIRST), shop).frame["sold"].to_list() == [date(2010, 12, 1)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2.55", "2.55"), ("2", "2"), (".5", "0.5"), ("-1,234.50", "-1234.5"), ("1e-3", "0.001"), (" 7 ", "7")],
)
def test_decimals(tmp_path: Path, shop: Contract, text: str, value: str) -> None:
    path = sales_csv(tmp_path, HEADER, FIRST.replace("2.55", f'"{text}"'))
    assert read(path, shop).frame["price"].to_list() == [Decimal(value)]


@pytest.mark.parametrize(("text", "value"), [("2,55", "2.55"), ("2", "2"), ("-1.234,50", "-1234.5"), (",5", "0.5")])
def test_decimal_comma(tmp_path: Path, text: str, value: str) -> None:
    shop = contracted(tmp_path, 'decimal_separator: "."', 'decimal_separator: ","')
    path = sales_csv(tmp_path, HEADER.replace(",", ";"), FIRST.replace(",", ";").replace("2.55", text))
    assert read(path, shop).frame["price"].to_list() == [Decimal(value)]


def test_empty_values_are_null_where_they_may_be(tmp_path: Path, shop: Contract) -> None:
    file = read(sales_csv(tmp_path, HEADER, "85123A,,01/12/2010 08:26,,,,"), shop)
    assert file.frame.rows() == [("85123A", None, ROW[2], None, None, None, None)]


def test_an_optional_column_may_be_missing_and_others_are_ignored(tmp_path: Path, shop: Contract) -> None:
    file = read(sales_csv(tmp_path, HEADER.replace("shop", "colour"), FIRST), shop)
    assert file.frame.rows() == [(*ROW[:-1], None)]
    assert file.notes == [
        f"column shop is missing: it is null, as {tmp_path}/shop.yaml:17 allows",
        "columns that the contract doesn't have are ignored: colour",
    ]


def test_empty_lines_are_skipped_with_a_note(tmp_path: Path, shop: Contract) -> None:
    file = read(sales_csv(tmp_path, HEADER, "", FIRST, "", ",,,,,,", ""), shop)
    assert file.frame.rows() == [ROW]
    assert file.notes == ["empty lines are skipped: 3"]


def test_a_missing_column_names_file_the_nearest_name_and_the_line_to_change(tmp_path: Path, shop: Contract) -> None:
    path = sales_csv(tmp_path, HEADER.replace("units", "unit"), FIRST)
    assert error(path, shop).splitlines() == [
        f"{path}: no column 'units'; did you mean 'unit'? ({tmp_path}/shop.yaml:14)",
        "the file has the columns item, name, sold, unit, price, buyer, shop",
    ]


def test_wrong_values_name_file_line_column_value_and_contract(tmp_path: Path, shop: Contract) -> None:
    path = sales_csv(
        tmp_path,
        HEADER,
        FIRST,
        'x,"two',
        'lines",13/13/2010 08:26,six,"2,5",1.5,Rio',
        "",
        "x,y,,1,9e99,17850,Rio",
    )
    where = f"{tmp_path}/shop.yaml"
    formats = "%d/%m/%Y %H:%M or %d/%m/%y or ISO 8601"
    assert error(path, shop).splitlines() == [
        f"{path}: 6 values don't fit the contract of shop:",
        f"{path}, line 3, column 'sold': '13/13/2010 08:26' is not a timestamp in the format {formats} ({where}:13)",
        f"{path}, line 3, column 'units': 'six' is not an integer ({where}:14)",
        f"{path}, line 3, column 'price': '2,5' has another decimal separator than '.' ({where}:9)",
        f"{path}, line 3, column 'buyer': '1.5' is not an integer ({where}:16)",
        f"{path}, line 6, column 'sold': no timestamp ({where}:13)",
        f"{path}, line 6, column 'price': '9e99' is not a decimal ({where}:15)",
    ]


def test_the_whole_file_is_checked_and_the_first_ten_problems_are_listed(tmp_path: Path, shop: Contract) -> None:
    bad = FIRST.replace(",6,", ",six,")
    path = sales_csv(tmp_path, HEADER, *([FIRST] * 20_000), *([bad] * 1_234))
    message = error(path, shop).splitlines()
    assert message[0] == f"{path}: 1,234 values don't fit the contract of shop; the first 10 are:"
    assert [line.split(",")[1] for line in message[1:]] == [f" line {20_002 + i}" for i in range(10)]


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("1,000", "units"),  # a thousand, or one? Nobody can tell
        ("1.5", "units"),
        ("99999999999999999999", "units"),
        ("1.234.567", "price"),
        ("R$ 2.55", "price"),
        ("nan", "price"),
        ("1e15", "price"),
        ("31/02/2010 08:26", "sold"),
        ("01/12/0010 08:26", "sold"),
        ("01/12/2010 08:26:00 BRT", "sold"),
    ],
)
def test_values_that_could_be_misread_are_refused(tmp_path: Path, shop: Contract, value: str, column: str) -> None:
    names, values = HEADER.split(","), FIRST.split(",")
    values[names.index(column)] = f'"{value}"'
    message = error(sales_csv(tmp_path, HEADER, ",".join(values)), shop)
    assert f"line 2, column '{column}': '{value}'" in message
    assert "1 value doesn't fit" in message


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([""], ": empty"),
        (["", " ", ""], ": empty"),
        ([HEADER], ": empty: it has a header and no rows"),
        ([HEADER, ",,,,,,"], ": empty: all of its 1 rows are"),
        ([HEADER, FIRST, FIRST + ",1,2"], ", line 3: 9 fields, the header has 7"),
        ([HEADER, FIRST, FIRST.replace("Lampião", '"a" b')], ", line 3: not well-formed CSV"),
        ([HEADER + ",item", FIRST + ",x"], ", line 1: column 'item' is there 2 times"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, shop: Contract, lines: list[str], says: str) -> None:
    path = sales_csv(tmp_path, *lines)
    assert error(path, shop).startswith(f"{path}{says}")


def test_files_that_are_not_what_they_are_called(tmp_path: Path, shop: Contract) -> None:
    assert "no such file" in error(tmp_path / "none.csv", shop)
    assert "no such file" in error(tmp_path, shop)
    for name, says in (
        ("sales.parquet", "not a Parquet file"),
        ("sales.xlsx", "not an Excel file"),
        ("sales.pdf", "unknown kind of file '.pdf': it can be .csv"),
        ("sales.csv.gz", "not gzip"),
    ):
        path = sales_csv(tmp_path, "nonsense", name=name) if name != "sales.csv.gz" else broken_gzip(tmp_path)
        assert says in error(path, shop)


def broken_gzip(folder: Path) -> Path:
    path = folder / "sales.csv.gz"
    path.write_bytes(gzip.compress(b"item,units\n" * 100)[:-20])
    return path


def test_utf_16_of_an_odd_length(tmp_path: Path, shop: Contract) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes(f"{HEADER}\n{FIRST}".encode("utf-16")[:-1])
    assert error(path, shop).startswith(f"{path}: it begins as UTF-16 does, but isn't: ")


def test_gzip_damaged_inside(tmp_path: Path, shop: Contract) -> None:
    path = tmp_path / "sales.csv.gz"
    packed = bytearray(gzip.compress(f"{HEADER}\n{FIRST}\n".encode() * 50))
    packed[10] = 0xFF  # the first byte of the body: no such kind of block
    path.write_bytes(packed)
    assert error(path, shop).startswith(f"{path}: not gzip, damaged or cut off: ")


@pytest.mark.parametrize("wrong", [FIRST.replace(",6,", ",six,"), FIRST + ",1"])
def test_a_long_field_beside_something_wrong(tmp_path: Path, shop: Contract, wrong: str) -> None:
    path = sales_csv(tmp_path, HEADER, FIRST.replace("Lampião", "L" * 200_000), wrong)
    assert f"{path}, line 3" in error(path, shop)


def test_parquet(tmp_path: Path, shop: Contract) -> None:
    """The types pandas leaves: whole numbers as floats where some are missing, times in ns, decimals."""
    frame = pl.DataFrame(
        {
            "item": [85123.0, 71053.0],
            "name": ["Lampião", None],
            "sold": pl.Series([datetime(2010, 12, 1, 8, 26)] * 2).dt.cast_time_unit("ns"),
            "units": [6.0, None],
            "price": pl.Series(["2.55", "3"]).cast(pl.Decimal(10, 2)),
            "buyer": [17850.0, None],
            "shop": pl.Series(["Rio", "Rio"], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "sales.parquet")
    assert read(tmp_path / "sales.parquet", shop).frame.rows() == [
        ("85123", "Lampião", datetime(2010, 12, 1, 8, 26), 6, Decimal("2.55"), 17850, "Rio"),
        ("71053", None, datetime(2010, 12, 1, 8, 26), None, Decimal("3"), None, "Rio"),
    ]


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("sold", [40513, 40514], "row 1, column 'sold': '40513' is not a timestamp"),
        ("units", [6.0, 6.5], "row 2, column 'units': '6.5' is not an integer"),
        ("units", [True, False], "row 1, column 'units': 'True' is not an integer"),
        ("price", [2.5, float("inf")], "row 2, column 'price': 'inf' is not a decimal"),
        ("item", [["a"], ["b"]], "row 1, column 'item': \"['a']\" is not a string"),
    ],
)
def test_parquet_of_other_types(tmp_path: Path, shop: Contract, column: str, values: list[object], says: str) -> None:
    frame = pl.DataFrame([ROW] * 2, schema=HEADER.split(","), orient="row").with_columns(pl.Series(column, values))
    frame.write_parquet(tmp_path / "sales.parquet")
    assert says in error(tmp_path / "sales.parquet", shop)


def workbook(folder: Path, *rows: tuple[object, ...]) -> Path:
    book = openpyxl.Workbook()
    for row in (tuple(HEADER.split(",")), *rows):
        book.active.append(row)
    book.save(folder / "sales.xlsx")
    return folder / "sales.xlsx"


@pytest.mark.parametrize("separator", [".", ","])
def test_excel(tmp_path: Path, separator: str) -> None:
    shop = contracted(tmp_path, 'decimal_separator: "."', f'decimal_separator: "{separator}"')
    moment = datetime(2010, 12, 1, 8, 26)
    path = workbook(
        tmp_path,
        ("85123A", "Lampião", moment, 6, 2.55, 17850, "Rio"),
        (71053, None, "01/12/2010 08:26", 6.0, 3, None, "Rio"),
    )
    assert read(path, shop).frame.rows() == [
        ROW,
        ("71053", None, moment, 6, Decimal("3"), None, "Rio"),
    ]


def test_excel_names_the_row_as_excel_does(tmp_path: Path, shop: Contract) -> None:
    path = workbook(tmp_path, ROW, (None,) * 7, ("x", "y", "someday", 1, 1, 1, "Rio"))
    assert f"{path}, row 4, column 'sold': 'someday' is not a timestamp" in error(path, shop)


def test_the_published_online_retail_file() -> None:
    path = contract.ROOT.parent / "shared" / "data" / "online_retail.parquet"
    if not path.exists():
        pytest.skip(f"NOT TESTED: the UCI Online Retail data is not in {path}")
    file = read(path, contract.load("online_retail"))
    assert file.notes == []
    assert len(file.frame) == 541_909
    amount = file.frame.select((pl.col("Quantity") * pl.col("UnitPrice").cast(pl.Float64)).sum()).item()
    assert amount == pytest.approx(9_747_747.934, abs=0.001)
    assert file.frame["CustomerID"].null_count() == 135_080
