"""Lines of orders as the stream has them: the eight columns of the classic retail data, all text, and two of ours.

order = parse_order(record, arrival)     # RecordError names the field and the fix
customer, order_line = history_key(order)
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from include.streams.encoding import hash64
from include.streams.fields import Fields, RecordError, identity

LONGEST_ID = 256
"""Bytes of an invoice, a product or a customer."""

_INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,9})?", re.ASCII)
_LINE = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_DATE = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}", re.ASCII)


class Order(NamedTuple):
    """A line of an order that keeps the schema.

    Attributes:
        invoice: the order.
        line: its line, from 1; None where the producer doesn't number them.
        stock_code: product.
        description: of the product; may be empty.
        quantity: units; negative when they came back.
        invoice_date: as it came, month first, to the minute: 12/1/2010 8:26.
        unit_price: of a unit.
        customer: None for a guest.
        country: may be empty.
        placed: when the order was placed, microseconds since the epoch; None where the producer doesn't say.
        time: `placed`, or else the arrival.
        identity: which line it is: of invoice and line, and where there is no line, of all fields. Equal lines without
            numbers are then one.
    """

    invoice: str
    line: int | None
    stock_code: str
    description: str
    quantity: int
    invoice_date: str
    unit_price: Decimal
    customer: str | None
    country: str
    placed: int | None
    time: int
    identity: int


def parse_order(record: bytes | str, arrival: int) -> Order:
    """The line of an order in a record, UTF-8 JSON.

    Args:
        record: its data.
        arrival: when the stream took it, microseconds since the epoch.

    Raises:
        RecordError: it is no such JSON, or a field is missing, unknown, no text, or not in its form.
    """
    fields = Fields(record)
    invoice, stock_code = _id(fields, "InvoiceNo"), _id(fields, "StockCode")
    description = fields.text("Description", empty=True)
    quantity = _matching(fields, "Quantity", _INTEGER, "a whole number, such as 6 or -1")
    invoice_date = _date(fields)
    unit_price = _matching(fields, "UnitPrice", _NUMBER, "a number such as 2.55")
    customer = _id(fields, "Customer", empty=True)
    country = fields.text("Country", empty=True)
    line = _matching(fields, "LineNo", _LINE, "a number from 1, such as 3") if fields.has("LineNo") else None
    placed = fields.time("EventTime") if fields.has("EventTime") else None
    fields.no_others("an order's line")
    return Order(
        invoice,
        int(line) if line else None,
        stock_code,
        description,
        int(quantity),
        invoice_date,
        Decimal(unit_price),
        customer or None,
        country,
        placed,
        time=arrival if placed is None else placed,
        identity=identity(fields.values) if line is None else hash64(f"{invoice}#{line}".encode()),
    )


def history_key(order: Order) -> tuple[str, str]:
    """HASH and RANGE of a line in the order history: the customer, or a guest of this invoice; and the line."""
    line = f"{order.identity >> 16:012x}" if order.line is None else f"{order.line:04}"
    return order.customer or f"guest{order.invoice}", f"{order.invoice}#{line}"


def _id(fields: Fields, name: str, empty: bool = False) -> str:
    value = fields.text(name, LONGEST_ID, empty)
    if not value.isprintable():
        raise RecordError(name, f"is {value!r}: characters that print are expected")
    return value


def _matching(fields: Fields, name: str, pattern: re.Pattern[str], form: str) -> str:
    value = fields.text(name)
    if not pattern.fullmatch(value):
        raise RecordError(name, f"is {value[:60]!r}: {form}, as text, is expected")
    return value


def _date(fields: Fields) -> str:
    value = _matching(fields, "InvoiceDate", _DATE, "month/day/year hour:minute, such as 12/1/2010 8:26")
    try:
        datetime.strptime(value, "%m/%d/%Y %H:%M")
    except ValueError as error:
        raise RecordError("InvoiceDate", f"is {value!r}: no such time exists ({error})") from error
    return value
