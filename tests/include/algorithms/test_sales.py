from datetime import date, datetime

import polars as pl
import pytest

from include.algorithms import sales
from include.algorithms.outcome import InputError

COLUMNS = ("product_id", "quantity", "customer_*")


def lines(**columns):
    return pl.DataFrame({"product_id": ["1", "2"], "quantity": [1.0, 2.0]} | columns)


def write(folder, name, frame):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def test_files_of_all_sub_folders_in_order_without_other_columns(tmp_path):
    write(tmp_path, "month=2024-02/data.parquet", lines(product_id=["3", "4"], other=[1, 2]))
    write(tmp_path, "month=2024-01/data.parquet", lines(other=[1, 2]))
    write(tmp_path, "_temporary/data.parquet", lines())
    read = sales.read(str(tmp_path), COLUMNS, "a.yaml")
    assert read.columns == ["product_id", "quantity"]
    assert read["product_id"].to_list() == ["1", "2", "3", "4"]


def test_upper_case_names_and_attributes_that_some_files_lack(tmp_path):
    write(tmp_path, "a.parquet", lines().rename(str.upper))
    write(tmp_path, "b.parquet", lines(customer_age=[30, 40], customer_city=["x", "y"]))
    read = sales.read(str(tmp_path), COLUMNS, "a.yaml")
    assert read.columns == ["product_id", "quantity", "customer_age", "customer_city"]
    assert read["customer_age"].to_list() == [None, None, 30, 40]


def test_types_that_differ_between_files_meet_in_a_type_that_holds_both(tmp_path):
    write(tmp_path, "a.parquet", lines(quantity=[1, 2]).with_columns(sale_date=pl.lit(date(2024, 1, 1))))
    write(tmp_path, "b.parquet", lines().with_columns(sale_date=pl.lit(datetime(2024, 1, 2, 3))))
    write(tmp_path, "c.parquet", lines(product_id=[3, 4]).with_columns(sale_date=pl.lit(None)))
    read = sales.read(str(tmp_path), ("product_id", "quantity", "sale_date"), "a.yaml")
    assert read["quantity"].dtype == pl.Float64
    assert read["product_id"].to_list() == ["1", "2", "1", "2", "3", "4"]
    assert read["sale_date"].to_list()[::2] == [datetime(2024, 1, 1), datetime(2024, 1, 2, 3), None]


def test_a_missing_column_is_named_with_its_file_and_the_contract(tmp_path):
    write(tmp_path, "good.parquet", lines())
    write(tmp_path, "later.parquet", lines().drop("quantity"))
    with pytest.raises(InputError) as error:
        sales.read(str(tmp_path), COLUMNS, "include/clients/a.yaml")
    assert "later.parquet has no column quantity (it has product_id)" in str(error.value)
    assert "include/clients/a.yaml" in str(error.value)


def test_no_files_no_rows_no_parquet_are_each_said(tmp_path):
    with pytest.raises(InputError, match=r"no Parquet files below .*nowhere"):
        sales.read(str(tmp_path / "nowhere"), COLUMNS, "a.yaml")
    write(tmp_path, "a.parquet", lines().clear())
    with pytest.raises(InputError, match="has no rows"):
        sales.read(str(tmp_path), COLUMNS, "a.yaml")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 this is no Parquet file PAR1")
    with pytest.raises(InputError, match=r"b\.parquet is not a readable Parquet file"):
        sales.read(str(tmp_path), COLUMNS, "a.yaml")


def test_a_file_damaged_behind_its_schema_is_an_input_error(tmp_path):
    write(tmp_path, "a.parquet", lines(product_id=[str(n) for n in range(2)]))
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:40] = bytes(36)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        sales.read(str(tmp_path), COLUMNS, "a.yaml")
