"""The streams in one go: clicks, orders and log lines, seen as they arrive, and whether both layers say the same."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from local import lakehouse, produce
from local.airflow import RunError
from local.aws import settings
from local.dag_runs import Run, Runners
from local.produce import Options, ProduceError
from local.producer.sources import STREAMS
from local.show import new_table, print_table, terminal
from local.stack import Running

SECONDS = 6
"""For how long records are sent."""
RATES = {"clickstream": 300, "orders": 20, "weblogs": 100}
"""Records a second; so few orders that only the burst raises the alarm."""
BURST = 15
"""Orders within one second."""
PATIENCE_SECONDS = 60

_EVERY = 1.0
_ALARM = "orders>10/1s"
_LAYERS = """
    SELECT 'clicks in sessions',
        (SELECT coalesce(sum(events), 0) FROM vitrine_silver.speed_sessions WHERE {within}),
        (SELECT coalesce(sum(events), 0) FROM vitrine_silver.sessions WHERE {within}),
        (SELECT count(*) FROM vitrine.reconcile WHERE {within})
    UNION ALL SELECT 'order lines in the history',
        (SELECT count(*) FROM vitrine_silver.order_lines WHERE {within})
        - (SELECT count(*) FROM vitrine.order_gaps WHERE {within} AND subject = 'line'),
        (SELECT count(*) FROM vitrine_silver.order_lines WHERE {within}),
        (SELECT count(*) FROM vitrine.order_gaps WHERE {within} AND subject = 'line')
    UNION ALL SELECT 'alarms of the order rate', {alarms},
        (SELECT count(*) FROM vitrine.order_alarms WHERE {within}),
        (SELECT count(*) FROM vitrine.order_gaps WHERE {within} AND subject = 'alarm')
    UNION ALL SELECT 'log lines in the index', {documents},
        (SELECT coalesce(sum(copies), 0) FROM vitrine_silver.web_logs WHERE {within}),
        (SELECT count(*) FROM vitrine.index_gaps WHERE {within})
