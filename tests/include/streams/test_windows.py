"""The window engine beside two models written here: the batch answer, and one that goes event by event.

The models share no code with the engine. Neither does the batch answer know of watermarks, nor the other of panes,
heaps, batches or snapshots.
"""

import ast
import sys
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams import windows as module
from include.streams.encoding import pack
from include.streams.reducers import Arrivals, Cardinality, Compose, Count, Distinct, First, Last, Sum, Timed, TopK
from include.streams.windows import (
    MINUTE,
    SECOND,
    Event,
    Late,
    Result,
    Session,
    Sliding,
    Tumbling,
    Window,
    Windows,
    fold,
    is_late,
)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Machines are busy at times.

ASSIGNERS = [Tumbling(10), Sliding(10, 5), Sliding(10, 4), Sliding(10, 1), Session(10)]
REDUCER = Compose(events=Count(), distinct=Distinct(bound=4), first=First(), last=Last(), total=Sum(), top=TopK(2))

# Times around the edges of windows of 10, where all the trouble is. The place in the list is the identity.
TIMES = st.builds(lambda n, near: 10 * n + near, st.integers(-2, 6), st.sampled_from([-1, 0, 0, 1, 5]))
EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b"]), TIMES, st.integers(0, 3)), max_size=14).map(
    lambda drawn: [Event(key, identity, time, value) for identity, (key, time, value) in enumerate(drawn)]
)


def windows_of(assigner, time):
    """The windows that hold a time, found by looking at all of them."""
    starts = range(-200 * assigner.slide, 200 * assigner.slide, assigner.slide)
    return [Window(start, start + assigner.size) for start in starts if start <= time < start + assigner.size]


def runs_of(gap, events):
    """The sessions of one key: sorted, cut wherever an event is `gap` or more after the one before."""
    runs = []
    for event in sorted(events, key=lambda event: event.time):
        if runs and event.time - runs[-1][-1].time < gap:
            runs[-1].append(event)
        else:
            runs.append([event])
    return [(Window(run[0].time, run[-1].time + gap), run) for run in runs]


def answer(events):
    """The results of REDUCER for the events of a window."""
    events = set(events)
    ordered = sorted(events, key=lambda event: (event.time, event.identity))
    values = [event.value for event in events]
    top = sorted({(-values.count(value), value) for value in values})[:2]
    return {
        "events": len(events),
        "distinct": Cardinality(len(set(values)), exact=True),
        "first": Timed(ordered[0].time, ordered[0].value),
        "last": Timed(ordered[-1].time, ordered[-1].value),
        "total": sum(values),
        "top": [(value, -negative) for negative, value in top],
    }


def batch_answer(assigner, events):
    groups = defaultdict(set)
    for event in events:
        if not isinstance(assigner, Session):
            for window in windows_of(assigner, event.time):
                groups[window, event.key].add(event)
    if isinstance(assigner, Session):
        for key in {event.key for event in events}:
            for window, run in runs_of(assigner.gap, {event for event in events if event.key == key}):
                groups[window, key] = run
    return {place: answer(group) for place, group in groups.items()}


class EventByEvent:
    """Windows as the definitions say: after each event, whatever has to close is closed."""

    def __init__(self, assigner, lateness, sources):
        self.assigner, self.lateness = assigner, lateness
        self.newest = dict.fromkeys(sources, -10_000)
        self.watermark = -10_000
        self.open = defaultdict(set)  # By window and key; of sessions by key.
        self.closed, self.late = [], []

    def add(self, event, source):
        self.newest[source] = max(self.newest.get(source, -10_000), event.time)
        self.watermark = max(self.watermark, min(self.newest.values()))
        self.close()
        if isinstance(self.assigner, Session):
            alone = Window(event.time, event.time + self.assigner.gap)
            near = any(abs(other.time - event.time) < self.assigner.gap for other in self.open[event.key])
            if not near and self.is_over(alone):
                self.late.append(Late(alone, event))
            else:
                self.open[event.key].add(event)
            return
        for window in windows_of(self.assigner, event.time):
            if self.is_over(window):
                self.late.append(Late(window, event))
            else:
                self.open[window, event.key].add(event)

    def is_over(self, window):
        return window.end + self.lateness <= self.watermark

    def close(self):
        for place in list(self.open):
            runs = (
                [(window, place, run) for window, run in runs_of(self.assigner.gap, self.open[place])]
                if isinstance(self.assigner, Session)
                else [(*place, self.open[place])]
            )
            for window, key, run in runs:
                if self.is_over(window):
                    self.closed.append(Result(window, key, answer(run)))
                    self.open[place] = self.open[place] - set(run)
            if not self.open[place]:
                del self.open[place]

    def results(self):
        self.watermark = 10_000
        self.close()
        return in_order(self.closed)


