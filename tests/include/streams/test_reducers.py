"""The laws of a semilattice, and each reducer beside what the textbook says it computes."""

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams.encoding import canonical
from include.streams.reducers import (
    Arrivals,
    Cardinality,
    Collect,
    Compose,
    Count,
    Distinct,
    First,
    Last,
    Sum,
    Timed,
    TopK,
)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Machines are busy at times.

REDUCERS = {
    "count": Count(),
    "distinct, exact": Distinct(bound=100),
    "distinct, at its bound": Distinct(bound=3, precision=4),
    "distinct, sketched": Distinct(bound=0, precision=4),
    "first": First(),
    "last": Last(),
    "sum": Sum(),
    "collected": Collect(),
    "top-k": TopK(2),
    "composed": Compose(events=Count(), first=First(), last=Last(), values=Distinct(bound=2, precision=4)),
}

# Few identities, times and values, so that they meet. An identity may come with several times and values: it should
# not, and it must not make the order matter either.
EVENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(-2, 4)), max_size=12)


def reduced(reducer, events):
    state = reducer.empty()
    for event in events:
        state = reducer.add(state, *event)
    return state


def dumped(reducer, *parts):
    """The dump of the merger of the parts, from left to right."""
    first, *rest = (reduced(reducer, part) for part in parts)
    for state in rest:
        first = reducer.merge(first, state)
    return reducer.dump(first)


@pytest.mark.parametrize("reducer", REDUCERS.values(), ids=REDUCERS)
@settings(PATIENT, max_examples=40)
@given(a=EVENTS, b=EVENTS, c=EVENTS)
def test_states_are_a_semilattice(reducer, a, b, c):
    assert dumped(reducer, a, b) == dumped(reducer, b, a)
    assert dumped(reducer, a, a) == dumped(reducer, a) == dumped(reducer, [], a) == dumped(reducer, a, [])
    right = reducer.merge(reduced(reducer, b), reduced(reducer, c))
    assert reducer.dump(reducer.merge(reduced(reducer, a), right)) == dumped(reducer, a, b, c)


@pytest.mark.parametrize("reducer", REDUCERS.values(), ids=REDUCERS)
@settings(PATIENT, max_examples=40)
@given(events=EVENTS, cut=st.integers(0, 12), order=st.randoms(use_true_random=False))
def test_adding_is_merging_whatever_the_order_and_the_duplicates(reducer, events, cut, order):
    shuffled = events * 2
    order.shuffle(shuffled)
    assert dumped(reducer, events) == dumped(reducer, shuffled)
    assert dumped(reducer, events) == dumped(reducer, events[:cut], events[cut:])


@pytest.mark.parametrize("reducer", REDUCERS.values(), ids=REDUCERS)
@settings(PATIENT, max_examples=40)
@given(events=EVENTS, more=EVENTS)
def test_a_loaded_state_goes_on_as_the_one_that_was_dumped(reducer, events, more):
    state = reducer.load(dumped(reducer, events))
    assert reducer.result(state) == reducer.result(reduced(reducer, events))
    assert reducer.dump(reducer.merge(state, reduced(reducer, more))) == dumped(reducer, events, more)


@pytest.mark.parametrize("reducer", REDUCERS.values(), ids=REDUCERS)
@settings(PATIENT, max_examples=40)
@given(a=EVENTS, b=EVENTS, more=EVENTS)
def test_merging_leaves_the_other_state_alone(reducer, a, b, more):
    other = reduced(reducer, b)
    merged = reducer.merge(reduced(reducer, a), other)
    for event in more:
        merged = reducer.add(merged, *event)
    assert reducer.dump(other) == dumped(reducer, b)


@PATIENT
@given(events=st.dictionaries(st.integers(0, 50), st.tuples(st.integers(0, 3), st.integers(-2, 4)), max_size=12))
def test_results_are_what_the_names_say(events):
    rows = [(identity, time, value) for identity, (time, value) in events.items()]
    values = Counter(value for _, _, value in rows)
    results = {name: reducer.result(reduced(reducer, rows)) for name, reducer in REDUCERS.items()}
    assert results["count"] == len(rows)
    assert results["distinct, exact"] == Cardinality(len(values), exact=True)
    assert results["distinct, at its bound"].exact == (len(values) <= 3)
    assert results["distinct, sketched"].exact == (not values)
    ordered = sorted((time, identity, value) for identity, time, value in rows)
    assert results["first"] == (Timed(ordered[0][0], ordered[0][2]) if ordered else None)
    assert results["last"] == (Timed(ordered[-1][0], ordered[-1][2]) if ordered else None)
    assert results["sum"] == sum(value for _, _, value in rows)
    assert results["top-k"] == sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:2]
    assert results["composed"]["events"] == len(rows)


@PATIENT
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_sums_of_floats_are_rounded_once_whatever_the_order(values, order):
    rows = [(identity, 0, value) for identity, value in enumerate(values)]
    order.shuffle(rows)
    assert Sum().result(reduced(Sum(), rows)) == float(sum(map(Fraction, values)))


def test_sums_of_ints_are_exact():
    assert Sum().result(reduced(Sum(), [(1, 0, 2**60), (2, 0, 1), (2, 0, 1)])) == 2**60 + 1


def test_a_sum_of_tenths():
    assert Sum().result(reduced(Sum(), [(n, 0, 0.1) for n in range(10)])) == 1.0


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "1", None])
def test_a_sum_takes_finite_numbers_alone(value):
    with pytest.raises(ValueError, match="give Sum finite numbers"):
        Sum().add({}, 1, 0, value)