"""


class StreamsError(RuntimeError):
    """The streams did not do what they should; the message says what."""


def run(
    state: Path, running: Running, runners: Runners, environment: dict[str, str], console: Console | None = None
) -> None:
    """Sends records for some seconds, shows where they arrive, runs the streams' DAGs, and compares both layers.

    Args:
        state: The stack's state directory.
        running: The stack.
        runners: Run the DAGs, two of them at once.
        environment: What the runs need to find the stack.
        console: Where to print.

    Raises:
        StreamsError: records could not be sent, did not arrive in time, or the layers differ.
        RunError: a DAG run failed.
    """
    console = console or terminal()
    start = _start()
    console.print(f"Streams: {', '.join(f'{rate} {name}' for name, rate in RATES.items())} a second", style="bold")
    _send(state, running, start)
    hour = f"{start:%Y-%m-%dT%H}"
    # What has arrived up to now is loaded at once, although the hour is not over: a run for it as if it were.
    until = datetime.now(UTC).replace(minute=10, second=0, microsecond=0) + timedelta(hours=1)
    clicks = [Run("kinesis_to_s3", {}, until), Run("speed_reconcile", {"hour": hour, "threshold": 0})]
    failures = runners.side_by_side([clicks, [Run("order_stream", {}, until), Run("web_logs", {}, until)]], environment)
    if failures:
        raise RunError("; ".join(failures))
    _compare(running, hour, console)


def _start() -> datetime:
    """The time of the first records: now, or a little earlier, so that all of them are of the same hour."""
    now = datetime.now(UTC).replace(microsecond=0)
    return min(now, now.replace(minute=59, second=0) - timedelta(seconds=SECONDS))


def _send(state: Path, running: Running, start: datetime) -> None:
    """Sends to the three streams at once, and says every second what of it has arrived, until all of it has."""
    began = time.monotonic()
    before = _arrived(running, start)
    made_of = {"seed": int(start.timestamp()), "start": start.isoformat()}
    with ThreadPoolExecutor(len(RATES)) as beside:
        sending = []
        for name, rate in RATES.items():
            given = {**made_of, "burst_orders": BURST} if name == "orders" else made_of
            options = Options(name, rate, rate * SECONDS, made_of=given)
            sending.append(beside.submit(produce.produce, state, settings.client("kinesis"), options))
        sent = False
        while not sent or any(_behind(name) for name in RATES):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise StreamsError(f"what was sent has not arrived after {PATIENCE_SECONDS} s: look into /aws/lambda")
            time.sleep(_EVERY)
            if not sent and (sent := all(one.done() for one in sending)):
                for name in RATES:
                    _flush(running, name)
            now = _arrived(running, start)
            seen = ", ".join(f"{now[what] - before[what]:,} {what}" for what in now)
            print(f"  {time.monotonic() - began:4.0f} s   {seen}", flush=True)
        for one in sending:
            try:
                one.result()
            except ProduceError as error:
                raise StreamsError(str(error)) from error
    for alarm in _alarms(start):
        message = json.loads(alarm["message"]["S"])
        print(
            f"  ALARM    {message['count']} {message['unit']} in {message['window_seconds']:g} s at {message['time']}"
        )


def _arrived(running: Running, start: datetime) -> dict[str, int]:
    """What the speed layer has got: in DynamoDB the clicks in sessions, the order lines and the alarms; log lines."""
    minutes = [start.replace(second=0) + timedelta(minutes=number) for number in (0, 1)]
    sessions = [item for minute in minutes for item in _query("vitrine-windows", "window", f"sessions#{_iso(minute)}")]
    return {
        "clicks in sessions": sum(int(item["events"]["N"]) for item in sessions),
        "order lines in the history": _count("vitrine-orders"),
        "log lines in the index": _documents(running),
        "alarms": len(_alarms(start)),
    }


def _alarms(since: datetime) -> list[dict[str, Any]]:
    found = _query("vitrine-alarms", "alarm", _ALARM)
    return [item for item in found if item["time"]["S"] >= _iso(since) and "sent" in item]


def _query(table: str, name: str, value: str) -> list[dict[str, Any]]:
    pages = settings.client("dynamodb").get_paginator("query")
    asked = {"KeyConditionExpression": "#hash = :value", "ExpressionAttributeNames": {"#hash": name}}
    found = pages.paginate(TableName=table, ExpressionAttributeValues={":value": {"S": value}}, **asked)
    return [item for page in found for item in page["Items"]]


def _count(table: str) -> int:
    pages = settings.client("dynamodb").get_paginator("scan").paginate(TableName=table, Select="COUNT")
    return sum(page["Count"] for page in pages)


def _documents(running: Running, query: str = "*") -> int:
    """Documents of the web logs, with what was stored this moment."""
    _asked(f"{running.search_url}/weblogs-*/_refresh", "POST")
    return int(_asked(f"{running.search_url}/weblogs-*/_count?q={quote(query)}", "GET").get("count", 0))


def _asked(url: str, method: str) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:  # noqa: S310 - ours
        return json.load(answer)


def _behind(stream: str) -> bool:
    """Whether a reader of the stream, or what it reads for, has not done everything yet."""
    now = datetime.now(UTC)
    points = settings.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Kinesis",
        MetricName="GetRecords.IteratorAgeMilliseconds",
        Dimensions=[{"Name": "StreamName", "Value": STREAMS[stream]}],
        StartTime=now.replace(microsecond=0),
        EndTime=now + timedelta(seconds=1),
        Period=1,
        Statistics=["Maximum"],
    )["Datapoints"]
    return any(point["Maximum"] > 0 for point in points)


def _flush(running: Running, stream: str) -> None:
    """Has Firehose deliver at once what it would collect for a minute."""
    _asked(f"{running.endpoint}/_local/firehose/{STREAMS[stream]}/flush", "POST")


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


def _compare(running: Running, hour: str, console: Console) -> None:
    """Prints what both layers have of an hour.

    Raises:
        StreamsError: they differ.
    """
    day, _, of_day = hour.partition("T")
    start = datetime.fromisoformat(f"{hour}:00:00")
    raised = [item for item in _query("vitrine-alarms", "alarm", _ALARM) if item["time"]["S"].startswith(hour)]
    stamps = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, start + timedelta(hours=1, seconds=-1)))
    documents = _documents(running, f"@timestamp:[{' TO '.join(stamps)}]")
    sql = _LAYERS.format(within=f"dt = DATE '{day}' AND hour = '{of_day}'", alarms=len(raised), documents=documents)
    table = new_table(f"Streams, {day} {of_day}:00 UTC", "", ">speed layer", ">batch layer", ">differ", "reconcile")
    differing = []
    for what, speed, batch, differ in lakehouse.query(sql):
        equal = speed == batch and differ == "0"
        table.add_row(what, f"{int(speed):,}", f"{int(batch):,}", f"{int(differ):,}", "equal" if equal else "DIFFERENT")
        differing += [] if equal else [what]
    print_table(console, table)
    if differing:
        raise StreamsError(
            f"{', '.join(differing)}: the layers differ; vitrine.reconcile, order_gaps and index_gaps tell"
        )
