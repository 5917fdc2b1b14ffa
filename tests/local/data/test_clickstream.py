from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest

from local.data import clickstream, order_lines, web_logs
from local.data.order_lines import BLOCK, Burst

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
STEP = timedelta(milliseconds=20)


def take(generator, number, first=0, seed=1, **options):
    return list(islice(generator(seed, first, START, STEP, **options), number))


@pytest.mark.parametrize("generator", [clickstream.clicks, order_lines.lines, web_logs.lines])
@pytest.mark.parametrize("first", [1, 499, 500, 2400, 2999])
def test_a_record_is_a_function_of_seed_and_index(generator, first):
    whole = take(generator, 3100)
    assert take(generator, 100, first) == whole[first : first + 100]
    assert take(generator, 100, first, seed=2) != whole[first : first + 100]


def test_clicks_have_the_fields_of_the_stream():
    for click in take(clickstream.clicks, 3000):
        assert list(click) == ["custid", "trafficfrom", "device", "url", "touchproduct", "trans_timestamp"]
        assert isinstance(click["custid"], int)
        assert click["device"] in ("app_mobile", "app_tablet", "browser")
        assert 0 <= click["touchproduct"] <= 250
        # On the shop window no product is touched, elsewhere the page's own.
        assert click["url"].endswith(f"/products/{click['touchproduct']}") is (click["touchproduct"] > 0)
        assert len(click["trans_timestamp"]) == len("2026-03-01T10:00:00.123456")


def test_clicks_come_in_sessions_that_begin_at_the_window():
    clicks = take(clickstream.clicks, 4800)
    by_person = {}
    for click in clicks:
        by_person.setdefault((click["custid"], click["device"], click["trafficfrom"]), []).append(click)
    sizes = Counter(len(person) for person in by_person.values())
    assert len(by_person) > 200
    assert 3 < sum(size * n for size, n in sizes.items()) / len(by_person) < 30
    assert all(person[0]["touchproduct"] == 0 for person in by_person.values())
    assert len({click["custid"] for click in clicks[:200]}) > 20  # many at a time


def test_clicks_are_fifty_a_second_and_in_order():
    times = [datetime.fromisoformat(click["trans_timestamp"]) for click in take(clickstream.clicks, 101)]
    assert times == sorted(times)
    assert times[100] - times[0] == timedelta(seconds=2)


def test_some_products_are_looked_at_far_more_than_others():
    counts = Counter(click["touchproduct"] for click in take(clickstream.clicks, 20_000) if click["touchproduct"])
    assert len(counts) > 200
    assert sum(number for _, number in counts.most_common(25)) > 0.4 * counts.total()


@pytest.mark.parametrize("zone", [timedelta(0), timedelta(hours=5, minutes=30)])
def test_times_are_in_utc(zone):
    start = START.astimezone(timezone(zone))
    for generator in (clickstream.clicks, order_lines.lines, web_logs.lines):
        assert list(islice(generator(1, 0, start, STEP), 3)) == take(generator, 3)


def test_order_lines_are_strings_and_known_by_invoice_and_line():
    lines = take(order_lines.lines, 5000)
    for line in lines:
        assert all(isinstance(value, str) for value in line.values())
    assert list(lines[0]) == [
        *("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "Customer", "Country"),
        *("LineNo", "EventTime"),
    ]
    assert len({(line["InvoiceNo"], line["LineNo"]) for line in lines}) == 5000
    by_invoice = {}
    for line in lines:
        by_invoice.setdefault(line["InvoiceNo"], []).append(line)
    for order in by_invoice.values():
        assert [int(line["LineNo"]) for line in order] == list(range(1, len(order) + 1))
        assert len({(line["Customer"], line["Country"], line["EventTime"]) for line in order}) == 1
    assert any(not line["Customer"] for line in lines)
    assert any(int(line["Quantity"]) < 0 and line["InvoiceNo"].startswith("C") for line in lines)


@pytest.mark.parametrize("first", [0, BLOCK + 5, 2 * BLOCK, 2 * BLOCK + 7, 2 * BLOCK + 15, 3 * BLOCK])
def test_a_burst_is_so_many_further_orders_within_a_second(first):
    burst = Burst(2 * BLOCK, 15)
    lines = take(order_lines.lines, 200, burst=burst)
    assert take(order_lines.lines, 50, first, burst=burst) == lines[first : first + 50]
    extra = lines[2 * BLOCK : 2 * BLOCK + 15]
    assert lines[: 2 * BLOCK] + lines[2 * BLOCK + 15 :] == take(order_lines.lines, 185)
    times = [datetime.fromisoformat(line["EventTime"]) for line in extra]
    assert times == sorted(times)
    assert times[-1] - times[0] < timedelta(seconds=1)
    assert (
        len({line["InvoiceNo"] for line in lines})
        == len({line["InvoiceNo"] for line in take(order_lines.lines, 185)}) + 15
    )


def test_invoice_dates_are_the_published_files():
    assert order_lines.invoice_date(datetime(2010, 12, 1, 8, 6, tzinfo=UTC)) == "12/1/2010 8:06"
    assert order_lines.invoice_date(datetime(2011, 1, 10, 18, 26, tzinfo=UTC)) == "1/10/2011 18:26"


def test_log_lines_are_of_both_address_families_and_lack_some_sizes():
    lines = take(web_logs.lines, 2000)
    clients = {line.split(" ")[0] for line in lines}
    assert any(":" in client for client in clients)
    assert any("." in client for client in clients)
    assert all(("304 - " in line) == (" 304 " in line) for line in lines)
    assert any(" 304 - " in line for line in lines)
    assert sum(line.count(" 200 ") for line in lines) > 1500
