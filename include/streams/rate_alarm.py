"""Lambda handler of the orders: an alarm when more are placed in a moment than usual.

The lines of the last seconds are in DynamoDB, in windows as long as the rule's, so the shards of the stream count
together. A batch is stored first; then the moments it may have changed are looked at, with all that is known of them.
Of workers that do so at the same time, at least the one that stored last sees everything.
"""

import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from include.streams import alarms, records, state_items
from include.streams.alarms import Alarms, Line
from include.streams.assigners import SECOND, Tumbling, Window
from include.streams.aws import client
from include.streams.fields import RecordError
from include.streams.items import Items, UnavailableError
from include.streams.orders import Order, parse_order
from include.streams.rate import RateRule
from include.streams.records import Record
from include.streams.reducers import Collect
from include.streams.rules import Rule
from include.streams.state import States

FUNCTION = "rate_alarm"
_STREAM = "orders"


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Stores the lines of a batch, raises alarms and sends them; what is no line of an order goes to quarantine.

    Args:
        event: of a Kinesis event source. Environment: ``WINDOWS_TABLE``, ``ALARMS_TABLE``, ``ALARMS_TOPIC_ARN``,
            ``QUARANTINE``, ``RATE_THRESHOLD``, ``RATE_WINDOW_SECONDS``, ``RATE_COOLDOWN_SECONDS``, ``RATE_UNIT``.
        context: of Lambda; how much time is left.

    Returns:
        ``batchItemFailures``: the records that DynamoDB, SNS or S3 would not take now.
    """
    rule = rule_of(os.environ)
    batch = records.decoded(event)
    good, poison = records.sorted_out(batch, lambda record: parse_order(record.data, record.arrival), RecordError)
    deadline = records.deadline(context)
    windows = Items(client("dynamodb"), os.environ["WINDOWS_TABLE"], state_items.KEYS, deadline)
    states, lines_of = States(windows, FUNCTION), window_rule(rule)
    failed = states.add([lines_of], good, lateness=None).failed
    raised = 0
    try:
        lines = _lines(states, lines_of, good, set(failed))
        table = Items(client("dynamodb"), os.environ["ALARMS_TABLE"], alarms.KEYS, deadline)
        raised = Alarms(rule, table, windows, _publish, deadline).settle(lines)
    except UnavailableError as error:
        print(f"{FUNCTION}: {error}")
        failed = [record for record, _ in good]
    failed = failed + records.put_aside(FUNCTION, poison)
    return records.answer(FUNCTION, batch, failed, raised=raised, quarantined=len(poison))


def rule_of(environment: Mapping[str, str]) -> RateRule:
    """The rule that environment variables describe; those that aren't there have the rule's defaults.

    Raises:
        ValueError: one is not sound; the message names it.
    """
    given: dict[str, Any] = {}
    for name, scale in (("threshold", 1), ("window", SECOND), ("cooldown", SECOND)):
        variable = f"RATE_{name.upper()}{'' if scale == 1 else '_SECONDS'}"
        if variable in environment:
            try:
                given[name] = int(Decimal(environment[variable]) * scale)
            except (InvalidOperation, OverflowError, ValueError):
                raise ValueError(f"{variable} is {environment[variable]!r}: give a number") from None
    if "RATE_UNIT" in environment:
        given["unit"] = environment["RATE_UNIT"]
    return RateRule(**given)


def window_rule(rule: RateRule) -> Rule[Order]:
    """The windows that keep the lines of the orders: as long as the rate's, so a moment looks back into one more."""

    def row(window: Window, key: str, lines: list[Any]) -> dict[str, Any]:
        return {"window_start": window.start, "stream": key, "lines": len(lines)}

    return Rule[Order](
        name=f"order_lines_{rule.window / SECOND:g}s",
        assigner=Tumbling(rule.window),
        reducer=Collect(),
        columns={"window_start": "timestamp", "stream": "string", "lines": "integer"},
        keys=("window_start", "stream"),
        key=lambda order: _STREAM,
        value=lambda order: [
            order.invoice,
            order.stock_code,
            order.description,
            order.customer or "",
            order.quantity,
        ],
        row=row,
    )


def _lines(states: States, lines_of: Rule[Order], good: list[tuple[Record, Order]], failed: set[Record]) -> list[Line]:
    """All lines around those of the batch: a line counts in its window and in the next; these look one back."""
    size = lines_of.assigner.size
    starts = {
        lines_of.assigner.last(order.time) + step
        for record, order in good
        if record not in failed
        for step in (-size, 0, size)
    }
    found = states.load(lines_of, [(Window(start, start + size), _STREAM) for start in sorted(starts)])
    return [Line(time, identity, *value) for state in found.values() for identity, (time, value) in state.items()]


def _publish(subject: str, message: str) -> None:
    client("sns").publish(TopicArn=os.environ["ALARMS_TOPIC_ARN"], Subject=subject, Message=message)
