"""The transforms against the window core: the same events in, the same rows out, on each engine."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from include.jobs import clicks as job
from include.streams import rules
from include.streams.encoding import canonical
from include.streams.reducers import Distinct
from include.streams.rules import RULES, Click
from include.transforms import clickstream
from local.data import clickstream as generator
from tests.clicks import brute_force, click, frame
from tests.include.transforms.conftest import Engine, on_polars

DUPLICATED, SHUFFLED = 0.2, 7
START = rules.micros("2026-02-28T22:00:00")


TRANSFORMS = {
    "sessions": clickstream.sessions,
    "visitors_15s": lambda clicks: clickstream.visitors(clicks, rules.VISITORS_15S),
    "visitors_1m": lambda clicks: clickstream.visitors(clicks, rules.VISITORS_1M),
    "sources_1m": clickstream.sources,
}


def check(engine: Engine, name: str, clicks: list[Click]) -> pl.DataFrame:
    """That a transform gives what the core gives, and the right hours."""
    rule = RULES[name]
    made = engine.give(TRANSFORMS[name](clickstream.distinct(engine.take(frame(clicks)))))
    found = made.sort(*rule.keys)
    assert_frame_equal(found.drop("dt", "hour"), brute_force(name, clicks))
    assert (found["dt"] == found["window_start"].dt.date()).all()
    assert (found["hour"] == found["window_start"].dt.strftime("%H")).all()
    return found


def test_there_is_a_transform_of_every_rule():
    assert TRANSFORMS.keys() == RULES.keys()


@pytest.fixture(scope="module")
def generated() -> list[Click]:
    """Three thousand clicks around a full hour and midnight, with duplicates, out of order."""
    rng = random.Random(SHUFFLED)
    start = datetime(2026, 2, 28, 23, 59, 30, tzinfo=UTC)
    made = [
        rules.parse_click(canonical(fields))
        for fields in islice(generator.clicks(3, 0, start, timedelta(milliseconds=21)), 3000)
    ]
    made += rng.sample(made, int(len(made) * DUPLICATED))
    rng.shuffle(made)
    return made


@pytest.mark.parametrize("name", RULES)
def test_generated_clicks(engine, generated, name):
    found = check(engine, name, generated)
    assert found.height > 10
    assert found["hour"].n_unique() == 2


EDGES = (-1, 0, 1, 14_999_999, 15_000_000, 29_999_999, 30_000_000, 45_000_000, 59_999_999, 60_000_000, 3_599_999_999)
"""Microseconds around the ends of windows."""
times = st.sampled_from([START + hours * 3_600_000_000 + edge for hours in range(4) for edge in EDGES])
clicks = st.builds(
    click,
    time=times,
    custid=st.integers(1, 3),
    device=st.sampled_from(rules.DEVICES[:2]),
    url=st.sampled_from(["/", "/é", "/Z", "/a"]),
    trafficfrom=st.sampled_from(["ads", "search"]),
    touchproduct=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(clicks, min_size=1, max_size=40))
@pytest.mark.parametrize("name", RULES)
def test_any_clicks_on_polars(name, made):
    check(on_polars(), name, made + made[:5])


def test_more_visitors_than_are_counted_exactly_are_estimated_as_the_core_does(engine, monkeypatch):
    """A bound of five instead of ten thousand: the same rules, crowded sooner."""
    rule = replace(rules.VISITORS_1M, reducer=Distinct(bound=5))
    monkeypatch.setattr(clickstream, "BOUND", 5)
    monkeypatch.setitem(RULES, rule.name, rule)
    made = [click(START + number, custid=number % 40, url="/crowd") for number in range(60)]
    made += [click(START + number, custid=number, url="/few") for number in range(5)]
    clicks = clickstream.distinct(engine.take(frame(made)))
    crowds = clickstream.crowds(clicks, rule).collect("pyarrow").to_native()
    assert set(crowds["url"].to_pylist()) == {"/crowd"}
    estimates = pl.from_arrow(job.estimates(crowds, rule))
    found = engine.give(clickstream.visitors(clicks, rule, engine.take(estimates))).sort(*rule.keys)
    assert_frame_equal(found.drop("dt", "hour"), brute_force(rule.name, made))
    assert found["exact"].to_list() == [False, True]


def test_the_bound_is_the_rules():
    assert {rule.reducer for rule in clickstream.VISITORS} == {Distinct(bound=clickstream.BOUND)}


@pytest.fixture(scope="module")
def rows(generated) -> pl.DataFrame:
    """The generated clicks, each once, with their hours."""
    time = pl.col("event_time")
    return frame(generated).unique().with_columns(dt=time.dt.date(), hour=time.dt.strftime("%H"))


ACCESSES = {"accesses": pl.len().cast(pl.Int64), "visitors": pl.col("custid").n_unique().cast(pl.Int64)}
HOUR = ["dt", "hour"]


def same(engine, made, expected: pl.DataFrame) -> None:
    found = engine.give(made)
    assert expected.height > 1
    assert_frame_equal(found.sort(found.columns), expected.select(found.columns).sort(found.columns))


def test_accesses_by_device_and_by_source_and_page(engine, rows):
    clicks = engine.take(rows)
    same(engine, clickstream.device_accesses(clicks), rows.group_by("device", *HOUR).agg(**ACCESSES))
    heat = rows.group_by("trafficfrom", "url", *HOUR).agg(**ACCESSES)
    same(engine, clickstream.source_page_accesses(clicks), heat)


def test_products_by_accesses(engine, rows):
    touched = rows.filter(pl.col("touchproduct") > 0).rename({"touchproduct": "product"})
    ranked = touched.group_by("product", *HOUR).agg(**ACCESSES).sort("accesses", "product", descending=[True, False])
    position = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(HOUR)
    same(engine, clickstream.product_accesses(engine.take(rows)), ranked.with_columns(position=position))


def test_visitors_over_time(engine, rows):
    spans = [
        rows.with_columns(
            window_start=pl.col("event_time").dt.truncate(every), window_seconds=pl.lit(seconds, pl.Int64)
        )
        for every, seconds in (("1m", 60), ("1h", 3600))
    ]
    expected = pl.concat(spans).group_by("window_start", "window_seconds", *HOUR).agg(**ACCESSES)
    same(engine, clickstream.unique_visitors(engine.take(rows)), expected)


def test_the_busiest_source_of_each_minute(engine, rows):
    sources = engine.give(clickstream.sources(engine.take(rows)))
    tie = sources.filter(trafficfrom="search").with_columns(trafficfrom=pl.lit("Zeppelin"))  # capitals come first
    sources = pl.concat([sources, tie])
    found = engine.give(clickstream.busiest_sources(engine.take(sources)))
    assert found.height == sources["window_start"].n_unique()
    for start, trafficfrom, events, all_events in found.drop(HOUR).iter_rows():
        minute = dict(sources.filter(window_start=start).select("trafficfrom", "events").iter_rows())
        assert trafficfrom == rules.busiest(minute)
        assert (events, all_events) == (minute[trafficfrom], sum(minute.values()))
