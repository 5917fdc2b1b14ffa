from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams.rate import PRESETS, Alarm, RateRule, SlidingRate
from include.streams.windows import SECOND

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Machines are busy at times.

EVENTS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcde")), max_size=25)
RULES = st.builds(RateRule, threshold=st.integers(0, 3), window=st.integers(1, 12), cooldown=st.integers(0, 15))


def moments(rule, events):
    """Every moment of the definition, looked at on its own."""
    alarms, last = [], None
    for moment in range(31):
        ids = {name for time, name in events if moment - rule.window < time <= moment}
        at_an_event = any(time == moment for time, _ in events)
        if at_an_event and len(ids) > rule.threshold and (last is None or moment >= last + rule.cooldown):
            alarms.append(Alarm(moment, len(ids), tuple(sorted(ids))))
            last = moment
    return alarms


@PATIENT
@given(rule=RULES, events=EVENTS)
def test_alarms_are_those_of_the_definition(rule, events):
    assert rule.alarms(events) == moments(rule, events)


@PATIENT
@given(rule=RULES, events=EVENTS, data=st.data())
def test_any_order_duplication_split_and_restart_gives_the_same_alarms(rule, events, data):
    """Events within the lateness, the watermark behind them; duplicates of any age."""
    lateness = 8
    delays = data.draw(st.lists(st.integers(0, lateness), min_size=len(events), max_size=len(events)))
    arrived = [(time + delay, (time, name)) for (time, name), delay in zip(events, delays, strict=True)]
    arrivals = [event for _, event in sorted(arrived)]
    rate, alarms, newest = SlidingRate(rule), [], 0
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        batch, arrivals = arrivals[:size], arrivals[size:]
        assert rate.add_many(batch * 2) == []
        newest = max(newest, *(time for time, _ in batch))
        alarms += rate.alarms(newest - lateness)
        if data.draw(st.booleans()):
            snapshot = rate.snapshot()
            rate = SlidingRate(rule)
            rate.restore(snapshot)
            assert rate.snapshot() == snapshot
    alarms += rate.alarms(1_000)
    assert alarms == rule.alarms(events)


def orders(*seconds):
    return [(round(second * SECOND), f"{536365 + n}") for n, second in enumerate(seconds)]


def test_ten_orders_in_a_second_are_no_alarm_and_eleven_are():
    rule = PRESETS["default"]
    ten = orders(*(n / 100 for n in range(10)))
    assert rule.alarms(ten) == []
    eleventh = (ten[-1][0] + 1, "536400")
    (alarm,) = rule.alarms([*ten, eleventh])
    assert (alarm.time, alarm.count) == (eleventh[0], 11)
    assert alarm.ids == tuple(sorted(name for _, name in [*ten, eleventh]))


def test_ten_in_ten_seconds_knows_10_000_from_9_999999():
    rule = PRESETS["10-in-10s"]
    ten = orders(*range(10))
    assert rule.alarms([*ten, (10_000_000, "last")]) == []  # The first is exactly ten seconds old: out.
    assert [alarm.time for alarm in rule.alarms([*ten, (9_999_999, "last")])] == [9_999_999]


def test_orders_count_once_and_lines_each():
    lines = [(n, "536365", 1_000 + n) for n in range(11)]
    by_order, by_line = RateRule(unit="orders"), RateRule(unit="lines")
    assert by_order.alarms((time, by_order.id(invoice, identity)) for time, invoice, identity in lines) == []
    assert len(by_line.alarms((time, by_line.id(invoice, identity)) for time, invoice, identity in lines)) == 1


def test_an_order_counts_until_its_latest_line_leaves():
    rule = RateRule(threshold=1, window=10, cooldown=0)
    assert [alarm.time for alarm in rule.alarms([(0, "a"), (5, "a"), (14, "b")])] == [14]
    assert rule.alarms([(0, "a"), (5, "a"), (15, "b")]) == []


def test_the_next_alarm_may_be_exactly_when_the_cooldown_ends():
    rule = RateRule(threshold=0, window=1, cooldown=10)
    assert [alarm.time for alarm in rule.alarms([(0, "a"), (9, "b"), (10, "c"), (19, "d")])] == [0, 10]
    assert [alarm.time for alarm in rule.alarms([(9, "b"), (10, "c")], after=0)] == [10]


def test_what_comes_after_its_moment_was_decided_is_handed_back():
    rate = SlidingRate(RateRule(threshold=1, window=10, cooldown=0))
    assert rate.add_many([(5, "a"), (20, "b")]) == []
    assert rate.alarms(watermark=20) == []
    assert rate.add_many([(19, "c"), (20, "d"), (5, "a")]) == [(19, "c"), (5, "a")]
    assert [alarm.time for alarm in rate.alarms(watermark=21)] == [20]
    assert rate.alarms(watermark=15) == []  # A watermark does not fall.


def test_a_duplicate_that_is_still_held_is_not_late():
    rate = SlidingRate(RateRule(threshold=1, window=10))
    rate.add_many([(19, "a")])
    rate.alarms(watermark=20)
    assert rate.add_many([(19, "a")]) == []


def test_only_a_window_is_held():
    rate = SlidingRate(RateRule())
    for second in range(200):
        rate.add_many([(second * SECOND + n, f"{second}-{n}") for n in range(10)])
        rate.alarms(watermark=second * SECOND)
        if second == 20:
            before = len(rate.snapshot())
    assert len(rate.snapshot()) <= before + 100


def test_a_snapshot_of_another_rule_is_refused():
    with pytest.raises(ValueError, match="the snapshot is of RateRule"):
        SlidingRate(RateRule(threshold=5)).restore(SlidingRate(RateRule()).snapshot())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": -1}, "threshold is -1"),
        ({"window": 0}, "window is 0"),
        ({"window": 1.0}, r"window is 1\.0"),
        ({"cooldown": -1}, "cooldown is -1"),
        ({"unit": "items"}, "unit is 'items': give orders or lines"),
    ],
)
def test_rules_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RateRule(**arguments)


@settings(PATIENT, max_examples=50)
@given(rule=RULES, events=EVENTS, split=st.integers(0, 25))
def test_alarms_that_stand_keep_others_away_and_no_moment_is_left_alone(rule, events, split):
    """What was raised from the first events alone stands; all of them then add what it does not cover."""
    early = [alarm.time for alarm in rule.alarms(events[:split])]
    later = [alarm.time for alarm in rule.alarms(events, raised=early)]
    times = sorted(early + later)
    assert all(two - one >= max(rule.cooldown, 1) for one, two in pairwise(times))
    every = RateRule(rule.threshold, rule.window, 0).alarms(events)
    assert {alarm.time for alarm in every} >= set(times)
    assert all(any(abs(alarm.time - time) < max(rule.cooldown, 1) for time in times) for alarm in every)
    assert rule.alarms(events, raised=times) == []
