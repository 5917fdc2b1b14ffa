import json
import os
import random
import threading
import time
import uuid
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError

from include.streams import alarms, aws, rate_alarm, state_items
from include.streams.fields import iso, micros
from include.streams.rate import TEN_IN_TEN_SECONDS, RateRule
from include.streams.rate_alarm import handler, rule_of
from include.streams.windows import MINUTE, SECOND
from local.producer import poison
from tests.streams import Context, client, contents, encoded, event, failures, throttle

TEN = micros("2026-03-01T10:00:00")


def line(time, invoice, number=1, customer="17850", product="85123A", quantity="2"):
    return {
        "InvoiceNo": str(invoice),
        "StockCode": product,
        "Description": f"THING {product}",
        "Quantity": quantity,
        "InvoiceDate": "3/1/2026 10:00",
        "UnitPrice": "1.5",
        "Customer": customer,
        "Country": "France",
        "LineNo": str(number),
        "EventTime": iso(time),
    }


def burst(start, orders, first=1, step=10_000):
    """So many orders of a line, a hundredth of a second apart."""
    return [line(start + number * step, 1000 + first + number) for number in range(orders)]


@pytest.fixture
def told(windows_table, alarms_table, quarantined, monkeypatch):
    """Everything the handler needs; gives the messages that were published since it was asked last."""
    name = f"alarms-{uuid.uuid4().hex[:8]}"
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("ALARMS_TOPIC_ARN", topic)

    def received():
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return sorted(found, key=lambda message: message["Subject"])

    yield received
    sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)


def handled(lines, size=500, shard="shardId-000000000000", first=1000):
    for start in range(0, len(lines), size):
        batch = event(encoded(lines[start : start + size]), shard, first + start)
        assert failures(handler(batch, Context(120))) == []


def raised(table):
    return [item["time"]["S"] for item in contents(table)]


def times(received):
    return [json.loads(message["Message"])["time"] for message in received]


def test_ten_orders_in_a_second_are_none_and_the_eleventh_is_an_alarm(told, alarms_table):
    handled(burst(TEN, 10))
    assert told() == []
    handled(burst(TEN + SECOND, 1, first=11))  # Exactly a second after the first, which is out.
    assert told() == []
    handled(burst(TEN + SECOND - 1, 1, first=12))
    (message,) = told()
    assert message["Subject"] == "11 orders in 1 s at 2026-03-01T10:00:00.999 UTC (more than 10)"
    assert raised(alarms_table) == [iso(TEN + SECOND - 1)]


def test_a_message_says_who_bought_what(told, alarms_table):
    lines = [
        *(line(TEN + n, 100 + n, customer="1", product="A") for n in range(7)),
        *(line(TEN + 10 + n, 200 + n, customer="", product="B", quantity="-3") for n in range(3)),
        *(line(TEN + 20, 300, number, customer="2", product="C") for number in range(1, 6)),
        line(TEN + 30, 400, customer="2"),  # After the alarm's moment.
        line(TEN - SECOND, 500, customer="3"),  # And before its window.
    ]
    handled(lines)
    (message,) = told()
    body = json.loads(message["Message"])
    assert body["id"] == f"orders>10/1s@{iso(TEN + 20)}"
    assert (body["count"], body["orders_in_all"], body["lines_in_all"]) == (11, 11, 15)
    assert body["orders"] == [*(str(100 + n) for n in range(7)), "200", "201", "202", "300"]
    assert body["products"] == [
        {"product": "A", "description": "THING A", "orders": 7, "lines": 7, "units": 14},
        {"product": "C", "description": "THING C", "orders": 1, "lines": 5, "units": 10},
        {"product": "B", "description": "THING B", "orders": 3, "lines": 3, "units": -9},
    ]
    assert body["customers"] == [
        {"customer": "1", "orders": 7, "lines": 7, "units": 14},
        {"customer": "2", "orders": 1, "lines": 5, "units": 10},
        {"customer": "guest", "orders": 3, "lines": 3, "units": -9},
    ]
    (item,) = contents(alarms_table)
    assert item["alarm"] == {"S": "orders>10/1s"}
    assert item["message"] == {"S": message["Message"]}
    assert {"sent", "expires"} <= item.keys()
    assert "claimed" not in item


