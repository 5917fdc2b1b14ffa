"""Live offers over the deployed template: positions in Kinesis, offers in DynamoDB and at the topic."""

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from include.streams import establishments
from include.streams.offer_items import message
from include.streams.offers import Advisor, OfferRule, parse_fix
from local.data import walkers
from local.produce import ESTABLISHMENTS, furnish
from local.producer.sources import STREAMS
from local.stack import LAKE
from tests.streams import client, contents, encoded

PATIENCE_SECONDS = 90
FUNCTION, TABLE, WINDOWS = "vitrine-live-offers", "vitrine-offers", "vitrine-windows"
PEOPLE, ROUNDS = 8, 240
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACE = timedelta(seconds=30) / walkers.WALKERS
"""30 seconds between two fixes of the same walker: two hours in all, of one day."""


def eventually(found, wanted):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, (last, wanted)
        time.sleep(0.2)


def put(records):
    """Puts records in their order, by user."""
    entries = [{"Data": data, "PartitionKey": json.loads(data)["user_id"]} for data in records]
    for first in range(0, len(entries), 400):
        answer = client("kinesis").put_records(StreamName=STREAMS["positions"], Records=entries[first : first + 400])
        assert answer["FailedRecordCount"] == 0


def said():
    """What the function has said; nothing before it has ever run."""
    logs = client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{FUNCTION}")
    try:
        return [event["message"].strip() for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def handled():
    """The counts of every batch."""
    return [json.loads(line) for line in said() if line.startswith('{"function": "live_offers"')]


def total(name):
    return sum(batch[name] for batch in handled())


def core(data, **rule):
    """The messages that plain Python makes of records, by id."""
    advisor = Advisor(OfferRule(**rule), establishments.parse(walkers.reference()))
    return {one["id"]: one for one in map(message, advisor.offers(map(parse_fix, data)))}


def offered():
    """The offers of the table as their messages, by id."""
    found = {}
    for item in contents(TABLE):
        one = {name: value.get("S") or float(value["N"]) for name, value in item.items()}
        assert one["offer"] == f"{one['moment']}#{one['establishment_id']}"
        found[one["id"]] = {name: one[name] for name in one if name not in ("offer", "expires", "version")}
    return found


def states():
    return [item for item in contents(WINDOWS) if item["window"]["S"].startswith("offers#")]


@pytest.fixture(scope="module")
def positions():
    """The fixes of eight people."""
    fixes = islice(walkers.fixes(5, 0, START, PACE), ROUNDS * walkers.WALKERS)
    return [data for number, data in enumerate(encoded(fixes)) if number % walkers.WALKERS < PEOPLE]


@pytest.fixture(scope="module")
def received(stack):
    """Reads what the topic has told since it was asked last."""
    sns, sqs = client("sns"), client("sqs")
    (topic,) = [one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith(":vitrine-offers")]
    queue = sqs.create_queue(QueueName="offers-of-the-stack")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )["SubscriptionArn"]

    def read():
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
            found += [json.loads(one["Body"]) for one in messages]
        return found

    yield read
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=queue)


@pytest.fixture(scope="module")
def without(received, positions):
    """What the function said while there was no file of establishments, with the first fixes in the stream."""
    client("s3").delete_object(Bucket=LAKE, Key=ESTABLISHMENTS)
    put(positions[:40])
    eventually(lambda: any("ReferenceDataError" in line for line in said()), True)
    assert contents(TABLE) == states() == []
    yield "\n".join(said())
    client("s3").delete_object(Bucket=LAKE, Key=ESTABLISHMENTS)


@pytest.fixture(scope="module")
def first(without, positions):
    """The stack after all fixes and some poison, and the file."""
    assert furnish(client("s3"))
    put([*positions[40:], json.dumps(json.loads(positions[0]) | {"latitude": 99.5}).encode()])
    eventually(lambda: total("records") > len(positions), True)
    return handled()


def test_without_the_file_the_error_says_which_and_who_writes_it(without):
    assert f"s3://{LAKE}/{ESTABLISHMENTS}, which is not there" in without
    assert "the Glue job vitrine-offer-reference writes it" in without


def test_offers_are_those_of_plain_python_and_none_was_lost_for_lack_of_the_file(first, positions, received):
    wanted = core(positions)
    assert len(wanted) > 20
    assert offered() == wanted
    told = received()
    assert len(told) == len(wanted)
    assert {one["id"]: one for one in told} == wanted
    assert not any("outbox" in item for item in states())


def test_cooldown_and_cap_hold_from_batch_to_batch(first, positions):
    assert len(first) >= 6
    mine = {}
    for one in offered().values():
        mine.setdefault(one["user_id"], []).append((datetime.fromisoformat(one["moment"]), one["establishment_id"]))
    for found in mine.values():
        found.sort()
        assert len({establishment for _, establishment in found}) == len(found) <= 5
        assert all(b - a >= timedelta(minutes=10) for (a, _), (b, _) in pairwise(found))
    # Each of these limits is met: without it there would be more.
    assert max(map(len, mine.values())) == 5
    wanted = core(positions)
    for rule in ({"daily": 1000}, {"cooldown": 1}, {"pause": 0}):
        assert core(positions, **rule).keys() != wanted.keys()


def test_a_replay_of_the_whole_stream_changes_nothing(first, positions, received):
    received()
    before, offers, stale = contents(TABLE), total("offers"), total("stale")
    windows = states()
    put(positions)
    eventually(lambda: total("records") > 2 * len(positions), True)
    assert (contents(TABLE), states()) == (before, windows)
    assert total("offers") == offers == len(before)
    consenting = sum(json.loads(data)["consent"] for data in positions)
    assert total("stale") - stale >= consenting
    assert received() == []


def test_offers_and_states_are_forgotten_in_time(first):
    for name in (TABLE, WINDOWS):
        described = client("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    days = [(int(item["expires"]["N"]) - time.time()) / 86400 for item in contents(TABLE)]
    assert all(89.9 < left <= 90 for left in days)
