import json
from decimal import Decimal

import pytest

from include.streams.fields import RecordError, identity, micros
from include.streams.orders import history_key, parse_order

LINE = {
    "InvoiceNo": "536365",
    "StockCode": "85123A",
    "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
    "Quantity": "6",
    "InvoiceDate": "12/1/2010 8:26",
    "UnitPrice": "2.55",
    "Customer": "17850",
    "Country": "United Kingdom",
    "LineNo": "1",
    "EventTime": "2026-03-01T10:00:00.123456",
}


def parsed(arrival=5, without=(), **changes):
    fields = {name: value for name, value in {**LINE, **changes}.items() if name not in without}
    return parse_order(json.dumps(fields).encode(), arrival)


def test_a_line_is_parsed():
    order = parsed()
    assert (order.invoice, order.line, order.stock_code, order.quantity) == ("536365", 1, "85123A", 6)
    assert (order.unit_price, order.customer, order.country) == (Decimal("2.55"), "17850", "United Kingdom")
    assert order.placed == order.time == micros("2026-03-01T10:00:00.123456")
    assert history_key(order) == ("17850", "536365#0001")


def test_a_line_is_known_by_its_number_or_else_by_its_content():
    assert parsed().identity == parsed(Quantity="7").identity != parsed(LineNo="2").identity
    unnumbered = parsed(without=["LineNo"])
    assert unnumbered.line is None
    assert unnumbered.identity == identity({name: value for name, value in LINE.items() if name != "LineNo"})
    assert unnumbered.identity != parsed(without=["LineNo"], Quantity="7").identity
    assert history_key(unnumbered) == ("17850", f"536365#{unnumbered.identity:016x}"[: len("536365#") + 12])


def test_without_a_time_the_arrival_counts():
    order = parsed(arrival=77, without=["EventTime"])
    assert (order.placed, order.time) == (None, 77)


def test_a_guest_has_the_name_of_the_order():
    assert parsed(Customer="").customer is None
    assert history_key(parsed(Customer="", LineNo="12345")) == ("guest536365", "536365#12345")


def test_returns_and_corrections_are_lines():
    assert parsed(InvoiceNo="C536379", Quantity="-1").quantity == -1
    assert parsed(UnitPrice="-11062.06", Description="").unit_price == Decimal("-11062.06")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("InvoiceNo", ""),
        ("InvoiceNo", "1\n2"),
        ("InvoiceNo", "x" * 257),
        ("StockCode", None),
        ("Description", 7),
        ("Description", "x" * 8_193),
        ("Quantity", "many"),
        ("Quantity", "1.5"),
        ("Quantity", 6),
        ("Quantity", "9" * 30),
        ("InvoiceDate", "2010-12-01 08:26"),
        ("InvoiceDate", "13/1/2010 8:26"),
        ("UnitPrice", "NaN"),
        ("UnitPrice", "1e9"),
        ("Customer", "x" * 257),
        ("LineNo", "0"),
        ("LineNo", None),
        ("LineNo", "٣"),
        ("EventTime", "2026-03-01"),
        ("EventTime", "9999-12-31T23:59:59"),
        ("EventTime", "2026-02-30T00:00:00"),
        ("Colour", "red"),
    ],
)
def test_what_breaks_the_schema_is_named(field, value):
    with pytest.raises(RecordError, match=f"^{field} ") as error:
        parsed(**{field: value})
    assert error.value.field == field


@pytest.mark.parametrize("field", list(LINE)[:8])
def test_the_eight_columns_must_be_there(field):
    with pytest.raises(RecordError, match=f"^{field} is missing: add it"):
        parsed(without=[field])


def test_no_value_breaks_the_parser():
    for text in (b'{"InvoiceNo": NaN}', b"[1]", b"\xff", b"", b'{"a": 1, "a": 2}', b'{"x": 1e999}'):
        with pytest.raises(RecordError):
            parse_order(text, 1)