def in_order(results):
    return sorted(results, key=lambda result: (result.window.end, result.window.start, result.key))


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=repr)
@settings(PATIENT, max_examples=50)
@given(events=EVENTS, data=st.data())
def test_any_order_duplication_split_and_restart_gives_the_batch_answer(assigner, events, data):
    again = data.draw(st.lists(st.sampled_from(events), max_size=8)) if events else []
    arrivals = data.draw(st.permutations(events + again))
    engine = Windows(assigner, REDUCER, lateness=1_000, sources=["left", "right"])
    results = []
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        assert engine.add_many(arrivals[:size], data.draw(st.sampled_from(["left", "right"]))) == []
        arrivals = arrivals[size:]
        match data.draw(st.sampled_from(["go on", "take", "restart"])):
            case "take":
                results += engine.closed()
            case "restart":
                snapshot = engine.snapshot()
                engine = Windows(assigner, REDUCER, lateness=1_000)
                engine.restore(snapshot)
                assert engine.snapshot() == snapshot
    engine.end()
    results += engine.closed()
    assert {(window, key): value for window, key, value in results} == batch_answer(assigner, events)
    assert len(results) == len(batch_answer(assigner, events))


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=repr)
@settings(PATIENT, max_examples=60)
@given(events=EVENTS, lateness=st.sampled_from([0, 1, 5, 20]), data=st.data())
def test_what_is_late_depends_on_the_order_of_events_alone(assigner, events, lateness, data):
    again = data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else []
    arrivals = data.draw(st.permutations(events + again))
    known = data.draw(st.sampled_from([[], ["left"], ["left", "right"]]))
    model = EventByEvent(assigner, lateness, known)
    engine = Windows(assigner, REDUCER, lateness, sources=known)
    results, late = [], []
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        source = data.draw(st.sampled_from(["left", "right"]))
        batch, arrivals = arrivals[:size], arrivals[size:]
        for event in batch:
            model.add(event, source)
        late += engine.add_many(batch, source)
        assert engine.watermark == (None if model.watermark == -10_000 else model.watermark)
        match data.draw(st.sampled_from(["go on", "take", "restart"])):
            case "take":
                results += engine.closed()
                model.close()
                assert in_order(results) == in_order(model.closed)
            case "restart":
                snapshot = engine.snapshot()
                engine = Windows(assigner, REDUCER, lateness)
                engine.restore(snapshot)
    engine.end()
    results += engine.closed()
    assert late == model.late
    assert in_order(results) == model.results()


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=repr)
@settings(PATIENT, max_examples=30)
@given(events=EVENTS, cut=st.integers(0, 14))
def test_a_fold_is_the_batch_answer_and_folds_of_parts_merge(assigner, events, cut):
    states = fold(assigner, REDUCER, events)
    assert {place: REDUCER.result(state) for place, state in states.items()} == batch_answer(assigner, events)
    if isinstance(assigner, Session):
        return
    merged = fold(assigner, REDUCER, events[:cut])
    for place, state in fold(assigner, REDUCER, events[cut:]).items():
        merged[place] = REDUCER.merge(merged.get(place, REDUCER.empty()), state)
    assert {p: REDUCER.dump(s) for p, s in merged.items()} == {p: REDUCER.dump(s) for p, s in states.items()}


# Edges, in seconds and microseconds as they are in production.


def test_ten_seconds_end_before_10_000_seconds():
    counts = Windows(Tumbling(10 * SECOND), Count())
    counts.add("k", 1, 0)
    counts.add("k", 2, 9_999_999)
    assert counts.closed() == []
    counts.add("k", 3, 10_000_000)
    assert counts.closed() == [Result(Window(0, 10_000_000), "k", 2)]
    counts.end()
    assert counts.closed() == [Result(Window(10_000_000, 20_000_000), "k", 1)]


