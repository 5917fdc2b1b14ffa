"""Apache's combined log of a shop: pages and pictures, IPv4 and IPv6 clients, unchanged pages without a size, errors.

A line is a function of the seed and its index, so a stream can go on where it stopped.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from local.data.clickstream import PRODUCTS, WINDOWS

_BLOCK = 500
_HOSTS = 60
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    r"feed reader \"Courier\" 2.1",
    "-",
)
_REFERRERS = ("-", "https://shop.vitrine.example/", "https://search.example/?q=gifts")
_STATUSES = {"200": 0.86, "304": 0.06, "404": 0.04, "301": 0.02, "206": 0.01, "500": 0.01}


def lines(seed: int, first: int, start: datetime, interval: timedelta) -> Iterator[str]:
    """The lines from one on, without end, in the order of their times.

    Args:
        seed: The same seed, start and interval give the same lines.
        first: Index of the first, from 0.
        start: The time of line 0, in UTC.
        interval: Between two lines.
    """
    block, offset = divmod(first, _BLOCK)
    index = first
    while True:
        for host, rest in islice(_block(seed, block), offset, None):
            yield f"{host} - - [{_stamp(start + index * interval)}] {rest}"
            index += 1
        block, offset = block + 1, 0


def _block(seed: int, block: int) -> Iterator[tuple[str, str]]:
    """The client of each line, and what stands behind the time."""
    rng = random.Random(f"web {seed} {block}")
    hosts = [_host(rng) for _ in range(_HOSTS)]
    for _ in range(_BLOCK):
        status = rng.choices(list(_STATUSES), list(_STATUSES.values()))[0]
        size = "-" if status == "304" else str(int(rng.lognormvariate(8.5, 1.2)))
        request = f"{rng.choice(('GET', 'GET', 'GET', 'GET', 'HEAD', 'POST'))} {_target(rng)} HTTP/1.1"
        referrer, agent = rng.choice(_REFERRERS), rng.choice(_AGENTS)
        yield hosts[int(_HOSTS * rng.random() ** 2)], f'"{request}" {status} {size} "{referrer}" "{agent}"'


def _host(rng: random.Random) -> str:
    """An address of the ranges that are kept for documentation."""
    if rng.random() < 0.3:
        return f"2001:db8::{rng.randrange(1, 0xFFFF):x}"
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


def _target(rng: random.Random) -> str:
    product = 1 + int(PRODUCTS * rng.random() ** 3)
    kind = rng.random()
    if kind < 0.4:
        return f"/products/{product}" + rng.choice(("", "", "?from=newsletter"))
    return f"/images/{product}.jpg" if kind < 0.7 else rng.choice(WINDOWS)


def _stamp(moment: datetime) -> str:
    # Not strftime: the names of months would be those of the machine's language.
    moment = moment.astimezone(UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"
