"""Visitors of a shop, click by click: sessions on one device from one source, over the shop window and product pages.

A click is a function of the seed and its index, so a stream can go on where it stopped.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

PRODUCTS = 250
CUSTOMERS = 5_000
SHOP = "https://shop.vitrine.example"
DEVICES = {"browser": 0.5, "app_mobile": 0.4, "app_tablet": 0.1}
SOURCES = {"search": 0.34, "direct": 0.22, "newsletter": 0.14, "social": 0.12, "ads": 0.1, "partner": 0.08}
WINDOWS = ("/", "/offers", "/new", "/categories/health", "/categories/beauty", "/categories/baby")

# This many people are in the shop at a time, and this many clicks each has a place for before others take over.
_VISITORS, _ROUNDS = 40, 60
_BLOCK = _VISITORS * _ROUNDS
_SESSION_CLICKS = (1, 20)


def clicks(seed: int, first: int, start: datetime, interval: timedelta) -> Iterator[dict[str, Any]]:
    """The clicks from one on, without end, in the order of their times.

    Args:
        seed: The same seed, start and interval give the same clicks.
        first: Index of the first, from 0.
        start: The time of click 0, in UTC.
        interval: Between two clicks of all visitors together; 20 ms is 50 clicks a second.
    """
    block, offset = divmod(first, _BLOCK)
    index = first
    while True:
        for click in islice(_block(seed, block), offset, None):
            yield click | {"trans_timestamp": _iso(start + index * interval)}
            index += 1
        block, offset = block + 1, 0


def _block(seed: int, block: int) -> Iterator[dict[str, Any]]:
    """So many clicks of so many visitors, mixed; the times are missing."""
    rng = random.Random(f"clicks {seed} {block}")
    visitors = [list(islice(_visits(rng), _ROUNDS)) for _ in range(_VISITORS)]
    for number in range(_ROUNDS):
        rng.shuffle(visitors)
        yield from (visitor[number] for visitor in visitors)


def _visits(rng: random.Random) -> Iterator[dict[str, Any]]:
    """The clicks of one session after another."""
    while True:
        session = {
            "custid": rng.randint(1, CUSTOMERS),
            "trafficfrom": rng.choices(*_weighted(SOURCES))[0],
            "device": rng.choices(*_weighted(DEVICES))[0],
        }
        for number in range(rng.randint(*_SESSION_CLICKS)):
            # People arrive at the window, and look at some products far more than at others.
            product = 0 if number == 0 or rng.random() < 0.25 else 1 + int(PRODUCTS * rng.random() ** 3)
            path = f"/products/{product}" if product else rng.choice(WINDOWS)
            yield {**session, "url": SHOP + path, "touchproduct": product}


def _weighted(shares: dict[str, float]) -> tuple[list[str], list[float]]:
    return list(shares), list(shares.values())


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
