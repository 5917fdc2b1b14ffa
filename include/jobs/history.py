"""Whether the speed layer's order history and alarms have what the batch layer found; what not, as `order_gaps`.

`--inputs` names a JSON document: `hours`; `lines` and `alarms`, locations of `order_lines` and `order_alarms` of these;
`bronze`, all of bronze that has orders of these hours and of the hour before each; `rule`, the parameters of the rate
alarm; and `settled`, up to when the batch layer has what the speed layer has.

Alarms are not compared by their moments: which moment stands for a burst depends on the order in which its lines came.
What must hold is that there was cause for each, and that every moment with cause has one less than a cooldown away.
"""

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import arguments, hourly, lake
from include.streams import alarms, orders_to_history
from include.streams.encoding import canonical
from include.streams.fields import iso, micros
from include.streams.items import Item, Items
from include.streams.rate import Id, RateRule
from include.tables import versions
from include.transforms.order_lines import micros_of

SECONDS = 3000
"""For how long DynamoDB may take, throttling included."""
SHOWN = 20
"""The most that are named in the report; the table has all."""
LINE_CAUSES, ALARM_CAUSES = ("missing", "outdated"), ("missing", "unexpected", "unsent")
"""Why a line, or an alarm, is in the table."""

_AT_ONCE = 5000
_EXTRA = (*orders_to_history.KEYS, "version")
_EPOCH, _HOUR = datetime(1970, 1, 1), timedelta(hours=1)
GAPS = pa.schema(
    [("subject", pa.string()), ("name", pa.string()), ("moment", pa.timestamp("us")), ("cause", pa.string())]
)
"""Columns of `order_gaps`, beside its partition keys."""


class Gap(NamedTuple):
    """Something of which the speed layer says another thing than the batch layer.

    Attributes:
        subject: line or alarm.
        name: The line's key in the history, or the rule.
        moment: When the line was placed, or of the alarm.
        cause: missing, outdated, unexpected or unsent.
    """

    subject: str
    name: str
    moment: datetime
    cause: str

    def __str__(self) -> str:
        return f"{self.subject} {self.name} of {self.moment.isoformat()} is {self.cause}"


def line_gaps(items: Items, lines: Iterable[Sequence[Mapping[str, Any]]]) -> tuple[int, list[Gap]]:
    """Looks for lines in the history.

    A line is kept when the history has it, or a version of it that was placed later.

    Args:
        items: Of the history.
        lines: Batches of customer, order_line, event_time, placed_at and content.

    Returns:
        How many lines there are, and those that the history lacks, or has in an older version.
    """
    count, gaps = 0, []
    for batch in lines:
        count += len(batch)
        wanted = {(line["customer"], line["order_line"]): line for line in batch}
        found = items.read(wanted)
        for place, line in wanted.items():
            stored = found.get(place)
            if stored is None or _age(stored) < (line["placed_at"], line["content"]):
                gaps.append(Gap("line", " ".join(place), line["event_time"], "outdated" if stored else "missing"))
    return count, gaps


def _age(stored: Item) -> tuple[str, str]:
    """What orders versions of a line, as the history's writer does."""
    content = {name: value for name, value in stored.items() if name not in _EXTRA}
    return content.get("event_time", {}).get("S", ""), canonical(content).decode()


def alarm_gaps(
    items: Items, rule: RateRule, hours: Iterable[str], events: Iterable[tuple[int, Id]], settled: str
) -> tuple[int, list[Gap]]:
    """Compares the alarms of some hours with the orders that should have raised them.

    Args:
        items: Of the table of alarms.
        rule: Whose alarms they are.
        hours: As 2026-03-01T10.
        events: Time and id of all that counts in these hours, and within the rule's window before each.
        settled: ISO 8601. Alarms from this moment on may be of orders that the batch layer has not got yet.

    Returns:
        How many alarms were raised in these hours; and those without cause, those that nobody was told of, and moments
        with cause that no alarm is near to.
    """
    name, until = alarms.name_of(rule), micros(settled)
    ordered = sorted(set(events))
    raised, gaps = 0, []
    last: int | None = None
    for hour in sorted(hours):
        start = micros(f"{hour}:00:00")
        end = start + _HOUR // timedelta(microseconds=1)
        around = _raised(items, rule, start - rule.cooldown, end + rule.cooldown)
        inside = {moment: item for moment, item in around.items() if start <= moment < end}
        raised += len(inside)
        near = ordered[bisect_right(ordered, start - rule.window, key=_time) : bisect_left(ordered, end, key=_time)]
        for moment, item in inside.items():
            if moment < until and _rate(near, rule, moment) <= rule.threshold:
                gaps.append(Gap("alarm", name, _moment(moment), "unexpected"))
            if "sent" not in item and float(item.get("claimed", {"N": "0"})["N"]) < time.time():
                gaps.append(Gap("alarm", name, _moment(moment), "unsent"))
        # Before the hour, the windows are not whole.
        missing = [alarm.time for alarm in rule.alarms(near, last, around) if alarm.time >= start]
        gaps += [Gap("alarm", name, _moment(moment), "missing") for moment in missing]
        last = max(missing, default=last)
    return raised, gaps


