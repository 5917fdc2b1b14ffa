import json
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from botocore.exceptions import ClientError

from include.streams import establishments, live_offers
from include.streams.establishments import ReferenceDataError
from include.streams.live_offers import handler
from include.streams.offer_items import message
from include.streams.offers import Advisor, OfferRule, parse_fix
from local.data import walkers
from local.producer import poison
from tests.streams import ARRIVED, Context, client, contents, encoded, event, failures, throttle

START = datetime(2026, 3, 1, 15, tzinfo=UTC)
PACE = timedelta(milliseconds=80)
"""12 seconds between two fixes of the same walker."""


def positions(rounds, people=walkers.WALKERS):
    """Records of the first so many walkers."""
    fixes = islice(walkers.fixes(5, 0, START, PACE), rounds * walkers.WALKERS)
    return [data for number, data in enumerate(encoded(fixes)) if number % walkers.WALKERS < people]


def by_the_core(data, rule=None):
    """The messages that the core makes of records."""
    advisor = Advisor(rule or OfferRule(), establishments.parse(walkers.reference()))
    return {one["id"]: one for one in map(message, advisor.offers(map(parse_fix, data)))}


@pytest.fixture
def told(windows_table, offers_table, quarantined, monkeypatch):
    """Everything the handler needs; gives the messages that were published since it was asked last."""
    name = f"offers-{uuid.uuid4().hex[:8]}"
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    monkeypatch.setenv("OFFERS_TOPIC_ARN", topic)
    client("s3").put_object(Bucket="vitrine-lake", Key=f"reference/{name}.jsonl.gz", Body=walkers.reference())
    monkeypatch.setenv("OFFERS_REFERENCE", f"s3://vitrine-lake/reference/{name}.jsonl.gz")

    def received():
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
            found += [json.loads(one["Body"]) for one in messages]
        return found

    yield received
    sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)


def handled(data, size=150):
    """A user's records are in one shard, in their order; the shards come in turn."""
    shards = defaultdict(list)
    for one in data:
        shards[json.loads(one)["user_id"][-1] < "5"].append(one)
    for first in range(0, len(data), size):
        for name, mine in shards.items():
            if batch := mine[first : first + size]:
                assert failures(handler(event(batch, f"shardId-{name:d}", 1000 + first), Context(120))) == []


def offered(table):
    """The offers of a table as their messages."""
    found = {}
    for item in contents(table):
        one = {name: value.get("S") or float(value["N"]) for name, value in item.items()}
        assert one["offer"] == f"{one['moment']}#{one['establishment_id']}"
        assert one["expires"] == ARRIVED + 90 * 24 * 3600
        found[one["id"]] = {name: one[name] for name in one if name not in ("offer", "expires", "version")}
    return found


def test_offers_are_the_cores_and_a_replay_changes_nothing(told, windows_table, offers_table):
    data = positions(12, people=60)
    wanted = by_the_core(data)
    assert len(wanted) > 15
    handled(data)
    assert offered(offers_table) == wanted
    messages = told()
    assert len(messages) == len(wanted)
    assert {one["id"]: one for one in messages} == wanted
    before = contents(windows_table), contents(offers_table)
    assert not any("outbox" in item for item in before[0])
    handled(data, size=700)
    assert (contents(windows_table), contents(offers_table)) == before
    assert told() == []


class Killed(BaseException):
    """What ends a worker in the middle of its work."""


@pytest.mark.parametrize("step", ["told", "put", "published"])
def test_a_worker_that_dies_at_any_step_is_followed_by_one_that_ends_its_work(told, offers_table, monkeypatch, step):
    name = {"told": "_tell", "put": "_publish", "published": "_publish"}[step]
    original = getattr(live_offers, name)

    def dying(*arguments):
        if step == "published":
            original(*arguments)
        raise Killed

    data = positions(12, people=12)
    wanted = by_the_core(data)
    assert wanted
    with monkeypatch.context() as patch:
        patch.setattr(live_offers, name, dying)
        with pytest.raises(Killed):
            handler(event(data), Context(120))
    handled(data)
    assert offered(offers_table) == wanted
    ids = [one["id"] for one in told()]
    assert set(ids) == set(wanted)
    assert len(ids) == len(wanted) + (step == "published")


def test_a_topic_that_is_away_fails_whom_it_concerns(told, offers_table, monkeypatch):
    def away(message):
        raise ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "later"}}, "Publish")

    data = positions(12, people=12)
    wanted = by_the_core(data)
    with monkeypatch.context() as patch:
        patch.setattr(live_offers, "_publish", away)
        again = failures(handler(event(data), Context(120)))
    users = {one["user_id"] for one in wanted.values()}
    assert again == [str(100 + number) for number, one in enumerate(data) if json.loads(one)["user_id"] in users]
    assert 0 < len(again) < len(data)
    handled(data)
    assert {one["id"] for one in told()} == set(wanted)


@pytest.mark.parametrize("what", ["windows_table", "offers_table"])
def test_a_table_that_throttles_loses_no_offer(told, offers_table, request, what):
    data = positions(12, people=12)
    table = request.getfixturevalue(what)
    throttle(table, 1)
    assert failures(handler(event(data), Context(5.05)))
    throttle(table, 0)
    handled(data)
    assert offered(offers_table) == by_the_core(data)
    assert {one["id"] for one in told()} == set(offered(offers_table))


def test_poison_is_put_aside_and_without_consent_nothing_is_kept(told, windows_table, offers_table, quarantined):
    data = positions(12, people=3)
    spoilt = [poison.positions(number, data[0])[1] for number in range(5)]
    refusing = [json.dumps(json.loads(one) | {"consent": False}).encode() for one in data]
    assert failures(handler(event([*spoilt, *refusing]), Context(120))) == []
    assert contents(windows_table) == contents(offers_table) == told() == []
    aside = quarantined()
    assert list(aside) == [f"live_offers/shardId-000000000000/{100 + number}" for number in range(5)]
    assert "latitude is 99.5: a number from -90 to 90 is expected" in {one["reason"] for one in aside.values()}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "s3://vitrine-lake/reference/nothing.jsonl",
            "which is not there, or may not be read: the Glue job vitrine-offer-ref",
        ),
        ("s3://no-such-lake/reference.jsonl", "names s3://no-such-lake/reference.jsonl, which is not there"),
        ("reference.jsonl", "set it to s3://<bucket>/<key>"),
        ("s3://vitrine-lake/reference/broken.jsonl", "broken.jsonl: line 1: record is not JSON"),
    ],
)
def test_without_establishments_the_batch_fails_and_says_why(told, monkeypatch, uri, message):
    client("s3").put_object(Bucket="vitrine-lake", Key="reference/broken.jsonl", Body=b"no json\n")
    monkeypatch.setenv("OFFERS_REFERENCE", uri)
    with pytest.raises(ReferenceDataError, match=message):
        handler(event(positions(1, people=1)), Context(120))
