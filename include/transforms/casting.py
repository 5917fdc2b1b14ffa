"""Casts of bronze columns, text (from CSV) or typed already (from Parquet), that never fail: unreadable is null.

Engines disagree on casts of bad or inexact values: Polars raises where Spark answers null, and each rounds a third
decimal its own way. So text is cast only where a pattern says that it can be, and floats are rounded first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import narwhals as nw
from narwhals.dtypes import DType

MONEY_TYPE = nw.Decimal(18, 2)

_INTEGER = r"^-?[0-9]{1,18}$"
_NUMBER = r"^-?[0-9]{1,300}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?$"
_MONEY = r"^-?[0-9]{1,16}(?:\.[0-9]{1,2}0*)?$"
_ZIP = r"^[0-9]{1,5}$"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY = (
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    rf"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
_DAY_ONLY = rf"^{_DAY}$"
_MOMENT = rf"^{_DAY}[ T]{_TIME}$"

_EXACT_IN_FLOAT = 2**53


@dataclass(frozen=True)
class Kind:
    """What a bronze column is read as.

    Attributes:
        name: What a value is called in the reason of a rejection: "price is not <name>"; empty where all can be read.
        read: Gives the value, null where it can't be read, from the column and the type that it has in bronze.

    `read` raises TypeError for a type that the kind can't come from, e.g. a boolean for money.
    """

    name: str
    read: Callable[[nw.Expr, DType], nw.Expr]


def present(column: nw.Expr, dtype: DType) -> nw.Expr:
    """Whether the column holds anything: neither null, nor blank text, nor NaN. Never null."""
    if dtype == nw.String:
        return (column.str.strip_chars() != nw.lit("")).fill_null(False)
    if dtype.is_float():
        return (~column.is_nan()).fill_null(False)
    return ~column.is_null()


def _text(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype != nw.String and not dtype.is_integer():
        raise _wrong_type("text", dtype)
    trimmed = column.cast(nw.String).str.strip_chars()
    return nw.when(trimmed != nw.lit("")).then(trimmed)


def _lowercase(column: nw.Expr, dtype: DType) -> nw.Expr:
    return _text(column, dtype).str.to_lowercase()


def _uppercase(column: nw.Expr, dtype: DType) -> nw.Expr:
    return _text(column, dtype).str.to_uppercase()


def _integer(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype == nw.String:
        return _matching(column, _INTEGER).cast(nw.Int64)
    if dtype.is_float():
        whole = column.is_finite() & (column.floor() == column) & (column.abs() < _EXACT_IN_FLOAT)
        return nw.when(whole).then(column).cast(nw.Int64)
    if dtype.is_integer():
        return column.cast(nw.Int64)
    raise _wrong_type("an integer", dtype)


def _number(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype == nw.String:
        return _matching(column, _NUMBER).cast(nw.Float64)
    if dtype.is_float():
        return nw.when(column.is_finite()).then(column).cast(nw.Float64)
    if dtype.is_numeric():
        return column.cast(nw.Float64)
    raise _wrong_type("a number", dtype)


def _money(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype == nw.String:
        return _matching(column, _MONEY).cast(MONEY_TYPE)
    if dtype.is_float():
        held = column.is_finite() & ((column * 100).abs() < _EXACT_IN_FLOAT)
        return nw.when(held).then((column * 100 + 0.5).floor() / 100).cast(MONEY_TYPE)
    if dtype.is_integer() or (isinstance(dtype, nw.Decimal) and (dtype.scale or 0) <= 2):
        return column.cast(MONEY_TYPE)
    raise _wrong_type("money", dtype)


def _wall_time(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype == nw.String:
        trimmed = column.str.strip_chars()
        moment = nw.when(trimmed.str.contains(_MOMENT)).then(trimmed.str.slice(0, 19).str.replace_all("T", " "))
        midnight = nw.when(trimmed.str.contains(_DAY_ONLY)).then(nw.concat_str(trimmed, nw.lit(" 00:00:00")))
        return nw.coalesce(moment, midnight).str.to_datetime(format="%Y-%m-%d %H:%M:%S").cast(nw.Datetime("us"))
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        raise TypeError(f"it is in the time zone {dtype.time_zone}; bronze holds wall times, without a time zone")
    if dtype == nw.Date or dtype == nw.Datetime:
        return column.cast(nw.Datetime("us"))
    raise _wrong_type("a timestamp", dtype)


def _zip_prefix(column: nw.Expr, dtype: DType) -> nw.Expr:
    if dtype != nw.String and not dtype.is_integer():
        raise _wrong_type("a zip prefix", dtype)
    return _matching(column.cast(nw.String), _ZIP).str.zfill(5)


def _matching(column: nw.Expr, pattern: str) -> nw.Expr:
    trimmed = column.str.strip_chars()
    return nw.when(trimmed.str.contains(pattern)).then(trimmed)


def _wrong_type(wanted: str, dtype: DType) -> TypeError:
    return TypeError(f"{wanted} can't be read from a column of type {dtype}; cast it when bronze is written")


TEXT = Kind("", _text)
"""Trimmed text; blank is null."""
LOWERCASE = Kind("", _lowercase)
"""Trimmed text in lower case."""
UPPERCASE = Kind("", _uppercase)
"""Trimmed text in upper case."""
INTEGER = Kind("an integer", _integer)
"""64-bit integer; a float must be whole."""
NUMBER = Kind("a finite number", _number)
"""64-bit float."""
MONEY = Kind("an amount of at most two decimals", _money)
"""decimal(18,2); text must be exact, a float is rounded to the nearest cent."""
WALL_TIME = Kind("a date or time", _wall_time)
"""Wall time in the business time zone, to the microsecond; text is ISO 8601 to the second, or a day (midnight)."""
ZIP_PREFIX = Kind("a zip prefix of one to five digits", _zip_prefix)
"""The first five digits of a Brazilian postal code, as text; leading zeros that a number lost are put back."""
