"""Alarms of a rate: raised once, whoever sees it, and told once, unless somebody dies in the act.

What is raised goes through an outbox, an item of the windows' table (HASH `alarms#<rule>`, RANGE `outbox`):

1. The outbox gets the alarm's message. As it is one item that changes from version to version, workers that see the
   same rate, or two within a cooldown, decide one after the other; each looks at the alarms that stand.
2. Its item is put (HASH `alarm`, RANGE `time`), with a claim: until when nobody else shall send it.
3. The message is published. 4. The item is marked as `sent`. 5. The message leaves the outbox.

Whoever comes next, with whatever records, does what is left of the steps for all messages in the outbox. Who finds a
claim waits for its end, or for the mark. An alarm is told again, with the same id, when a worker dies between 3 and 4,
or SNS's answer gets lost.
"""

import json
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.streams.assigners import SECOND
from include.streams.fields import iso, micros
from include.streams.items import Item, Items, Place, UnavailableError
from include.streams.rate import Alarm, RateRule

KEYS = ("alarm", "time")
"""HASH and RANGE of the table of alarms."""
KEPT_SECONDS = 90 * 24 * 60 * 60
"""How long an alarm is kept."""
CLAIM_SECONDS = 10.0
"""How long a worker may take to publish: longer than its client tries."""
MOST_ORDERS, MOST_NAMED = 100, 20
"""Orders in a message; products, and customers. The total numbers are always there."""

_RAISED_AT_ONCE = 5  # By one put of the outbox, which has to hold their messages.
_LONGEST_DESCRIPTION = 80
_GUEST = "guest"


@dataclass(frozen=True, order=True)
class Line:
    """A line of an order, as far as alarms need it.

    Attributes:
        time: when the order was placed, microseconds since the epoch.
        identity: which line.
        invoice: which order.
        stock_code: product.
        description: of the product.
        customer: "" for a guest.
        quantity: units.
    """

    time: int
    identity: int
    invoice: str
    stock_code: str
    description: str
    customer: str
    quantity: int


def name_of(rule: RateRule) -> str:
    """HASH of a rule's alarms, such as orders>10/1s."""
    return f"{rule.unit}>{rule.threshold}/{rule.window / SECOND:g}s"


class Alarms:
    """The alarms of a rule.

    Args:
        rule: when to alarm.
        table: of the alarms, whose keys are `KEYS`.
        windows: the windows' table.
        publish: sends subject and message to whoever is to know.
        deadline: until when is waited for others, on the monotonic clock.
    """

    def __init__(
        self, rule: RateRule, table: Items, windows: Items, publish: Callable[[str, str], object], deadline: float
    ) -> None:
        self._rule, self._table, self._windows = rule, table, windows
        self._publish, self._deadline = publish, deadline
        self._name = name_of(rule)
        self._outbox: Place = (f"alarms#{self._name}", "outbox")

    def settle(self, lines: Sequence[Line]) -> int:
        """Raises what lines call for, and sends what is not sent yet, also by others.

        Args:
            lines: all that is known of some stretches of time.

        Returns:
            How many alarms were raised.

        Raises:
            UnavailableError: something is left to do, by whoever comes next.
        """
        ordered = sorted(lines)
        raised = 0
        while True:
            outbox = _Outbox(self._rule, self._name, ordered, self._standing)
            self._change(self._windows, self._outbox, outbox)
            for moment, message in sorted(outbox.messages.items()):
                self._send(moment, message)
            raised += outbox.raised
            if outbox.raised < _RAISED_AT_ONCE:
                return raised

    def _standing(self, first: int, last: int) -> list[int]:
        """The times of the alarms from one time to another."""
        query = partial(
            self._table.client.query,
            TableName=self._table.table,
            KeyConditionExpression="alarm = :alarm AND #time BETWEEN :first AND :last",
            ProjectionExpression="#time",
            ExpressionAttributeNames={"#time": "time"},
            ExpressionAttributeValues={
                ":alarm": {"S": self._name},
                ":first": {"S": iso(first)},
                ":last": {"S": iso(last)},
            },
            ConsistentRead=True,
        )
        answer = self._table.patiently(query)
        found = answer["Items"]
        while "LastEvaluatedKey" in answer:
            answer = self._table.patiently(partial(query, ExclusiveStartKey=answer["LastEvaluatedKey"]))
            found += answer["Items"]
        return [micros(item["time"]["S"]) for item in found]

    def _send(self, moment: str, message: str) -> None:
        place = (self._name, moment)
        claim = _Claim(message)
        while True:
            self._change(self._table, place, claim)
            if claim.sent or claim.mine:
                break
            pause = min(max(claim.until - time.time(), 0.01), 0.1)
            if time.monotonic() + pause > self._deadline:
                raise UnavailableError(f"another worker has not sent the alarm {place} yet")
            time.sleep(pause)
        if claim.mine:
            try:
                self._publish(subject(json.loads(message)), message)
            except (BotoCoreError, ClientError) as error:
                self._change(self._table, place, _released)
                raise UnavailableError(f"the alarm {place} could not be sent: {error}") from error
            self._change(self._table, place, _marked)
        self._change(self._windows, self._outbox, partial(_emptied, moment))

    @staticmethod
    def _change(items: Items, place: Place, change: Callable[[Item | None], Item | None]) -> None:
        if items.change({place: change}):
            raise UnavailableError(f"{place} of {items.table} could not be written in time")