def test_a_large_message_names_the_most_and_counts_all(told, monkeypatch):
    monkeypatch.setenv("RATE_THRESHOLD", "299")
    lines = [line(TEN + n, n, customer=f"{n % 50:03}", product=f"{n % 70:03}") for n in range(300)]
    handled(lines)
    (message,) = told()
    body = json.loads(message["Message"])
    assert (len(body["orders"]), len(body["products"]), len(body["customers"])) == (100, 20, 20)
    assert (body["orders_in_all"], body["products_in_all"], body["customers_in_all"]) == (300, 70, 50)
    assert len(message["Message"].encode()) < 256 * 1024


def test_orders_of_several_shards_and_batches_count_together(told, alarms_table, windows_table):
    lines = burst(TEN + SECOND - 50_000, 12)  # Over the edge of two windows.
    handled(lines[0::2], size=2, shard="shardId-000000000000")
    assert told() == []
    handled(lines[1::2], size=2, shard="shardId-000000000001")
    assert len(told()) == 1
    assert len(raised(alarms_table)) == 1


def test_a_replay_of_the_whole_stream_changes_nothing_and_tells_nobody(told, alarms_table, windows_table):
    lines = [one for start in range(5) for one in burst(TEN + start * 40 * SECOND, 14, first=100 * start)]
    sent = encoded(lines * 2)
    random.Random(4).shuffle(sent)
    spoilt = [poison.orders(number, sent[number])[1] for number in range(3)]
    batch = [*sent[:50], *spoilt, *sent[50:]]
    for first in range(0, len(batch), 35):
        assert failures(handler(event(batch[first : first + 35], first=first), Context(120))) == []
    before = contents(alarms_table), contents(windows_table)
    assert len(told()) == len(before[0])
    for size in (60, 17):
        for first in range(0, len(batch), size):
            assert failures(handler(event(batch[first : first + size], first=first), Context(120))) == []
    assert (contents(alarms_table), contents(windows_table)) == before
    assert told() == []


def in_batch(rule, lines):
    return rule.alarms((micros(one["EventTime"]), one["InvoiceNo"]) for one in lines)


@pytest.mark.parametrize("seed", [1, 2])
def test_in_any_order_the_alarms_cover_those_of_a_batch(told, alarms_table, monkeypatch, seed):
    monkeypatch.setenv("RATE_THRESHOLD", "3")
    monkeypatch.setenv("RATE_COOLDOWN_SECONDS", "5")
    rng = random.Random(seed)
    lines = [line(TEN + rng.randrange(60 * SECOND), n) for n in range(110)]
    rule = rule_of({"RATE_THRESHOLD": "3", "RATE_COOLDOWN_SECONDS": "5"})
    handled(lines, size=11)
    found = list(map(micros, raised(alarms_table)))
    every = {alarm.time for alarm in in_batch(RateRule(3, SECOND, 0), lines)}
    assert found
    assert set(found) <= every  # Each is one: more orders never make the rate less.
    assert all(any(abs(moment - time) < rule.cooldown for time in found) for moment in every)
    assert all(two - one >= rule.cooldown for one, two in pairwise(found))
    assert len(told()) == len(found)


def test_in_the_order_of_time_the_alarms_are_those_of_a_batch(told, alarms_table, monkeypatch):
    monkeypatch.setenv("RATE_COOLDOWN_SECONDS", "10")
    lines = sorted(
        (one for start in (0, 4, 11, 30) for one in burst(TEN + start * SECOND, 20, first=50 * start)),
        key=lambda one: one["EventTime"],
    )
    handled(lines, size=7)
    expected = in_batch(RateRule(cooldown=10 * SECOND), lines)
    assert raised(alarms_table) == [iso(alarm.time) for alarm in expected]
    assert times(told()) == [iso(alarm.time) for alarm in expected]