@pytest.mark.parametrize("reducer", [Distinct(), Distinct(bound=0), TopK(1)], ids=repr)
@pytest.mark.parametrize("value", [True, 1.0, None, ("a",)])
def test_values_that_would_pass_for_others_are_refused(reducer, value):
    with pytest.raises(ValueError, match="give an int or a str"):
        reducer.add(reducer.empty(), 1, 0, value)


def test_text_and_numbers_are_different_values():
    rows = [(1, 0, 1), (2, 0, "1"), (3, 0, "a"), (4, 0, "a")]
    assert Distinct().result(reduced(Distinct(), rows)) == Cardinality(3, exact=True)
    assert TopK(9).result(reduced(TopK(9), rows)) == [("a", 2), (1, 1), ("1", 1)]


def test_distinct_is_exact_up_to_the_bound_and_near_above_it():
    reducer = Distinct(bound=1_000)
    rows = [(n, 0, f"visitor {n}") for n in range(20_000)]
    assert reducer.result(reduced(reducer, rows[:1_000])) == Cardinality(1_000, exact=True)
    assert not reducer.result(reduced(reducer, rows[:1_001])).exact
    # Three standard errors of 0.81 %.
    assert reducer.result(reduced(reducer, rows[:1_001])).count == pytest.approx(1_001, rel=0.025)
    assert reducer.result(reduced(reducer, rows)).count == pytest.approx(20_000, rel=0.025)


def test_a_state_above_a_bound_that_was_lowered_is_sketched_on_loading():
    stored = dumped(Distinct(bound=10), [(n, 0, n) for n in range(8)])
    state = Distinct(bound=4).load(stored)
    assert Distinct(bound=4).result(state) == Cardinality(8, exact=False)


def test_arrivals_count_every_time():
    reducer = Arrivals()
    state = reduced(reducer, [(1, 0, None), (1, 0, None), (2, 0, None)])
    assert reducer.result(reducer.merge(state, reducer.load(reducer.dump(state)))) == 6


def test_dumps_have_the_format_that_is_stored():
    # States in a table outlive a deployment: a change here needs a new version byte, and a way to read the old.
    events = [(258, 5, "b"), (1, 7, "a"), (3, 7, "a")]
    one, three, big = bytes(7) + b"\x01", bytes(7) + b"\x03", bytes(6) + b"\x01\x02"
    assert dumped(Count(), events) == b"\x01c" + one + three + big
    assert dumped(Arrivals(), events) == b"\x01a" + three
    assert dumped(Distinct(), events) == b'\x01de["a","b"]'
    assert dumped(Distinct(bound=1, precision=4), events)[:4] == b"\x01dh\x04"
    assert dumped(First(), events) == b'\x01f[5,258,"b"]'
    assert dumped(Last(), events) == b'\x01l[7,3,"a"]'
    assert dumped(First(), []) == b"\x01fnull"
    assert dumped(Sum(), [(2, 0, 0.5), (1, 0, 3)]) == b"\x01s[[1,3],[2,0.5]]"
    assert dumped(TopK(1), events) == (b'\x01t\0\0\0\x03"a"\0\0\0\x10' + one + three + b'\0\0\0\x03"b"\0\0\0\x08' + big)
    assert dumped(Compose(n=Arrivals()), events) == b"\x01m\0\0\0\x01n\0\0\0\x0a\x01a" + three


@pytest.mark.parametrize("stored", [b"", b"\x01", b"\x02c", b"\x01f1"])
def test_a_state_of_another_reducer_or_version_is_refused(stored):
    with pytest.raises(ValueError, match=r"Count\(\) did not dump it"):
        Count().load(stored)


def test_a_state_of_other_parts_is_refused():
    stored = dumped(Compose(events=Count(), first=First()), [(1, 0, "a")])
    with pytest.raises(ValueError, match="the state is of events, first, the reducers are events, last"):
        Compose(events=Count(), last=Last()).load(stored)


def test_reducers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="k is 0"):
        TopK(0)
    with pytest.raises(ValueError, match="Compose got no reducer"):
        Compose()


def test_first_and_last_take_any_json_value():
    for value in (None, True, 1.5, "é"):
        assert First().result(First().load(dumped(First(), [(1, 2, value)]))) == Timed(2, value)
    assert canonical(None) == b"null"


@pytest.mark.parametrize("name", [name for name in REDUCERS if not name.startswith(("distinct", "composed"))])
@PATIENT
@given(events=EVENTS.filter(bool))
def test_the_parts_of_a_state_merge_to_it_and_have_their_identities(name, events):
    reducer = Compose(whole=REDUCERS[name], events=Count())
    merged, parts = reducer.split(reduced(reducer, events), lambda identity: identity % 3)
    assert parts.keys() == {identity % 3 for identity, _, _ in events}
    assert merged[1] == set()
    for number, part in parts.items():
        assert {identity % 3 for identity in part[1]} <= {number}
        merged = reducer.merge(merged, part)
    assert reducer.dump(merged) == dumped(reducer, events)


@pytest.mark.parametrize("reducer", [Distinct(), Arrivals(), Compose(n=Count(), visitors=Distinct())])
def test_a_state_without_identities_is_not_cut(reducer):
    with pytest.raises(TypeError, match="keeps no identities"):
        reducer.split(reducer.add(reducer.empty(), 1, 2, 3), lambda identity: 0)


def test_collected_events_are_in_the_order_of_their_times():
    state = reduced(Collect(), [(7, 30, ["b", 1]), (9, 10, ["a", 2]), (3, 30, ["c", 3]), (7, 30, ["b", 1])])
    assert Collect().result(state) == [Timed(10, ["a", 2]), Timed(30, ["c", 3]), Timed(30, ["b", 1])]
    assert Collect().result(Collect().load(Collect().dump(state))) == Collect().result(state)