def subject(message: dict[str, Any]) -> str:
    """What an alarm's message is about, in 100 ASCII characters at most."""
    return (
        f"{message['count']} {message['unit']} in {message['window_seconds']:g} s "
        f"at {message['time'][:23]} UTC (more than {message['threshold']})"
    )


class _Outbox:
    """The outbox with the messages of the alarms that are to be raised: a change for `Items`."""

    def __init__(self, rule: RateRule, name: str, lines: list[Line], standing: Callable[[int, int], list[int]]) -> None:
        self._rule, self._name, self._lines, self._standing = rule, name, lines, standing
        self._events = [(line.time, rule.id(line.invoice, line.identity)) for line in lines]
        self._suspects = rule.alarms(self._events)
        self.messages: dict[str, str] = {}
        self.raised = 0

    def __call__(self, stored: Item | None) -> Item | None:
        self.raised = 0
        self.messages = {moment: value["S"] for moment, value in (stored or {}).get("messages", {"M": {}})["M"].items()}
        if not self._suspects:
            return None
        cooldown = self._rule.cooldown
        standing = self._standing(self._suspects[0].time - cooldown, self._lines[-1].time + cooldown)
        found = self._rule.alarms(self._events, raised=[*standing, *map(micros, self.messages)])[:_RAISED_AT_ONCE]
        self.raised = len(found)
        self.messages |= {iso(alarm.time): self._message(alarm) for alarm in found}
        return _outbox_item(self.messages) if found else None

    def _message(self, alarm: Alarm) -> str:
        rule, lines = self._rule, self._lines
        first = bisect_right(lines, alarm.time - rule.window, key=lambda line: line.time)
        inside = lines[first : bisect_right(lines, alarm.time, key=lambda line: line.time)]
        orders = sorted({line.invoice for line in inside})
        message = {
            "id": f"{self._name}@{iso(alarm.time)}",
            "alarm": self._name,
            "time": iso(alarm.time),
            "count": alarm.count,
            "unit": rule.unit,
            "threshold": rule.threshold,
            "window_seconds": rule.window / SECOND,
            "cooldown_seconds": rule.cooldown / SECOND,
            "orders_in_all": len(orders),
            "lines_in_all": len(inside),
            "orders": orders[:MOST_ORDERS],
            **_broken_down("products", inside, lambda line: line.stock_code),
            **_broken_down("customers", inside, lambda line: line.customer or _GUEST),
        }
        return json.dumps(message, ensure_ascii=False, indent=2)


class _Claim:
    """An alarm with the claim to send it, unless it is sent, or another has the claim: a change for `Items`."""

    def __init__(self, message: str) -> None:
        self._message = message
        self.mine = self.sent = False
        self.until = 0.0

    def __call__(self, stored: Item | None) -> Item | None:
        now = time.time()
        self.mine = False
        self.sent = bool(stored and "sent" in stored)
        if self.sent:
            return None
        if stored and float(stored["claimed"]["N"]) > now:
            self.until = float(stored["claimed"]["N"])
            return None
        self.mine = True
        content = json.loads(self._message)
        return {
            "count": {"N": str(content["count"])},
            "orders": {"L": [{"S": order} for order in content["orders"]]},
            "message": {"S": self._message},
            "expires": {"N": str(int(now) + KEPT_SECONDS)},
            "claimed": {"N": f"{now + CLAIM_SECONDS:.3f}"},
        }


def _released(stored: Item | None) -> Item | None:
    return {**stored, "claimed": {"N": "0"}} if stored and "sent" not in stored else None


def _marked(stored: Item | None) -> Item | None:
    if not stored or "sent" in stored:
        return None
    kept = {name: value for name, value in stored.items() if name != "claimed"}
    return {**kept, "sent": {"S": iso(time.time_ns() // 1000)}}


def _emptied(moment: str, stored: Item | None) -> Item | None:
    messages = {at: value["S"] for at, value in (stored or {}).get("messages", {"M": {}})["M"].items()}
    return _outbox_item(messages) if messages.pop(moment, None) else None


def _outbox_item(messages: dict[str, str]) -> Item:
    return {"messages": {"M": {moment: {"S": message} for moment, message in messages.items()}}}


def _broken_down(what: str, lines: list[Line], by: Callable[[Line], str]) -> dict[str, Any]:
    """Lines, orders and units of each of something, most lines first, of equal ones in the order of their names."""
    counts: Counter[str] = Counter()
    units: Counter[str] = Counter()
    orders: dict[str, set[str]] = {}
    descriptions: dict[str, str] = {}
    for line in lines:
        name = by(line)
        counts[name] += 1
        units[name] += line.quantity
        orders.setdefault(name, set()).add(line.invoice)
        descriptions[name] = line.description[:_LONGEST_DESCRIPTION]
    most = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_NAMED]
    rows = [
        {
            what[:-1]: name,
            **({"description": descriptions[name]} if what == "products" else {}),
            "orders": len(orders[name]),
            "lines": counts[name],
            "units": units[name],
        }
        for name in most
    ]
    return {f"{what}_in_all": len(counts), what: rows}
