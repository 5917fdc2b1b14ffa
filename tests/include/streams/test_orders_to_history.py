import json
import random
import threading
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from include.streams import orders_to_history
from include.streams.orders_to_history import handler
from local import orders as look_up
from local.data.order_lines import lines as generated
from local.producer import poison
from tests.streams import Context, client, contents, encoded, event, failures, throttle

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
def lines():
    """250 lines of orders."""
    return list(islice(generated(5, 0, START, timedelta(milliseconds=20)), 250))


def handled(records, size=90):
    for first in range(0, len(records), size):
        assert failures(handler(event(records[first : first + size], first=1000 + first), Context(120))) == []


def keys(lines):
    customers = (line["Customer"] or f"guest{line['InvoiceNo']}" for line in lines)
    return {
        (customer, f"{line['InvoiceNo']}#{int(line['LineNo']):04}")
        for customer, line in zip(customers, lines, strict=True)
    }


def stored(table):
    return {(item["customer"]["S"], item["order_line"]["S"]): item for item in contents(table)}


def test_doubled_shuffled_and_poisoned_lines_are_each_one_item(history_table, quarantined, lines):
    sent = encoded([*lines, *lines])
    random.Random(1).shuffle(sent)
    spoilt = [poison.orders(number, sent[number])[1] for number in range(5)]
    handled([*sent[:200], *spoilt, *sent[200:]])
    found = stored(history_table)
    assert found.keys() == keys(lines)
    assert {item["version"]["N"] for item in found.values()} == {"1"}
    assert [name.split("/")[2] for name in quarantined()] == [str(1200 + number) for number in range(5)]
    before = contents(history_table)
    handled(sent, size=211)
    assert contents(history_table) == before


def test_a_line_has_the_columns_of_the_order(history_table, quarantined):
    line = {
        **next(generated(5, 0, START, timedelta(1))),
        "Customer": "17850",
        "InvoiceNo": "536365",
        "UnitPrice": "2.50",
        "Quantity": "-6",
        "Description": "",
    }
    handled(encoded([line]))
    (item,) = contents(history_table)
    assert item == {
        "customer": {"S": "17850"},
        "order_line": {"S": "536365#0001"},
        "event_time": {"S": line["EventTime"]},
        "stock_code": {"S": line["StockCode"]},
        "invoice_date": {"S": line["InvoiceDate"]},
        "country": {"S": line["Country"]},
        "quantity": {"N": "-6"},
        "unit_price": {"N": "2.5"},
        "version": {"N": "1"},
    }


def test_of_two_versions_of_a_line_the_later_stays_in_whatever_order_they_come(history_table, quarantined):
    def version(second, quantity, invoice):
        line = next(generated(5, 0, START, timedelta(1)))
        time = f"2026-03-01T10:00:{second:02}.000000"
        return {**line, "Customer": "1", "InvoiceNo": invoice, "EventTime": time, "Quantity": quantity}

    versions = [version(1, "1", "{}"), version(5, "2", "{}"), version(5, "3", "{}")]
    rng = random.Random(2)
    for invoice in "ABCDEF":
        order = [{**line, "InvoiceNo": invoice} for line in versions * 2]
        rng.shuffle(order)
        handled(encoded(order), size=rng.choice([1, 2, 6]))
    assert {item["quantity"]["N"] for item in contents(history_table)} == {"3"}
    before = contents(history_table)
    handled(encoded([{**line, "InvoiceNo": invoice} for invoice in "ABCDEF" for line in versions]))
    assert contents(history_table) == before


def test_lines_without_number_and_time_are_known_by_their_content(history_table, quarantined):
    line = next(generated(5, 0, START, timedelta(1)))
    del line["LineNo"], line["EventTime"]
    handled(encoded([line, line, {**line, "Quantity": "99"}]))
    handler(event(encoded([line]), first=9000, arrived=1_800_000_000.0), Context(120))
    assert len(contents(history_table)) == 2
    assert {item["version"]["N"] for item in contents(history_table)} == {"1"}


def test_two_workers_at_the_same_lines(history_table, quarantined, lines):
    workers = [threading.Thread(target=handled, args=(encoded(part),)) for part in (lines, lines[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert stored(history_table).keys() == keys(lines)


def test_a_table_that_throttles_gets_everything(history_table, quarantined, lines):
    throttle(history_table, 0.3)
    records = encoded(lines[:80])
    while records:
        failed = failures(handler(event(records), Context(120)))
        records = records[int(failed[0]) - 100 :] if failed else []
    throttle(history_table, 0)
    assert stored(history_table).keys() == keys(lines[:80])


def test_a_table_that_takes_nothing_fails_all_but_the_poison(history_table, quarantined, lines):
    throttle(history_table, 1)
    batch = event([*encoded(lines[:2]), b"{}"])
    assert failures(handler(batch, Context(5.1))) == ["100", "101"]
    assert len(quarantined()) == 1
    throttle(history_table, 0)


def test_a_customers_lines_are_looked_up_page_by_page(history_table, quarantined, lines, monkeypatch):
    handled(encoded([{**line, "Customer": "17850"} for line in lines[:30]]))
    monkeypatch.setattr(look_up, "TABLE", history_table)
    first = look_up.page(client("dynamodb"), "17850", 20)
    rest = look_up.page(client("dynamodb"), "17850", 20, first.token)
    assert (len(first.lines), len(rest.lines), rest.token) == (20, 10, None)
    assert {line["order_line"] for line in first.lines + rest.lines} == {
        f"{line['InvoiceNo']}#{int(line['LineNo']):04}" for line in lines[:30]
    }


def test_attributes_are_what_dynamodb_gives_back(history_table, quarantined):
    line = next(generated(5, 0, START, timedelta(1)))
    for number, price in enumerate(["100", "0.00", "-0.0", "1.10", "000.5", "123456789012.123456789"], start=1):
        record = encoded([{**line, "UnitPrice": price, "LineNo": str(number)}])
        handled(record)
        handled(record)
    assert [item["version"]["N"] for item in contents(history_table)] == ["1"] * 6
    order = orders_to_history.parse_order(json.dumps({**line, "UnitPrice": "-0.0"}), 1)
    assert orders_to_history.attributes(order)["unit_price"] == {"N": "0"}
