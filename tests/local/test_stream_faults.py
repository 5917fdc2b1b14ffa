"""Everything that can go wrong with the streams, at once, over the deployed template; and nothing is lost or doubled.

Producers send every record twice, shuffled, with poison, while shards split and merge, workers of the functions are
killed in the middle of batches, tables throttle, the search server turns down items, and the whole stack is killed
between puts and deliveries. What comes out is compared with what the generators made, row by row.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import psutil
import pytest
import rich

from include.streams import apache, aws, fields, search, state_items
from include.streams.items import Items
from include.streams.orders import history_key, parse_order
from include.streams.rate import RateRule
from include.streams.rules import RULES, parse_click
from include.streams.state import States
from include.streams.windows import MINUTE, SECOND, fold
from local.data import order_lines
from local.data.order_lines import Burst
from local.producer.sources import STREAMS, Schedule, source
from tests.conftest import REPOSITORY, start_stack, stop_stack
from tests.streams import client, contents, throttle
from tests.troubled_search import troubled

pytestmark = pytest.mark.long

START = datetime(2026, 3, 1, 10, 0, 30, tzinfo=UTC)
DISORDER = 20
THROTTLED, REJECTED, POISON = 0.2, 0.3, 0.01
PATIENCE_SECONDS = 600
KILLS = 5
TABLES = ("vitrine-windows", "vitrine-orders", "vitrine-alarms")
BUCKET = "vitrine-lake"
PARSERS = {
    "clickstream": lambda data: parse_click(data),
    "orders": lambda data: parse_order(data, 0),
    "weblogs": apache.parse,
}
READERS = {
    "clickstream": ("sessions", "visitors"),
    "orders": ("orders_to_history", "rate_alarm"),
    "weblogs": ("weblogs",),
}
"""The functions of each stream, as quarantine names them."""


class Producer:
    """A producer as a user runs it, for one stream."""

    def __init__(self, state, name, rate, count, burst=0):
        self.name, self.count = name, count
        self._rate, self._burst = rate, Burst(count // 2 - count // 2 % order_lines.BLOCK, burst) if burst else None
        self._command = [sys.executable, "-m", "local", "produce", name, "--state", str(state), "--rate", str(rate)]
        options = ["--count", count, "--start", START.isoformat(), "--duplicates", 1, "--disorder", DISORDER]
        options += ["--poison", POISON, *(["--burst-orders", burst] if burst else [])]
        self._start(*map(str, options))

    def _start(self, *options):
        self.process = subprocess.Popen(
            [*self._command, *options], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def resume(self):
        """Ends what is left of the process, and goes on where the last acknowledged record was."""
        self.process.kill()
        self.process.communicate()
        self._start("--resume")

    def finish(self):
        said, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, said.decode()

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def made(self):
        """The data of its sound records."""
        schedule = Schedule(1, START, timedelta(seconds=1 / self._rate))
        records = source(self.name, schedule, burst=self._burst).records(0)
        return [record.data for record in islice(records, self.count)]


def eventually(found, wanted, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, f"{what}: {last!r:.2000} is not {wanted!r:.2000}"
        time.sleep(0.5)


def reached(stack):
    """Lets this process, and the handlers' own modules in it, use the stack."""
    os.environ.update(stack.env)
    aws.client.cache_clear()
    for table in TABLES:
        throttle(table, THROTTLED)


def rejecting(stack, trouble):
    """Puts a server that turns down items between the function and the search server."""
    url, proxy = trouble.enter_context(troubled(stack.env["SEARCH_URL"], share=REJECTED))
    lambda_ = client("lambda")
    variables = lambda_.get_function_configuration(FunctionName="vitrine-weblogs")["Environment"]["Variables"]
    lambda_.update_function_configuration(
        FunctionName="vitrine-weblogs", Environment={"Variables": {**variables, "SEARCH_URL": url}}
    )
    return proxy


