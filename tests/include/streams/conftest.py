import json
import uuid
from pathlib import Path

import pytest

from include.streams import alarms, aws, items, offer_items, orders_to_history, state_items
from tests import streams

ACCESS_LOG = Path(__file__).parents[4] / "shared" / "data" / "apache_access.log"


@pytest.fixture(scope="session")
def access_log():
    """The lines of a published Apache log."""
    if not ACCESS_LOG.exists():
        pytest.skip(f"THE APACHE LOG IS NOT HERE: {ACCESS_LOG}")
    return ACCESS_LOG.read_bytes().splitlines()


@pytest.fixture(scope="session")
def patient(stack):
    """The handlers' clients wait for the stack however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "READ_SECONDS", 120)
        aws.client.cache_clear()
        yield
    aws.client.cache_clear()


@pytest.fixture
def windows_table(patient, monkeypatch):
    """A table of windows of the test's own, which the environment names; attempts follow each other quickly."""
    yield from _table("windows", state_items.KEYS, monkeypatch)


@pytest.fixture
def history_table(patient, monkeypatch):
    """A table of orders of the test's own, which the environment names."""
    yield from _table("history", orders_to_history.KEYS, monkeypatch)


@pytest.fixture
def alarms_table(patient, monkeypatch):
    """A table of alarms of the test's own, which the environment names."""
    yield from _table("alarms", alarms.KEYS, monkeypatch)


@pytest.fixture
def offers_table(patient, monkeypatch):
    """A table of offers of the test's own, which the environment names."""
    yield from _table("offers", offer_items.KEYS, monkeypatch)


def _table(what, keys, monkeypatch):
    name = f"{what}-{uuid.uuid4().hex[:8]}"
    streams.create_table(name, keys)
    monkeypatch.setenv(f"{what.upper()}_TABLE", name)
    monkeypatch.setattr(items, "FIRST_PAUSE", 0.001)
    yield name
    streams.client("dynamodb").delete_table(TableName=name)


@pytest.fixture
def quarantined(stack, monkeypatch):
    """Reads the records put aside during the test: by function, shard and sequence number."""
    prefix = f"quarantine/{uuid.uuid4().hex[:8]}/"
    monkeypatch.setenv("QUARANTINE", f"s3://vitrine-lake/{prefix}")
    s3 = streams.client("s3")

    def read():
        listed = s3.list_objects_v2(Bucket="vitrine-lake", Prefix=prefix).get("Contents", [])
        bodies = {item["Key"]: s3.get_object(Bucket="vitrine-lake", Key=item["Key"])["Body"] for item in listed}
        return {key.removeprefix(prefix).removesuffix(".json"): json.load(body) for key, body in bodies.items()}

    return read