def test_a_window_takes_events_until_the_watermark_is_at_its_end_and_the_lateness():
    counts = Windows(Tumbling(10 * SECOND), Count(), lateness=2 * SECOND)
    counts.add("k", 1, 11_999_999)
    assert counts.add("k", 2, 9_999_999) == []
    counts.add("k", 3, 12_000_000)
    late = counts.add("k", 4, 9_999_999)
    assert late == [Late(Window(0, 10_000_000), Event("k", 4, 9_999_999))]
    assert counts.closed() == [Result(Window(0, 10_000_000), "k", 1)]
    assert is_late(Window(0, 10_000_000), 12_000_000, 2 * SECOND)
    assert not is_late(Window(0, 10_000_000), 11_999_999, 2 * SECOND)


def test_a_session_ends_when_nothing_came_for_exactly_the_gap():
    sessions = Windows(Session(10 * SECOND), Count(), lateness=MINUTE)
    for identity, time in enumerate([0, 9_999_999, 19_999_999]):
        sessions.add("k", identity, time)
    sessions.end()
    assert sessions.closed() == [
        Result(Window(0, 19_999_999), "k", 2),
        Result(Window(19_999_999, 29_999_999), "k", 1),
    ]


def test_each_session_of_a_key_closes_in_its_turn():
    sessions = Windows(Session(10), Count(), lateness=30)
    sessions.add_many([("k", 1, 40, None), ("k", 2, 20, None), ("k", 3, 5, None)])
    starts = []
    for identity, watermark in enumerate([44, 45, 59, 60, 79, 80]):
        sessions.add("other", identity, watermark)
        starts.append([result.window.start for result in sessions.closed() if result.key == "k"])
    assert starts == [[], [5], [], [20], [], [40]]


def test_an_event_between_two_sessions_makes_them_one():
    sessions = Windows(Session(10), Count(), lateness=100)
    for identity, time in enumerate([0, 18, 9]):
        sessions.add("k", identity, time)
    sessions.end()
    assert sessions.closed() == [Result(Window(0, 28), "k", 3)]


def test_a_sliding_event_may_be_late_for_one_window_and_not_for_the_other():
    counts = Windows(Sliding(10, 5), Count())
    counts.add("k", 1, 6)
    counts.add("k", 2, 11)  # Closes [0, 10), which nobody has taken yet.
    assert counts.add("k", 3, 7) == [Late(Window(0, 10), Event("k", 3, 7))]
    counts.end()
    assert counts.closed() == [
        Result(Window(0, 10), "k", 1),
        Result(Window(5, 15), "k", 3),
        Result(Window(10, 20), "k", 1),
    ]


def test_results_come_by_end_start_and_key():
    counts = Windows(Sliding(10, 5), Arrivals())
    counts.add_many([(("b", 1), 1, 3, None), (("a", 2), 2, 3, None), (("a", 1), 3, 12, None)])
    counts.end()
    assert [(window.start, key) for window, key, _ in counts.closed()] == [
        (-5, ("a", 2)),
        (-5, ("b", 1)),
        (0, ("a", 2)),
        (0, ("b", 1)),
        (5, ("a", 1)),
        (10, ("a", 1)),
    ]


# Sources.


def test_the_slowest_source_holds_back_the_watermark_and_it_never_falls():
    counts = Windows(Tumbling(10), Count(), sources=["a", "b"])
    counts.add("k", 1, 100, source="a")
    assert counts.watermark is None
    counts.add("k", 2, 30, source="b")
    assert counts.watermark == 30
    counts.add("k", 3, 35, source="c")  # One that nobody announced.
    assert counts.watermark == 30
    counts.add("k", 4, 90, source="b")
    assert counts.watermark == 35
    counts.add("k", 5, 20, source="d")
    assert counts.watermark == 35


def test_a_silent_source_counts_no_more_after_exactly_the_timeout():
    counts = Windows(Tumbling(10), Count(), idle_timeout=30 * SECOND, sources=["a", "b"])
    counts.add("k", 1, 5, source="a", now=0)
    counts.advance(now=20 * SECOND)
    counts.add("k", 2, 100, source="a", now=29_999_999)
    assert counts.watermark is None
    counts.advance(now=30 * SECOND)
    assert counts.watermark == 100
    assert counts.closed() == [Result(Window(0, 10), "k", 1)]
    counts.add("k", 3, 50, source="b", now=31 * SECOND)  # It is back, and late.
    assert counts.watermark == 100
    counts.add("k", 4, 120, source="a", now=31 * SECOND)
    assert counts.watermark == 100  # It holds back again, from where time is.
    counts.add("k", 5, 110, source="b", now=31 * SECOND)
    assert counts.watermark == 110