def resharded(name, *counts):
    kinesis = client("kinesis")
    for count in counts:
        kinesis.update_shard_count(StreamName=STREAMS[name], TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        kinesis.get_waiter("stream_exists").wait(StreamName=STREAMS[name], WaiterConfig={"Delay": 1})
        time.sleep(2)  # Some records for each generation of shards.


def kill_workers(stack):
    """Kills the functions' workers, whatever they are doing."""
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        try:
            if any("lambda_bootstrap" in word for word in process.cmdline()):
                process.kill()
        except psutil.NoSuchProcess:
            continue


def killed_in_a_batch():
    """How many invocations were killed."""
    logs = client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    names = [name for name in groups if name.startswith("/aws/lambda/vitrine-")]
    pages = (logs.get_paginator("filter_log_events").paginate(logGroupName=name) for name in names)
    events = [event["message"] for found in pages for page in found for event in page["events"]]
    return sum("exited with error: signal: killed" in message for message in events)


def put(name):
    """All records of a stream, with shards and sequence numbers."""
    kinesis, stream = client("kinesis"), STREAMS[name]
    found = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        answer = {
            "NextShardIterator": kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        }
        while answer.get("NextShardIterator") and (answer.get("Records") or answer.get("MillisBehindLatest", 1)):
            answer = kinesis.get_records(ShardIterator=answer["NextShardIterator"])
            found += [(shard["ShardId"], one["SequenceNumber"], one["Data"]) for one in answer["Records"]]
    return found


def objects(prefix):
    s3 = client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def delivered(name):
    """What Firehose wrote of a stream, line by line."""
    return Counter(line for body in objects(f"raw/{name}/").values() for line in gzip.decompress(body).splitlines())


def flushed(stack, name):
    url = f"{stack.endpoint}/_local/firehose/{STREAMS[name]}/flush"
    urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()
    return delivered(name)


def is_sound(name, data):
    try:
        PARSERS[name](data)
    except (fields.RecordError, apache.LineError):
        return False
    return True


def rows(rule):
    items = Items(aws.client("dynamodb"), "vitrine-windows", state_items.KEYS, time.monotonic() + 60)
    stored, begin = States(items, ""), int(START.timestamp()) * SECOND // MINUTE * MINUTE
    starts = range(begin, begin + 3 * MINUTE, rule.assigner.size)
    return in_order((row for start in starts for row in stored.rows(rule, start)), rule)


def in_order(found, rule):
    return sorted(found, key=lambda row: [row[name] for name in rule.keys])


def sends(state):
    return [
        Producer(state, "clickstream", 150, 9_000),
        Producer(state, "orders", 60, 3_600, burst=60),
        Producer(state, "weblogs", 60, 3_600),
    ]


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """A stack after all these faults, what the producers made, and figures."""
    before = dict(os.environ)
    state: Path = tmp_path_factory.mktemp("faults") / "state"
    figures: dict[str, object] = {}
    with ExitStack() as trouble:
        trouble.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        stack = start_stack(state)
        trouble.callback(lambda: stop_stack(stack))
        reached(stack)
        proxy = rejecting(stack, trouble)
        producers = sends(state)
        for producer in producers:
            trouble.callback(producer.stop)
        eventually(lambda: all((state / "produce" / f"{one.name}.json").exists() for one in producers), True, "begun")
        resharded("clickstream", 4)
        resharded("orders", 4)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (killed := killed_in_a_batch()) < KILLS or not proxy.bulks:
            assert time.monotonic() < deadline, (
                f"{killed} workers were killed in a batch, {len(proxy.bulks)} bulks came"
            )
            if killed < KILLS:
                kill_workers(stack)
            time.sleep(3)  # Time to start again, and to have something in hand.
        figures["workers killed in a batch"] = killed
        assert all(one.process.poll() is None for one in producers), (
            "the producers were done before the stack was killed"
        )
        figures["put, not delivered at the kill"] = sum(
            len(put(one.name)) - delivered(one.name).total() for one in producers
        )
        figures["bulk requests before the kill"] = len(proxy.bulks)
        stack.process.send_signal(signal.SIGKILL)
        stack.process.wait(timeout=30)
        stack = start_stack(state)
        reached(stack)
        proxy = rejecting(stack, trouble)
        for producer in producers:
            producer.resume()
        resharded("clickstream", 2, 1)
        resharded("orders", 2, 1)
        for producer in producers:
            producer.finish()
        figures["bulk requests after it"] = len(proxy.bulks)
        yield stack, {one.name: one.made() for one in producers}, figures


def test_nothing_is_lost_and_nothing_counts_twice(after):
    stack, made, figures = after
    began = time.monotonic()
    clicks = [parse_click(data) for data in made["clickstream"]]
    for name, rule in RULES.items():
        states = fold(rule.assigner, rule.reducer, map(rule.event, clicks))
        wanted = [rule.row(window, key, rule.reducer.result(state)) for (window, key), state in states.items()]
        eventually(lambda rule=rule: rows(rule), in_order(wanted, rule), name)
        figures[f"{name}: rows, all equal"] = len(wanted)
    assert [item for item in contents("vitrine-windows") if item["window"]["S"].startswith("late#")] == []

    lines = [parse_order(data, 0) for data in made["orders"]]
    keys = sorted(map(history_key, lines))
    assert len(set(keys)) == len(keys)
    kept = lambda: sorted((item["customer"]["S"], item["order_line"]["S"]) for item in contents("vitrine-orders"))  # noqa: E731
    eventually(kept, keys, "order history")
    figures["order history: lines, all there once"] = len(keys)

    entries = [apache.parse(data) for data in made["weblogs"]]
    server = search.connect(stack.env["SEARCH_URL"])

    def indexed():
        server.indices.refresh(index="weblogs-*")
        found = server.search(
            index="weblogs-*",
            body={"size": 0, "track_total_hits": True, "aggs": {"bytes": {"sum": {"field": "bytes"}}}},
        )
        return found["hits"]["total"]["value"], int(found["aggregations"]["bytes"]["value"])

    eventually(indexed, (len(entries), sum(entry.document().get("bytes") or 0 for entry in entries)), "web logs")
    figures["web logs: documents, all there once"] = len(entries)

    moments = {alarm.time for alarm in RateRule(cooldown=0).alarms([(line.time, line.invoice) for line in lines])}
    assert moments
    eventually(lambda: {"sent" in item for item in contents("vitrine-alarms")}, {True}, "alarms")
    alarms = [fields.micros(item["time"]["S"]) for item in contents("vitrine-alarms")]
    assert set(alarms) <= moments
    assert len(alarms) == 1  # The burst is shorter than the cooldown.
    figures["seconds from the last put to the last row"] = round(time.monotonic() - began, 1)


def test_poison_is_in_quarantine_with_reason_and_place(after):
    _, made, figures = after
    for name, readers in READERS.items():
        records = put(name)
        poison = {(shard, number): data for shard, number, data in records if not is_sound(name, data)}
        assert len(poison) >= len(made[name]) * POISON / 2
        sound = Counter(data for _, _, data in records if is_sound(name, data))
        assert sound.keys() == set(made[name])
        assert min(sound.values()) >= 2
        for reader in readers:
            found = lambda reader=reader: objects(f"quarantine/streams/{reader}/")  # noqa: E731
            places = {f"quarantine/streams/{reader}/{shard}/{number}.json" for shard, number in poison}
            eventually(lambda found=found: found().keys(), places, reader)
            aside = [json.loads(body) for body in found().values()]
            assert all(item["reason"] and (item["shard_id"], item["sequence_number"]) in poison for item in aside)
        figures[f"{name}: put, of them poison"] = f"{len(records):,}, {len(poison)}"
    waiting = client("sqs").get_queue_attributes(
        QueueUrl=client("sqs").get_queue_url(QueueName="vitrine-stream-failures")["QueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )
    assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "0"


def test_what_was_put_is_delivered_once(after):
    stack, made, figures = after
    for name in made:
        # As lines: some poison has a line end of its own.
        lines = Counter(line for _, _, data in put(name) for line in (data + b"\n").splitlines())
        eventually(lambda name=name: flushed(stack, name), lines, f"raw/{name}")
        figures[f"{name}: lines in the lake, each once a put"] = lines.total()
    rich.print(figures)
