"""Files landed on the local stack, and what a triggerer would make of them."""

import asyncio
import json
import time
import uuid
from contextlib import suppress

import boto3
import pytest
from airflow.triggers.shared_stream import SharedStreamManager

from include.geo import assets as geo_assets
from include.lakehouse import arrivals
from include.lakehouse.arrivals import FileArrivals, keys_of
from include.lakehouse.assets import LANDED

TRIGGER = 1
VISIBILITY_SECONDS = 3


class Landing:
    """A bucket that tells a queue of what lands below ``in/``; both of a test's own."""

    def __init__(self):
        self.name = f"arrivals-{uuid.uuid4().hex[:12]}"
        self.sqs, self.s3 = boto3.client("sqs"), boto3.client("s3")
        self.s3.create_bucket(Bucket=self.name)

    def connect(self):
        arn = f"arn:aws:sqs:us-east-1:123456789012:{self.name}"
        send = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "Policy": json.dumps({"Statement": [send]})}
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        below = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
        queue = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": below}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={"QueueConfigurations": [queue]}
        )
        return self

    @property
    def trigger(self):
        return FileArrivals(self.name, quiet_seconds=1)

    def land(self, *keys):
        for key in keys:
            self.s3.put_object(Bucket=self.name, Key=key, Body=b"" if key.endswith("/") else b"1")

    def left(self):
        """How many messages are in the queue, received ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    async def empty(self):
        deadline = time.monotonic() + 30
        while self.left():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


class Triggerer:
    """What Airflow's triggerer does with one watcher."""

    def __init__(self, trigger):
        self.manager, self.key = SharedStreamManager(), trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=TRIGGER, trigger=trigger, key=self.key)
        self.events = trigger.filter_shared_stream(stream)

    async def event(self):
        """Payload of the next event, and the number under which it waits to be stored."""
        event = await asyncio.wait_for(anext(self.events), 30)
        return event.payload, self.manager.bind_pending_event(trigger_id=TRIGGER, key=self.key)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.events.aclose()
        await self.manager.unsubscribe(TRIGGER, self.key)


@pytest.fixture
def landing(stack):
    return Landing().connect()


def test_files_that_land_together_are_one_event(landing):
    files = [f"in/2018-09-01/{number:02}.csv" for number in range(23)] + ["in/a day/preço+1.csv"]

    async def scenario():
        async with Triggerer(landing.trigger) as triggerer:
            landing.land(*files, "in/2018-09-02/", "elsewhere/x.csv")
            first, _ = await triggerer.event()
            following = asyncio.create_task(triggerer.event())
            landing.land("in/later.csv")
            return first, (await following)[0]

    assert asyncio.run(scenario()) == ({"keys": sorted(files)}, {"keys": ["in/later.csv"]})


def test_messages_are_deleted_when_the_event_is_stored(landing):
    async def scenario():
        async with Triggerer(landing.trigger) as triggerer:
            landing.land("in/a.csv", "in/b.csv")
            payload, number = await triggerer.event()
            following = asyncio.create_task(triggerer.event())  # the triggerer asks on at once
            await asyncio.sleep(0.5)
            assert landing.left() >= 2
            triggerer.manager.confirm_persisted([number])
            await landing.empty()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            return payload

    assert asyncio.run(scenario()) == {"keys": ["in/a.csv", "in/b.csv"]}


def test_an_event_that_was_never_stored_is_told_again(landing):
    async def told():
        async with Triggerer(landing.trigger) as triggerer:
            return (await triggerer.event())[0]

    landing.land("in/a.csv")
    assert asyncio.run(told()) == {"keys": ["in/a.csv"]}
    assert asyncio.run(told()) == {"keys": ["in/a.csv"]}


def test_what_was_received_before_a_stop_is_told_after_it(landing):
    async def stopped_before_the_event():
        stream = FileArrivals(landing.name, quiet_seconds=20).run()
        waiting = asyncio.create_task(anext(stream))
        while not int(
            landing.sqs.get_queue_attributes(
                QueueUrl=landing.url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
            )["Attributes"]["ApproximateNumberOfMessagesNotVisible"]
        ):
            assert not waiting.done()
            await asyncio.sleep(0.05)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting

    async def told():
        async with Triggerer(landing.trigger) as triggerer:
            return (await triggerer.event())[0]

    landing.land("in/a.csv")
    asyncio.run(stopped_before_the_event())
    assert landing.left() == 2  # with S3's test message
    assert asyncio.run(told()) == {"keys": ["in/a.csv"]}


def test_without_a_triggerer_messages_are_deleted_when_the_next_event_is_asked_for(landing):
    async def scenario():
        events = landing.trigger.run()
        landing.land("in/a.csv")
        assert (await asyncio.wait_for(anext(events), 30)).payload == {"keys": ["in/a.csv"]}
        assert landing.left() >= 1
        following = asyncio.create_task(anext(events))
        await landing.empty()
        landing.land("in/b.csv")
        assert (await asyncio.wait_for(following, 30)).payload == {"keys": ["in/b.csv"]}
        await events.aclose()

    asyncio.run(scenario())


def test_a_queue_that_is_not_there_yet_is_waited_for(stack, monkeypatch, caplog):
    monkeypatch.setattr(arrivals, "RETRY_SECONDS", 0.05)
    landing = Landing()

    async def scenario():
        async with Triggerer(landing.trigger) as triggerer:
            following = asyncio.create_task(triggerer.event())
            while "was not read" not in caplog.text:
                assert not following.done()
                await asyncio.sleep(0.05)
            landing.connect().land("in/a.csv")
            return (await following)[0]

    assert asyncio.run(scenario()) == {"keys": ["in/a.csv"]}


def test_foreign_messages_tell_of_no_files(caplog):
    bodies = [
        "no JSON",
        "[]",
        '{"Event": "s3:TestEvent"}',
        '{"Records": [{"eventSource": "aws:ses"}]}',
        '{"Records": 1}',
    ]
    assert keys_of([{"Body": body} for body in bodies]) == []
    assert caplog.text.count("Not a message of S3") == 4


def test_it_can_be_made_again_from_what_it_says_of_itself():
    path, arguments = FileArrivals("q", quiet_seconds=7, aws_conn_id="other").serialize()
    assert path == "include.lakehouse.arrivals.FileArrivals"
    assert FileArrivals(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize("seconds", [0, 21])
def test_a_quiet_time_that_sqs_cannot_wait_is_refused(seconds):
    with pytest.raises(ValueError, match=f"quiet_seconds is {seconds}"):
        FileArrivals("q", quiet_seconds=seconds)


@pytest.mark.parametrize(("asset", "queue"), [(LANDED, "vitrine-landing"), (geo_assets.LANDED, "vitrine-landing-geo")])
def test_the_asset_watches_the_queue_that_the_lake_tells(stack, asset, queue):
    (watcher,) = asset.watchers
    assert watcher.trigger.queue == queue
    told = boto3.client("s3").get_bucket_notification_configuration(Bucket="vitrine-lake")["QueueConfigurations"]
    assert queue in [one["QueueArn"].split(":")[-1] for one in told]
