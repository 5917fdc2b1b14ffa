"""Lambda handler of the orders: each line into the order history, where a customer's lines are found by one query.

A line is one item, whatever comes twice. Of two versions of a line, the one that was placed later stays; of those
placed at the same time, the one whose content sorts last. So the order in which they come doesn't matter.
"""

import os
from collections import defaultdict
from typing import Any

from include.streams import records
from include.streams.aws import client
from include.streams.encoding import canonical
from include.streams.fields import RecordError, iso
from include.streams.items import Item, Items, Place
from include.streams.orders import Order, history_key, parse_order
from include.streams.records import Record

FUNCTION = "orders_to_history"
KEYS = ("customer", "order_line")
"""HASH and RANGE of the history."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Stores the lines of a batch; what is no line of an order goes to quarantine.

    Args:
        event: of a Kinesis event source. Environment: ``HISTORY_TABLE``, ``QUARANTINE``.
        context: of Lambda; how much time is left.

    Returns:
        ``batchItemFailures``: the records that DynamoDB, or S3, would not take now.
    """
    batch = records.decoded(event)
    good, poison = records.sorted_out(batch, lambda record: parse_order(record.data, record.arrival), RecordError)
    lines: dict[Place, _Line] = {}
    sources: dict[Place, list[Record]] = defaultdict(list)
    for record, order in good:
        place = history_key(order)
        sources[place].append(record)
        lines.setdefault(place, _Line()).add(attributes(order))
    items = Items(client("dynamodb"), os.environ["HISTORY_TABLE"], KEYS, records.deadline(context))
    unwritten = items.change(lines, known=False)
    failed = [record for place in unwritten for record in sources[place]] + records.put_aside(FUNCTION, poison)
    return records.answer(FUNCTION, batch, failed, lines=len(lines), quarantined=len(poison))


def attributes(order: Order) -> Item:
    """A line as the history has it, without its key."""
    texts = {
        "event_time": None if order.placed is None else iso(order.placed),
        "stock_code": order.stock_code,
        "description": order.description,
        "invoice_date": order.invoice_date,
        "country": order.country,
    }
    numbers = {"quantity": str(order.quantity), "unit_price": _plain(order)}
    return {name: {"S": value} for name, value in texts.items() if value} | {
        name: {"N": value} for name, value in numbers.items()
    }


class _Line:
    """The latest version of a line: a change for `Items`."""

    def __init__(self) -> None:
        self._item: Item = {}

    def add(self, item: Item) -> None:
        self._item = max(self._item, item, key=_age)

    def __call__(self, stored: Item | None) -> Item | None:
        known = {name: value for name, value in (stored or {}).items() if name not in (*KEYS, "version")}
        return self._item if _age(self._item) > _age(known) else None


def _age(item: Item) -> tuple[str, bytes]:
    return item.get("event_time", {}).get("S", ""), canonical(item) if item else b""


def _plain(order: Order) -> str:
    """The price as DynamoDB gives it back."""
    price = format(order.unit_price.normalize(), "f")
    return "0" if price == "-0" else price
