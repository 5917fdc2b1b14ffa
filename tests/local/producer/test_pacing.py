import pytest

from local.producer.pacing import Pacer


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self, overslept=0.0):
        self.now, self.overslept, self.slept = 1000.0, overslept, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += max(seconds, 0) + self.overslept


@pytest.mark.parametrize("rate", [1, 7, 50, 1000, 13_000])
@pytest.mark.parametrize("overslept", [0.0, 0.013])
def test_the_pace_is_kept_whatever_waiting_costs(rate, overslept):
    clock = Clock(overslept)
    pacer = Pacer(rate, clock, clock.sleep)
    sent, began = 0, clock.now
    while sent < rate * 20:
        allowed = pacer.allow(500)
        sent += allowed
        assert sent <= (clock.now - began) * rate + 1.001  # never ahead
        clock.now += 0.002  # sending takes its time
    assert (sent - 1) / rate - 1e-6 <= clock.now - began <= sent / rate + 0.2
    assert pacer.given_up == 0


def test_a_pace_is_no_busy_loop():
    clock = Clock()
    pacer = Pacer(1000, clock, clock.sleep)
    sent = 0
    while sent < 10_000:
        sent += pacer.allow(500)
        clock.now += 0.004  # of sending, in which four more are due
    assert len(clock.slept) <= 110  # ten times a second
    assert min(clock.slept) >= 0


def test_a_short_stall_is_made_up_for_and_a_long_one_is_given_up():
    clock = Clock()
    pacer = Pacer(100, clock, clock.sleep)
    pacer.allow(1)
    clock.now += 3
    assert pacer.allow(500) == 300
    clock.now += 65
    assert pacer.allow(10_000) == 501
    assert pacer.given_up == pytest.approx(60, abs=0.1)


def test_rate_zero_waits_for_nothing():
    clock = Clock()
    assert Pacer(0, clock, clock.sleep).allow(500) == 500
    assert clock.slept == []