def _rate(events: list[tuple[int, Id]], rule: RateRule, moment: int) -> int:
    """How many distinct ids there are in the window that ends with a moment; of sorted events."""
    first = bisect_right(events, moment - rule.window, key=_time)
    return len({id_ for _, id_ in events[first : bisect_right(events, moment, key=_time)]})


def _time(event: tuple[int, Id]) -> int:
    return event[0]


def _moment(time_: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_)


def _raised(items: Items, rule: RateRule, first: int, last: int) -> dict[int, Item]:
    """The alarms of a rule from one moment to another, by theirs."""
    query = partial(
        items.client.query,
        TableName=items.table,
        KeyConditionExpression="alarm = :alarm AND #time BETWEEN :first AND :last",
        ExpressionAttributeNames={"#time": "time"},
        ExpressionAttributeValues={
            ":alarm": {"S": alarms.name_of(rule)},
            ":first": {"S": iso(first)},
            ":last": {"S": iso(last)},
        },
        ConsistentRead=True,
    )
    page = items.patiently(query)
    found = page["Items"]
    while "LastEvaluatedKey" in page:
        page = items.patiently(partial(query, ExclusiveStartKey=page["LastEvaluatedKey"]))
        found += page["Items"]
    return {micros(item["time"]["S"]): item for item in found}


def _batches(s3: Any, locations: Iterable[str], columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows of Parquet files, some at a time."""
    for location in locations:
        for file in versions.files(s3, location):
            body = s3.get_object(Bucket=versions.split(location)[0], Key=file.key)["Body"].read()
            for batch in pq.ParquetFile(pa.BufferReader(body)).iter_batches(_AT_ONCE, columns=columns):
                yield batch.to_pylist()


def _of(gaps: Iterable[Gap], subject: str) -> list[Gap]:
    return [gap for gap in gaps if gap.subject == subject]


def _events(rows: Iterable[list[dict[str, Any]]], rule: RateRule, hours: Iterable[str]) -> Iterator[tuple[int, Id]]:
    """What counts of the orders of some hours and those before each; not what nobody knows the time of."""
    starts = {datetime.fromisoformat(f"{hour}:00:00") for hour in hours}
    wanted = starts | {start - _HOUR for start in starts}
    for batch in rows:
        for row in batch:
            moment = row["event_time"]
            if row["placed_at"] and moment.replace(minute=0, second=0, microsecond=0) in wanted:
                yield micros_of(moment), rule.id(row["invoice"], int(row["line_identity"], 16))


def main() -> None:
    """Runs the job."""
    given = arguments.read("inputs", "lake", "version", "report", "history_table", "alarms_table")
    s3, dynamodb = lake.client(), boto3.client("dynamodb")
    inputs = lake.read_json(s3, given.inputs)
    rule, deadline = RateRule(**inputs["rule"]), time.monotonic() + SECONDS
    history = Items(dynamodb, given.history_table, orders_to_history.KEYS, deadline)
    columns = ["customer", "order_line", "event_time", "placed_at", "content"]
    lines, gaps = line_gaps(history, _batches(s3, inputs["lines"], columns))
    rows = _batches(s3, inputs["bronze"], ["event_time", "placed_at", "invoice", "line_identity"])
    table = Items(dynamodb, given.alarms_table, alarms.KEYS, deadline)
    events = _events(rows, rule, inputs["hours"])
    raised, of_alarms = alarm_gaps(table, rule, inputs["hours"], events, inputs["settled"])
    expected = sum(len(batch) for batch in _batches(s3, inputs["alarms"], ["alarm_at"]))
    gaps = sorted([*gaps, *of_alarms])
    print(f"{lines} lines, {raised} alarms raised, {expected} by the batch layer, {len(gaps)} gaps", flush=True)
    location = versions.location(given.lake, "gold", "order_gaps", given.version)
    hourly.write_rows(s3, [gap._asdict() for gap in gaps], GAPS, "moment", location)
    causes = Counter((gap.subject, gap.cause) for gap in gaps)
    report = {
        "location": location,
        "lines": {"count": lines, **{cause: causes["line", cause] for cause in LINE_CAUSES}},
        "alarms": {"raised": raised, "expected": expected, **{cause: causes["alarm", cause] for cause in ALARM_CAUSES}},
        "named": [str(gap) for subject in ("alarm", "line") for gap in _of(gaps, subject)[:SHOWN]],
    }
    lake.write_json(s3, given.report, report)


if __name__ == "__main__":
    main()
