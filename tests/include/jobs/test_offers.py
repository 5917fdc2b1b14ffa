"""Spark Structured Streaming makes of files the offers that the core makes of them."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import polars as pl
import pytest

from include.jobs import offers
from include.streams import establishments
from include.streams.assigners import MINUTE
from include.streams.fields import RecordError
from include.streams.offer_items import message
from include.streams.offers import Advisor, OfferRule, parse_fix
from local.data import walkers
from local.producer import poison
from local.producer.injection import Injection, Record, emissions
from tests.include.transforms.conftest import spark  # noqa: F401 - a fixture
from tests.streams import encoded

START = datetime(2026, 3, 1, 15, tzinfo=UTC)
PACE = timedelta(milliseconds=80)
RULE = replace(OfferRule(), patience=MINUTE)


@pytest.fixture
def sent():
    """What arrives of the positions: twice, out of order by up to a minute, some of it spoilt."""
    fixes = islice(walkers.fixes(5, 0, START, PACE), 12 * walkers.WALKERS)
    few = [data for number, data in enumerate(encoded(fixes)) if number % walkers.WALKERS < 40]
    records = [Record(number, number * 300_000, json.loads(data)["user_id"], data) for number, data in enumerate(few)]
    injection = Injection(duplicates=0.2, disorder=59.0, poison=0.02)
    return [one.data for one in emissions(iter(records), injection, 1, poison.positions)]


@pytest.mark.long
@pytest.mark.usefixtures("spark")
def test_spark_makes_the_offers_of_the_core(sent, tmp_path, monkeypatch):
    (tmp_path / "positions").mkdir()
    half = len(sent) // 2
    for number, part in enumerate((sent[:half], sent[half:])):
        file = tmp_path / "positions" / f"{number}"
        file.write_bytes(b"\n".join(part))
        os.utime(file, (START.timestamp() + number,) * 2)  # Spark takes the oldest first.
    (tmp_path / "establishments").write_bytes(walkers.reference())
    monkeypatch.setenv("OFFER_PATIENCE_SECONDS", "60")
    places = {"source": "positions", "reference": "establishments", "output": "made/", "checkpoint": "checkpoint"}
    arguments = [f"--{name}={tmp_path}/{place}" for name, place in places.items()]
    monkeypatch.setattr("sys.argv", ["offers.py", *arguments, "--files-per-batch=1"])
    offers.main()
    advisor = Advisor(RULE, establishments.parse(walkers.reference()))
    fixes, poisoned = [], []
    for data in sent:
        try:
            fixes.append(parse_fix(data))
        except RecordError:
            poisoned.append(data)
    latest = {}
    for fix in fixes:
        latest[fix.user] = max(latest.get(fix.user, 0), fix.point.time)
    # What waits for a later fix is not decided yet.
    decided = [fix for fix in fixes if fix.point.time <= latest[fix.user] - RULE.patience]
    wanted = [message(offer) for offer in advisor.offers(decided)]
    made = pl.read_parquet(tmp_path / "made" / "offers" / "*" / "*.parquet", hive_partitioning=False)
    assert sorted(made.to_dicts(), key=lambda one: one["id"]) == sorted(wanted, key=lambda one: one["id"])
    assert len(wanted) > 5
    rejects = pl.read_parquet(tmp_path / "made" / "quarantine" / "*" / "*.parquet", hive_partitioning=False)
    assert sorted(rejects["data"]) == sorted(poisoned)
    assert len(list((tmp_path / "made" / "quarantine").iterdir())) == 2


def test_a_stream_needs_its_region():
    with pytest.raises(ValueError, match="--source kinesis:vitrine-positions needs --region"):
        offers.source(None, "kinesis:vitrine-positions")