def test_a_late_order_changes_no_alarm_but_may_raise_one(told, alarms_table):
    handled(burst(TEN, 11) + burst(TEN + 10 * MINUTE, 10, first=100))
    assert len(told()) == 1
    (first,) = contents(alarms_table)
    handled(burst(TEN + 5, 1, first=50))  # An hour later: one more in the window of the alarm,
    assert told() == []
    handled(burst(TEN + 10 * MINUTE + 5, 1, first=150))  # and the eleventh of another.
    assert times(told()) == [iso(TEN + 10 * MINUTE + 90_000)]
    assert contents(alarms_table)[0] == first


def test_lines_are_counted_when_they_are_the_unit(told, alarms_table, monkeypatch):
    lines = [line(TEN + n, 1 + n // 6, n % 6 + 1) for n in range(11)]
    handled(lines)
    assert told() == []
    monkeypatch.setenv("RATE_UNIT", "lines")
    handled(lines + lines)
    (message,) = told()
    assert message["Subject"].startswith("11 lines in 1 s")
    assert [item["alarm"]["S"] for item in contents(alarms_table)] == ["lines>10/1s"]


def test_every_event_of_too_high_a_rate_is_an_alarm_without_cooldown(told, alarms_table, monkeypatch):
    monkeypatch.setenv("RATE_COOLDOWN_SECONDS", "0")
    handled(burst(TEN, 18))
    assert raised(alarms_table) == [iso(TEN + n * 10_000) for n in range(10, 18)]
    assert len(told()) == 8


def test_ten_in_ten_seconds(told, monkeypatch):
    for name, value in (("WINDOW_SECONDS", "10"), ("COOLDOWN_SECONDS", "10.0"), ("THRESHOLD", "10")):
        monkeypatch.setenv(f"RATE_{name}", value)
    assert rule_of({"RATE_WINDOW_SECONDS": "10", "RATE_COOLDOWN_SECONDS": "10.0"}) == TEN_IN_TEN_SECONDS
    handled([line(TEN + n * 999_999, n) for n in range(11)])
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THRESHOLD", "many"),
        ("WINDOW_SECONDS", "0"),
        ("COOLDOWN_SECONDS", "-1"),
        ("UNIT", "rows"),
        ("THRESHOLD", "NaN"),
    ],
)
def test_a_setting_that_is_not_sound_is_named(name, value):
    field = name.removesuffix("_SECONDS")
    with pytest.raises(ValueError, match=f"(?i){field}.* is "):
        rule_of({f"RATE_{name}": value})


# -------------------------------------------------------------------------------------------------------------- faults


