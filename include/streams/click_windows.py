"""What the handlers of the click-stream have in common: clicks to the windows of some rules."""

import os
from collections.abc import Sequence
from typing import Any

from include.streams import records
from include.streams.aws import client
from include.streams.items import Items
from include.streams.rules import ALLOWED_LATENESS, Click, RecordError, Rule, parse_click
from include.streams.state import States
from include.streams.state_items import KEYS


def handle(function: str, rules: Sequence[Rule[Click]], event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Adds the clicks of a batch to their windows; what is no click goes to quarantine.

    Args:
        function: the handler's name.
        rules: its windows.
        event: of a Kinesis event source. Environment: ``WINDOWS_TABLE``, ``QUARANTINE``.
        context: of Lambda; how much time is left.

    Returns:
        ``batchItemFailures``: the records that DynamoDB, or S3, would not take now.
    """
    batch = records.decoded(event)
    good, poison = records.sorted_out(batch, lambda record: parse_click(record.data), RecordError)
    items = Items(client("dynamodb"), os.environ["WINDOWS_TABLE"], KEYS, records.deadline(context))
    added = States(items, function).add(rules, good, ALLOWED_LATENESS)
    failed = added.failed + records.put_aside(function, poison)
    return records.answer(function, batch, failed, late=added.late, quarantined=len(poison))
