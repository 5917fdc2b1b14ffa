import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.streams.assigners import SECOND, Session, Sliding, Tumbling, Window

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Machines are busy at times.


def test_an_event_on_the_edge_is_in_the_later_window():
    tumbling = Tumbling(10 * SECOND)
    assert tumbling.assign(10 * SECOND - 1) == [Window(0, 10 * SECOND)]
    assert tumbling.assign(10 * SECOND) == [Window(10 * SECOND, 20 * SECOND)]


def test_a_sliding_window_holds_its_start_and_not_its_end():
    sliding = Sliding(10 * SECOND, 5 * SECOND)
    assert sliding.assign(10 * SECOND - 1) == [Window(0, 10 * SECOND), Window(5 * SECOND, 15 * SECOND)]
    assert sliding.assign(10 * SECOND) == [Window(5 * SECOND, 15 * SECOND), Window(10 * SECOND, 20 * SECOND)]


def test_before_1970_windows_are_aligned_as_after_it():
    assert Tumbling(10).assign(-1) == [Window(-10, 0)]
    assert Tumbling(10).assign(-10) == [Window(-10, 0)]


@PATIENT
@given(time=st.integers(-100, 100), size=st.integers(1, 12), slide=st.integers(1, 12))
def test_assigned_are_the_windows_that_hold_the_time(time, size, slide):
    slide = min(slide, size)
    sliding = Sliding(size, slide)
    every = [Window(n * slide, n * slide + size) for n in range(-120, 121)]
    assert sliding.assign(time) == [window for window in every if window.start <= time < window.end]
    pane = time // sliding.pane * sliding.pane
    assert all(sliding.assign(other) == sliding.assign(time) for other in range(pane, pane + sliding.pane))


def test_a_session_begins_with_its_event():
    assert Session(5).assign(7) == [Window(7, 12)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tumbling(0), "size is 0"),
        (lambda: Tumbling(1.0), r"size is 1\.0"),
        (lambda: Sliding(10, -1), "slide is -1"),
        (lambda: Sliding(10, 11), "slide 11 > size 10 leaves gaps"),
        (lambda: Session(True), "gap is True"),
    ],
)
def test_durations_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