def test_two_workers_that_see_the_same_burst_tell_it_once(told, alarms_table):
    start = threading.Barrier(2)
    lines = burst(TEN, 40)

    def work(shard, mine):
        start.wait()
        handled(mine, size=5, shard=shard)

    workers = [threading.Thread(target=work, args=(f"shardId-{n}", lines[n::2] + lines[:12])) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(told()) == len(raised(alarms_table)) == 1


class Killed(BaseException):
    """What ends a worker in the middle of its work."""


@pytest.mark.parametrize("step", ["windows", "outbox", "claim", "publish", "told", "marked"])
def test_a_worker_that_dies_at_any_step_is_followed_by_one_that_ends_its_work(
    told, alarms_table, windows_table, monkeypatch, step
):
    monkeypatch.setattr(alarms, "CLAIM_SECONDS", 0.2)
    real = {
        "windows": (rate_alarm, "_lines"),
        "outbox": (alarms.Alarms, "_send"),
        "claim": (rate_alarm, "_publish"),
        "publish": (rate_alarm, "_publish"),
        "told": (alarms, "_marked"),
        "marked": (alarms, "_emptied"),
    }
    owner, name = real[step]
    original = getattr(owner, name)

    def dying(*arguments):
        if step == "publish":
            original(*arguments)
        raise Killed

    monkeypatch.setattr(owner, name, dying)
    batch = event(encoded(burst(TEN, 11)))
    with pytest.raises(Killed):
        handler(batch, Context(120))
    monkeypatch.setattr(owner, name, original)
    # Whoever comes next, from another shard and with nothing to do with it; only unseen work needs the batch again.
    handled(burst(TEN + 60 * MINUTE, 1, first=900), shard="shardId-000000000001")
    if step == "windows":
        assert told() == []
        assert failures(handler(batch, Context(120))) == []
    messages = told()
    # Told twice only by one who died between telling and noting it; then by the same id.
    assert len(messages) == (2 if step in ("publish", "told") else 1)
    assert len({json.loads(message["Message"])["id"] for message in messages}) == 1
    before = contents(alarms_table), contents(windows_table)
    assert "sent" in before[0][0]
    assert failures(handler(batch, Context(120))) == []
    assert (contents(alarms_table), contents(windows_table)) == before
    assert told() == []


def test_a_topic_that_is_away_fails_the_batch_until_it_is_back(told, alarms_table, monkeypatch):
    def away(subject, message):
        raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "later"}}, "Publish")

    batch = event(encoded(burst(TEN, 11)))
    with monkeypatch.context() as patch:
        patch.setattr(rate_alarm, "_publish", away)
        assert len(failures(handler(batch, Context(120)))) == 11
    (item,) = contents(alarms_table)
    assert "sent" not in item
    assert failures(handler(batch, Context(120))) == []  # At once: the claim was given back.
    assert len(told()) == 1
    assert "sent" in contents(alarms_table)[0]


def test_who_finds_a_claim_waits_for_it_or_hands_the_batch_back(told, alarms_table, monkeypatch):
    def hanging(subject, message):
        time.sleep(0.6)
        aws.client("sns").publish(TopicArn=topic, Subject=subject, Message=message)

    topic = os.environ["ALARMS_TOPIC_ARN"]
    monkeypatch.setattr(rate_alarm, "_publish", hanging)
    batch = event(encoded(burst(TEN, 11)))
    first = threading.Thread(target=handler, args=(batch, Context(120)))
    first.start()
    while not contents(alarms_table):
        time.sleep(0.01)
    assert len(failures(handler(batch, Context(5.1)))) == 11  # No time to wait.
    assert failures(handler(batch, Context(120))) == []
    first.join()
    assert len(told()) == 1


@pytest.mark.parametrize("what", ["windows_table", "alarms_table"])
def test_a_table_that_takes_nothing_fails_the_batch_and_loses_no_alarm(told, request, what):
    table = request.getfixturevalue(what)
    throttle(table, 1)
    batch = event([*encoded(burst(TEN, 11)), b"{}"])
    assert len(failures(handler(batch, Context(5.1)))) == 11
    throttle(table, 0)
    assert told() == []
    assert failures(handler(batch, Context(120))) == []
    assert len(told()) == 1


def test_tables_that_throttle_a_third_raise_the_alarm_once(told, windows_table, alarms_table):
    for table in (windows_table, alarms_table):
        throttle(table, 0.3)
    batch = event(encoded(burst(TEN, 11)))
    while failures(handler(batch, Context(120))):
        pass
    for table in (windows_table, alarms_table):
        throttle(table, 0)
    assert len(told()) == len(raised(alarms_table)) == 1


def test_a_window_with_more_lines_than_an_item_holds_is_seen_whole(told, monkeypatch):
    monkeypatch.setattr(state_items, "LARGEST_STATE", 2_000)
    monkeypatch.setenv("RATE_THRESHOLD", "149")
    lines = [line(TEN + n, n) for n in range(150)]
    handled(lines, size=40)
    (message,) = told()
    assert json.loads(message["Message"])["count"] == 150