def test_nothing_read_is_no_sign_of_life():
    counts = Windows(Tumbling(10), Count(), idle_timeout=10, sources=["a", "b"])
    counts.add("k", 1, 50, source="a", now=0)
    assert counts.add_many([], source="b", now=5) == []
    counts.add("k", 2, 60, source="a", now=9)
    assert counts.watermark is None
    assert counts.add_many([], source="b", now=10) == []
    assert counts.watermark == 60


def test_a_source_that_is_announced_late_reopens_nothing():
    counts = Windows(Tumbling(10), Count())
    counts.add("k", 1, 35, source="a")
    counts.expect("b")
    assert counts.watermark == 35
    assert counts.add("k", 2, 9, source="a") == [Late(Window(0, 10), Event("k", 2, 9))]
    assert counts.add("k", 3, 48, source="a") == []
    assert counts.watermark == 35


def test_when_all_sources_are_idle_the_newest_counts():
    counts = Windows(Tumbling(10), Count(), idle_timeout=10)
    counts.add("k", 1, 50, source="a", now=0)
    counts.add("k", 2, 70, source="b", now=0)
    counts.advance(now=9)
    assert counts.watermark == 50
    counts.advance(now=10)
    assert counts.watermark == 70


def test_a_clock_that_falls_back_wakes_nobody():
    counts = Windows(Tumbling(10), Count(), idle_timeout=10, sources=["a", "b"])
    counts.add("k", 1, 50, source="a", now=100)
    counts.add("k", 2, 60, source="a", now=110)
    counts.add("k", 3, 70, source="a", now=5)
    assert counts.watermark == 70


def test_an_idle_source_keeps_no_window_open_within_a_batch():
    counts = Windows(Tumbling(10), Count(), idle_timeout=10, sources=["a", "b"])
    counts.advance(now=0)
    late = counts.add_many([("k", 1, 25, None), ("k", 2, 5, None)], source="a", now=10)
    assert late == [Late(Window(0, 10), Event("k", 2, 5))]


def test_a_source_that_ends_holds_nothing_back():
    counts = Windows(Tumbling(10), Count(), sources=["parent", "other"])
    counts.add("k", 1, 30, source="parent")
    counts.add("k", 2, 50, source="other")
    counts.expect("child")
    counts.end("parent")
    assert counts.watermark == 30
    counts.add("k", 3, 40, source="child")
    assert counts.watermark == 40
    counts.end("child")
    counts.end("other")
    assert counts.watermark == 50  # The last one ends; the stream need not be over.


def test_after_the_end_everything_is_late():
    counts = Windows(Tumbling(10), Count())
    counts.end()
    assert counts.add("k", 1, 5) == [Late(Window(0, 10), Event("k", 1, 5))]
    assert counts.closed() == []


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="lateness is -1"):
        Windows(Tumbling(10), Count(), lateness=-1)
    with pytest.raises(ValueError, match=r"idle_timeout is 1\.5"):
        Windows(Tumbling(10), Count(), idle_timeout=1.5)
    with pytest.raises(ValueError, match="now is missing"):
        Windows(Tumbling(10), Count(), idle_timeout=10).add("k", 1, 5)
    with pytest.raises(ValueError, match="source 'b' cannot end: there are 'a'"):
        Windows(Tumbling(10), Count(), sources=["a"]).end("b")


def test_events_before_a_value_that_is_refused_count_once_when_the_batch_comes_again():
    totals = Windows(Tumbling(10), Sum())
    with pytest.raises(ValueError, match="finite numbers"):
        totals.add_many([("k", 1, 5, 1), ("k", 2, 6, "poison"), ("k", 3, 7, 4)])
    totals.add_many([("k", 1, 5, 1), ("k", 3, 7, 4)])
    totals.end()
    assert totals.closed() == [Result(Window(0, 10), "k", 5)]


# Snapshots.


