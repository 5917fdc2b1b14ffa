import gzip

import polars as pl
import pyarrow as pa
import pytest

from include.jobs import source_files
from include.jobs.source_files import FaultError
from include.transforms.silver import TABLES

TABLE = TABLES["category_translation"]
HEADER = b"product_category_name,product_category_name_english\n"


def read(tmp_path, content, name="names.csv"):
    file = tmp_path / name
    file.write_bytes(content)
    source = source_files.read(file, TABLE)
    rows = [row for batch in source.batches for row in batch.to_pylist()]
    return [tuple(row.values()) for row in rows], source.notes


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (HEADER + b"a,b\n", [("a", "b")]),
        (b"\xef\xbb\xbf" + HEADER + b"a,b", [("a", "b")]),
        (HEADER.replace(b"\n", b"\r\n") + b"a,b\r\nc,d\r\n", [("a", "b"), ("c", "d")]),
        (HEADER + b'"a\nb","say ""x"", y"\n', [("a\nb", 'say "x", y')]),
        (HEADER + b',""\n  ,NA\n', [(None, None), ("  ", "NA")]),
        (b"\n" + HEADER + b"\na,b\n\n", [("a", "b")]),
        (b'"product_category_name_english","product_category_name"\nb,a\n', [("a", "b")]),
        (HEADER, []),
    ],
    ids=["plain", "byte order mark", "crlf", "quoted", "nothing", "empty lines", "reordered", "header only"],
)
def test_csv(tmp_path, content, rows):
    assert read(tmp_path, content) == (rows, [])
    assert read(tmp_path, gzip.compress(content), "names.csv.gz") == (rows, [])


def test_latin_1_is_read_where_it_is_not_utf_8(tmp_path):
    rows, notes = read(tmp_path, HEADER + "ação,é\n".encode("latin-1"))
    assert rows == [("ação", "é")]
    assert notes == ["it is not UTF-8 and was read as Latin-1"]
    assert read(tmp_path, HEADER + "ação,é\n".encode()) == ([("ação", "é")], [])


def test_rows_longer_than_a_block_apart_are_all_read(tmp_path, monkeypatch):
    monkeypatch.setattr(source_files, "BLOCK", 1 << 10)
    expected = [(f"name\n{number}", "ç" * (number % 90)) for number in range(500)]
    lines = "".join(f'"{name}","{text}"\n' for name, text in expected)
    assert read(tmp_path, HEADER + lines.encode()) == ([(name, text or None) for name, text in expected], [])


def test_columns_come_and_go(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("order_id,review_score,review_creation_date,review_answer_timestamp,mood\no,5,,,good\n")
    source = source_files.read(file, TABLES["order_reviews"])
    assert [batch.column_names for batch in source.batches] == [
        ["order_id", "review_score", "review_creation_date", "review_answer_timestamp"]
    ]
    assert source.notes == [
        "left out, as the contract has no such column: mood",
        "null, as the file lacks the column: review_id, review_comment_title, review_comment_message",
    ]


def test_parquet_of_any_kind_of_text(tmp_path):
    rows = pl.DataFrame({"product_category_name": ["a", None], "product_category_name_english": ["b", "c"]})
    rows.cast({"product_category_name": pl.Categorical}).write_parquet(tmp_path / "written.parquet")
    content = (tmp_path / "written.parquet").read_bytes()
    assert read(tmp_path, content, "names.parquet") == ([("a", "b"), (None, "c")], [])
    source = source_files.read(tmp_path / "names.parquet", TABLE)
    assert {field.type for batch in source.batches for field in batch.schema} <= {pa.string(), pa.large_string()}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.csv", b"\n\n", "missing from the header, which has nothing"),
        ("a.csv", HEADER.replace(b",", b"\t"), r"fields seem to be separated by '\\t', not by commas"),
        (
            "a.csv",
            b"product_category_name," + HEADER + b"a,b,c\n",
            "product_category_name more than once in the header",
        ),
        ("a.csv", HEADER + b"a,b\nc,d,e\n", "^row 2 has 3 fields, the header has 2$"),
        ("a.csv", HEADER + b"a\n", "^row 1 has 1 fields, the header has 2$"),
        ("a.csv", b"product_category_name_english\nb\n", "^product_category_name missing from the header"),
        ("a.csv.gz", HEADER, "the gzip file is broken or cut off: Not a gzipped file"),
        (
            "a.csv.gz",
            gzip.compress(HEADER * 99, mtime=0)[:-9],
            "the gzip file is broken or cut off: Compressed file ended",
        ),
        ("a.parquet", HEADER, "it is no Parquet file, or broken"),
        ("a.xlsx", HEADER, "ends neither with .csv nor .csv.gz nor .parquet"),
        ("a.gz", gzip.compress(HEADER, mtime=0), "ends neither with"),
    ],
)
def test_faults(tmp_path, name, content, fault):
    with pytest.raises(FaultError, match=fault):
        read(tmp_path, content, name)


def test_a_parquet_file_that_is_cut_off_is_a_fault(tmp_path):
    pl.DataFrame({"product_category_name": ["a"] * 999}).write_parquet(tmp_path / "whole.parquet")
    with pytest.raises(FaultError, match="it is no Parquet file, or broken"):
        read(tmp_path, (tmp_path / "whole.parquet").read_bytes()[:-20], "cut.parquet")
