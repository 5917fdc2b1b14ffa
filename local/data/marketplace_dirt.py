"""A dirty landing zone: deliveries of the marketplace's files, each with one named fault, and what must become of them.

The first day's delivery is clean and whole, in the nine tables. Every later day delivers one file, whose rows refer to
the first day's. `python -m local.data.marketplace_dirt DIRECTORY`
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from local.data import marketplace
from local.data.marketplace import TABLES, file_name

FIRST_DAY = date(2018, 9, 1)
_SCALE = 0.02
_KEYS = {
    "orders": "order_id",
    "customers": "customer_id",
    "sellers": "seller_id",
    "products": "product_id",
    "order_reviews": "review_id",
    "order_items": "order_item_id",
    "order_payments": "payment_sequential",
}
"""The column that is made new in the rows of a case."""

_SUPERSEDED = "superseded by a later row of the same key"
_ABROAD = "geolocation_lat is above 5.28; geolocation_lng is above -28.83"

Outcome = Literal["loaded", "quarantined", "skipped"]


@dataclass(frozen=True)
class Case:
    """One delivery and what must become of it.

    Attributes:
        table: Which it is of, one of `local.data.marketplace.TABLES`.
        file: Its path below the landing directory.
        outcome: The file is loaded to bronze, quarantined whole, or skipped as one that was loaded before.
        rows: Rows in the file; 0 where it is not loaded.
        accepted: Rows of the file that are in silver (of geolocation: points that count), when all files are loaded in
            the order of their days.
        rejected: Reason → number of the file's rows that silver rejects for it.
        supersedes: Rows of the clean file that are in silver no more, as this one has their keys.
        because: What is wrong, in a word or two that the reason of a quarantined file must have.
    """

    table: str
    file: str
    outcome: Outcome
    rows: int
    accepted: int
    rejected: dict[str, int] = field(default_factory=dict)
    supersedes: int = 0
    because: str = ""


@dataclass(frozen=True)
class _Delivery:
    table: str
    content: bytes
    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    outcome: Outcome = "loaded"
    supersedes: int = 0
    because: str = ""
    extension: str = "csv"


_Fault = Callable[["_Source"], _Delivery]
_FAULTS: dict[str, _Fault] = {}


def write(directory: Path, seed: int = 1) -> dict[str, Case]:
    """Writes the deliveries as `<directory>/<YYYY-MM-DD>/<file>`, and the cases as `<directory>/expectations.json`.

    Args:
        directory: Landing zone; created if it isn't there.
        seed: The same seed gives the same bytes.

    Returns:
        The cases by name, in the order of their days; those of the clean delivery are named `clean_<table>`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        made = marketplace.generate(Path(temporary), _SCALE, seed)
        source = _Source({table: made.file(table).read_bytes() for table in TABLES})
    cases = {}
    for table, content in source.files.items():
        rejected = {_ABROAD: abroad} if (abroad := source.abroad(table)) else {}
        delivery = _Delivery(table, content, len(source.table(table)), rejected)
        cases[f"clean_{table}"] = _deliver(directory, FIRST_DAY, delivery)
    for number, (name, fault) in enumerate(_FAULTS.items(), start=1):
        source.case = name
        case = cases[name] = _deliver(directory, FIRST_DAY + timedelta(days=number), fault(source))
        if case.supersedes:
            clean = cases[f"clean_{case.table}"]
            rejected = {**clean.rejected, _SUPERSEDED: case.supersedes}
            cases[f"clean_{case.table}"] = replace(clean, accepted=clean.accepted - case.supersedes, rejected=rejected)
    expectations = {name: asdict(case) for name, case in cases.items()}
    (directory / "expectations.json").write_text(
        json.dumps(expectations, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    return cases


def _deliver(directory: Path, day: date, delivery: _Delivery) -> Case:
    file = directory / day.isoformat() / file_name(delivery.table, delivery.extension)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(delivery.content)
    return Case(
        table=delivery.table,
        file=file.relative_to(directory).as_posix(),
        outcome=delivery.outcome,
        rows=delivery.rows,
        accepted=delivery.rows - sum(delivery.rejected.values()),
        rejected=delivery.rejected,
        supersedes=delivery.supersedes,
        because=delivery.because,
    )


class _Source:
    """The clean files, and fresh rows made from them for one case after the other."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.case = ""
        self._tables = {table: pl.read_csv(content, infer_schema=False) for table, content in files.items()}
        self._numbers = dict.fromkeys(_KEYS, 100)

    def table(self, table: str) -> pl.DataFrame:
        """The clean rows, as text."""
        return self._tables[table]

    def abroad(self, table: str) -> int:
        """How many clean rows are points that the generator put abroad."""
        if table != "geolocation":
            return 0
        return int((self.table(table)["geolocation_lat"].cast(pl.Float64) > 10).sum())

    def fresh(self, table: str, count: int) -> pl.DataFrame:
        """Sound rows with keys that no other row has; what they refer to is there."""
        key, first = _KEYS[table], self._numbers[table]
        self._numbers[table] += count
        numbers = range(first, first + count)
        numeric = key in ("order_item_id", "payment_sequential")
        keys = [str(number) if numeric else f"{self.case}-{number}" for number in numbers]
        return self.table(table).head(count).with_columns(pl.Series(key, keys))


def _fault(fault: _Fault) -> _Fault:
    _FAULTS[fault.__name__.removeprefix("_")] = fault
    return fault


def _csv(rows: pl.DataFrame, **options: str) -> bytes:
    out = io.BytesIO()
    rows.write_csv(out, **options)  # type: ignore[call-overload]
    return out.getvalue()


def _with(rows: pl.DataFrame, column: str, *values: str | None) -> pl.DataFrame:
    """Rows with values of their own in the first ones of a column."""
    return rows.with_columns(pl.Series(column, [*values, *rows[column][len(values) :]], dtype=pl.String))


# Files that differ in shape and hold sound rows.


@_fault
def _new_column(source: _Source) -> _Delivery:
    rows = source.fresh("orders", 5).with_columns(sales_channel=pl.lit("app"))
    return _Delivery("orders", _csv(rows), 5)


@_fault
def _missing_optional_column(source: _Source) -> _Delivery:
    rows = source.fresh("order_reviews", 4).drop("review_comment_title", "review_comment_message")
    return _Delivery("order_reviews", _csv(rows), 4)


@_fault
def _reordered_columns(source: _Source) -> _Delivery:
    rows = source.fresh("order_items", 6)
    return _Delivery("order_items", _csv(rows.select(reversed(rows.columns))), 6)


@_fault
def _byte_order_mark(source: _Source) -> _Delivery:
    return _Delivery("customers", b"\xef\xbb\xbf" + _csv(source.fresh("customers", 5)), 5)


@_fault
def _quoted_newlines(source: _Source) -> _Delivery:
    messages = ("Chegou,\nmas atrasado", 'Disse "ok"\r\ne nada', "linha 1\n\nlinha 3", '"')
    rows = _with(source.fresh("order_reviews", 4), "review_comment_message", *messages)
    return _Delivery("order_reviews", _csv(rows), 4)


@_fault
def _latin_1(source: _Source) -> _Delivery:
    rows = _with(source.fresh("sellers", 3), "seller_city", "são paulo", "ribeirão preto", "Maceió")
    return _Delivery("sellers", _csv(rows).decode().encode("latin-1"), 3)


@_fault
def _windows_line_ends(source: _Source) -> _Delivery:
    return _Delivery("products", _csv(source.fresh("products", 4), line_terminator="\r\n"), 4)


@_fault
def _gzip(source: _Source) -> _Delivery:
    packed = gzip.compress(_csv(source.fresh("order_payments", 7)), mtime=0)
    return _Delivery("order_payments", packed, 7, extension="csv.gz")


@_fault
def _parquet(source: _Source) -> _Delivery:
    out = io.BytesIO()
    columns = [name for name in source.table("orders").columns if name.endswith(("_at", "_timestamp", "_date"))]
    moments = pl.col(columns).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    source.fresh("orders", 5).with_columns(moments).write_parquet(out)
    return _Delivery("orders", out.getvalue(), 5, extension="parquet")


@_fault
def _header_only(source: _Source) -> _Delivery:
    return _Delivery("order_items", _csv(source.table("order_items").head(0)), 0)


@_fault
def _padded_text(source: _Source) -> _Delivery:
    rows = source.fresh("customers", 3).with_columns(
        pl.format("  {} ", "customer_id").alias("customer_id"),
        pl.format(" {}", pl.col("customer_city").str.to_uppercase()).alias("customer_city"),
        pl.format("{} ", pl.col("customer_state").str.to_lowercase()).alias("customer_state"),
    )
    return _Delivery("customers", _csv(rows), 3)


# Files that can't be loaded.


@_fault
def _missing_required_column(source: _Source) -> _Delivery:
    rows = source.fresh("order_items", 5).drop("price")
    return _Delivery("order_items", _csv(rows), outcome="quarantined", because="price")


@_fault
def _other_separator(source: _Source) -> _Delivery:
    content = _csv(source.fresh("order_payments", 5), separator=";")
    return _Delivery("order_payments", content, outcome="quarantined", because="order_id")


@_fault
def _empty_file(source: _Source) -> _Delivery:
    return _Delivery("orders", b"", outcome="quarantined", because="empty")


@_fault
def _truncated_gzip(source: _Source) -> _Delivery:
    packed = gzip.compress(_csv(source.fresh("order_items", 50)), mtime=0)
    return _Delivery(
        "order_items", packed[: len(packed) // 2], outcome="quarantined", because="gzip", extension="csv.gz"
    )


@_fault
def _ragged_row(source: _Source) -> _Delivery:
    lines = _csv(source.fresh("order_payments", 3)).splitlines(keepends=True)
    lines[2] = lines[2].rstrip() + b",one,more\n"
    return _Delivery("order_payments", b"".join(lines), outcome="quarantined", because="fields")


@_fault
def _same_file_again(source: _Source) -> _Delivery:
    return _Delivery("orders", source.files["orders"], outcome="skipped")


# Files with rows that are rejected. Each has sound rows as well.


@_fault
def _wrong_type(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_items", 8), "price", "abc", "12,90", "9.999")
    rows = rows.with_columns(
        pl.Series("order_item_id", [*rows["order_item_id"][:4], "one", *rows["order_item_id"][5:]])
    )
    reasons = {"price is not an amount of at most two decimals": 3, "order_item_id is not an integer": 1}
    return _Delivery("order_items", _csv(rows), 8, reasons)


@_fault
def _bad_date(source: _Source) -> _Delivery:
    dates = ("2018-02-30 10:00:00", "31/12/2017 10:00", "2018-13-01 00:00:00", "1970-01-01 00:00:00")
    rows = _with(source.fresh("orders", 6), "order_purchase_timestamp", *dates)
    reasons = {
        "order_purchase_timestamp is not a date or time": 3,
        "order_purchase_timestamp is below 2010-01-01 00:00:00": 1,
    }
    return _Delivery("orders", _csv(rows), 6, reasons)


@_fault
def _negative_price(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_items", 5), "price", "-10.00", "-0.01", "0.00")
    return _Delivery("order_items", _csv(rows), 5, {"price is below 0": 2})


@_fault
def _unknown_accepted_value(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_payments", 5), "payment_type", "bitcoin", "CREDIT_CARD", "")
    reasons = {"payment_type is not an accepted value": 1, "payment_type is missing": 1}
    return _Delivery("order_payments", _csv(rows), 5, reasons)


@_fault
def _missing_required_value(source: _Source) -> _Delivery:
    rows = _with(source.fresh("customers", 5), "customer_id", "", "   ")
    return _Delivery("customers", _csv(rows), 5, {"customer_id is missing": 2})


@_fault
def _score_out_of_range(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_reviews", 4), "review_score", "0", "6")
    return _Delivery("order_reviews", _csv(rows), 4, {"review_score is below 1": 1, "review_score is above 5": 1})


@_fault
def _several_faults_in_a_row(source: _Source) -> _Delivery:
    rows = _with(_with(source.fresh("order_items", 3), "price", "-1"), "product_id", "nowhere")
    return _Delivery("order_items", _csv(rows), 3, {"price is below 0; product_id is unknown": 1})


@_fault
def _zip_prefixes(source: _Source) -> _Delivery:
    rows = _with(source.fresh("sellers", 5), "seller_zip_code_prefix", "1037", "01037", "ABCDE", "123456")
    reason = "seller_zip_code_prefix is not a zip prefix of one to five digits"
    return _Delivery("sellers", _csv(rows), 5, {reason: 2})


@_fault
def _duplicate_keys(source: _Source) -> _Delivery:
    rows = source.fresh("order_items", 4)
    content = _csv(pl.concat([rows, rows.head(3).with_columns(price=pl.lit("1.00"))]))
    return _Delivery("order_items", content, 7, {_SUPERSEDED: 3})


@_fault
def _corrected_rows(source: _Source) -> _Delivery:
    rows = source.table("order_payments").head(6).with_columns(payment_value=pl.lit("77.70"))
    return _Delivery("order_payments", _csv(rows), 6, supersedes=6)


@_fault
def _broken_correction(source: _Source) -> _Delivery:
    rows = source.table("order_payments")[10:14].with_columns(payment_value=pl.lit("n/a"))
    return _Delivery("order_payments", _csv(rows), 4, {"payment_value is not an amount of at most two decimals": 4})


@_fault
def _orphan_items(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_items", 9), "order_id", "nowhere", "nowhere")
    rows = rows.with_columns(
        pl.Series("product_id", [*rows["product_id"][:2], *["nowhere"] * 3, *rows["product_id"][5:]]),
        pl.Series("seller_id", [*rows["seller_id"][:5], "nowhere", *rows["seller_id"][6:]]),
    )
    reasons = {"order_id is unknown": 2, "product_id is unknown": 3, "seller_id is unknown": 1}
    return _Delivery("order_items", _csv(rows), 9, reasons)


@_fault
def _orphan_payments(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_payments", 4), "order_id", "nowhere", "nowhere")
    return _Delivery("order_payments", _csv(rows), 4, {"order_id is unknown": 2})


@_fault
def _orphan_reviews(source: _Source) -> _Delivery:
    rows = _with(source.fresh("order_reviews", 4), "order_id", "nowhere")
    return _Delivery("order_reviews", _csv(rows), 4, {"order_id is unknown": 1})


@_fault
def _orphan_orders(source: _Source) -> _Delivery:
    rows = _with(source.fresh("orders", 4), "customer_id", "nowhere")
    return _Delivery("orders", _csv(rows), 4, {"customer_id is unknown": 1})


@_fault
def _points_abroad(source: _Source) -> _Delivery:
    rows = source.table("geolocation").head(4)
    rows = _with(rows, "geolocation_lat", "38.72", "-90", "-23.5", "-23.5")
    rows = _with(rows, "geolocation_lng", "-9.14", "-46.6", "-46.6", "-46.7")
    reasons = {_ABROAD: 1, "geolocation_lat is below -33.76": 1}
    return _Delivery("geolocation", _csv(rows), 4, reasons)


def main() -> None:
    """Writes the landing zone from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.data.marketplace_dirt", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("directory", type=Path, help="landing zone; files of the same names are replaced")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same files (%(default)s)")
    options = parser.parse_args()
    for name, case in write(options.directory, options.seed).items():
        rejected = sum(case.rejected.values())
        print(f"{name:28} {case.outcome:12} {case.rows:>5} rows {rejected:>3} rejected  {case.file}")


if __name__ == "__main__":
    main()
