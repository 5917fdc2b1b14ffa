"""Orders of a wholesaler of gifts, line by line, in the columns of the UCI data set, all of them strings.

A line is a function of the seed and its index, so a stream can go on where it stopped.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

PRODUCTS = 400
CUSTOMERS = 800
COUNTRIES = {"United Kingdom": 0.82, "Germany": 0.05, "France": 0.05, "EIRE": 0.04, "Spain": 0.02, "Netherlands": 0.02}
BLOCK = 24
"""Lines after which an order ends for certain."""

_GUESTS = 0.15
_RETURNS = 0.02
_FIRST_INVOICE = 600_000
_LONGEST_ORDER = 8
_BURST_SPAN = timedelta(seconds=0.9)
_KINDS = ("mug", "lantern", "tea towel", "lunch bag", "cake stand", "doormat", "clock", "candle", "bunting", "tin")
_STYLES = ("red", "white", "retro", "vintage", "floral", "polkadot", "spaceboy", "union jack", "woodland", "paisley")


@dataclass(frozen=True)
class Burst:
    """Many orders of a line each within one second.

    Attributes:
        line: Index of the first; a multiple of `BLOCK`.
        orders: How many.
    """

    line: int
    orders: int


def lines(
    seed: int, first: int, start: datetime, interval: timedelta, burst: Burst | None = None
) -> Iterator[dict[str, str]]:
    """The lines from one on, without end, in the order in which they were placed.

    Args:
        seed: The same seed, start, interval and burst give the same lines.
        first: Index of the first, from 0.
        start: The time of line 0, in UTC. An order's lines have the time of its first.
        interval: Between two lines.
        burst: Further orders.
    """
    index = first
    if burst:
        until = burst.line + burst.orders
        yield from islice(_regular(seed, index, start, interval), max(burst.line - index, 0))
        index = max(index, burst.line)
        yield from (
            _burst_line(seed, start + burst.line * interval, burst, n - burst.line) for n in range(index, until)
        )
        index = max(index, until) - burst.orders
    yield from _regular(seed, index, start, interval)


def _regular(seed: int, first: int, start: datetime, interval: timedelta) -> Iterator[dict[str, str]]:
    block, offset = divmod(first, BLOCK)
    while True:
        yield from islice(_block(seed, block, start, interval), offset, None)
        block, offset = block + 1, 0


def _block(seed: int, block: int, start: datetime, interval: timedelta) -> Iterator[dict[str, str]]:
    rng = random.Random(f"orders {seed} {block}")
    position = block * BLOCK
    end = position + BLOCK
    while position < end:
        size = min(rng.randint(1, _LONGEST_ORDER), end - position)
        invoice = _FIRST_INVOICE + position  # numbers are left out, as cancelled orders do
        yield from _order(rng, str(invoice), start + position * interval, size)
        position += size


def _burst_line(seed: int, start: datetime, burst: Burst, number: int) -> dict[str, str]:
    rng = random.Random(f"burst {seed} {number}")
    invoice = f"9{_FIRST_INVOICE + number}"
    return next(_order(rng, invoice, start + number * _BURST_SPAN / burst.orders, 1, returns=0.0))


def _order(
    rng: random.Random, invoice: str, placed: datetime, size: int, returns: float = _RETURNS
) -> Iterator[dict[str, str]]:
    customer = "" if rng.random() < _GUESTS else str(12_000 + rng.randrange(CUSTOMERS))
    country = rng.choices(list(COUNTRIES), list(COUNTRIES.values()))[0]
    back = rng.random() < returns
    for line in range(1, size + 1):
        product = int(PRODUCTS * rng.random() ** 2)
        kind, style = product % len(_KINDS), product // len(_KINDS) % len(_STYLES)
        yield {
            "InvoiceNo": f"C{invoice}" if back else invoice,
            "StockCode": f"{20_000 + 7 * product}{'ABC'[product % 3] if product % 4 == 0 else ''}",
            "Description": f"{_STYLES[style]} {_KINDS[kind]}".upper(),
            "Quantity": str(rng.choice((1, 2, 3, 4, 6, 8, 12, 24)) * (-1 if back else 1)),
            "InvoiceDate": invoice_date(placed),
            "UnitPrice": f"{0.29 + 0.4 * (product % 37):.2f}",
            "Customer": customer,
            "Country": country,
            "LineNo": str(line),
            "EventTime": event_time(placed),
        }


def invoice_date(moment: datetime) -> str:
    """A time in UTC as the published file has its own: month first, to the minute."""
    moment = moment.astimezone(UTC)
    return f"{moment.month}/{moment.day}/{moment.year} {moment.hour}:{moment.minute:02}"


def event_time(moment: datetime) -> str:
    """A time in UTC, ISO 8601 to the microsecond, without the zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