@pytest.mark.parametrize("assigner", ASSIGNERS, ids=repr)
@settings(PATIENT, max_examples=30)
@given(events=EVENTS, order=st.randoms(use_true_random=False))
def test_equal_content_has_equal_snapshots(assigner, events, order):
    one, other = (Windows(assigner, REDUCER, lateness=1_000) for _ in range(2))
    one.add_many(events)
    shuffled = events * 2
    order.shuffle(shuffled)
    other.add_many(shuffled)
    assert one.snapshot() == other.snapshot()


def test_a_snapshot_holds_what_was_closed_and_not_taken():
    counts = Windows(Tumbling(10), Count())
    counts.add_many([(("k", 1), 1, 5, None), (("k", 2), 2, 25, None)])
    again = Windows(Tumbling(10), Count())
    again.restore(counts.snapshot())
    assert again.closed() == [Result(Window(0, 10), ("k", 1), 1)]
    assert again.watermark == 25
    assert counts.closed() == [Result(Window(0, 10), ("k", 1), 1)]


def test_snapshots_have_the_format_that_is_stored():
    # Snapshots outlive a deployment: a change here needs a new name of the format, and a way to read the old.
    counts = Windows(Tumbling(10), Arrivals(), lateness=5)
    counts.add_many([(("k", 1), 1, 5, None), (("k", 2), 2, 29, None)], source="s")
    one = b"\x01a" + bytes(7) + b"\x01"
    closed = pack([b'[0,10,["k",1]]', one])
    still_open = pack([b'[20,["k",2]]', one])
    assert counts.snapshot() == pack(
        [
            b"vitrine windows 1",
            b"Tumbling(size=10), Arrivals(), lateness=5",
            b'[29,null,{"s":[29,null]}]',
            pack([b"24", closed, still_open]),
        ]
    )


def test_session_snapshots_have_the_format_that_is_stored():
    counts = Windows(Session(10), Arrivals(), lateness=5)
    counts.add_many([("k", 1, 5, None), ("k", 2, 29, None)], source="s", now=7)
    one = b"\x01a" + bytes(7) + b"\x01"
    assert counts.snapshot() == pack(
        [
            b"vitrine windows 1",
            b"Session(gap=10), Arrivals(), lateness=5",
            b'[29,7,{"s":[29,7]}]',
            pack([pack([b'[5,15,"k"]', one]), pack([b'[29,39,"k"]', one])]),
        ]
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Windows(Tumbling(20), Count()), r"of windows \(Tumbling\(size=10\), Count\(\), lateness=0\), these are"),
        (Windows(Tumbling(10), Count(), lateness=1), "lateness=1"),
        (Windows(Tumbling(10), Last()), r"Last\(\)"),
    ],
)
def test_a_snapshot_of_other_windows_is_refused(other, message):
    with pytest.raises(ValueError, match=message):
        other.restore(Windows(Tumbling(10), Count()).snapshot())


def test_bytes_that_are_no_snapshot_are_refused_and_change_nothing():
    counts = Windows(Tumbling(10), Count())
    counts.add("k", 1, 5)
    snapshot = counts.snapshot()
    for cut in range(len(snapshot)):
        with pytest.raises(ValueError, match=r"cut off|none of"):
            counts.restore(snapshot[:cut])
        assert counts.snapshot() == snapshot


@pytest.mark.parametrize("assigner", [Tumbling(10), Sliding(10, 5), Session(3)], ids=repr)
def test_windows_that_closed_leave_no_memory(assigner):
    counts = Windows(assigner, Count(), lateness=20)

    def go_on(start):
        for time in range(start, start + 4_000, 50):
            counts.add_many([(identity % 7, identity, identity, None) for identity in range(time, time + 50)])
            counts.closed()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = go_on(0)
        after = go_on(4_000)
    finally:
        tracemalloc.stop()
    assert after - before < 10_000  # Bytes; 10 000 identities alone would be 300 000.


def test_the_core_needs_the_standard_library_alone():
    seen, todo = set(), ["windows", "rules", "rate"]
    while todo:
        name = todo.pop()
        seen.add(name)
        for node in ast.walk(ast.parse((Path(module.__file__).parent / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                if node.module.startswith("include.streams."):
                    todo += {node.module.removeprefix("include.streams.")} - seen
                else:
                    assert node.module.split(".")[0] in sys.stdlib_module_names
            elif isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
    assert seen == {"windows", "rules", "rate", "reducers", "sketch", "assigners", "open_windows", "encoding", "fields"}
