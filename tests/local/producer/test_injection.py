import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.streams import apache
from local.producer import poison
from local.producer.injection import Injection, InjectionError, Record, emissions


def numbered(count, step=20_000):
    return [Record(n, n * step, str(n), str(n).encode()) for n in range(count)]


def spoil(number, data):
    return "spoilt", b"!" + data


def injected(records, injection, seed=1, until=None):
    return list(emissions(iter(records), injection, seed, spoil, until))


INJECTIONS = st.builds(
    Injection,
    duplicates=st.sampled_from([0.0, 0.3, 1.0]),
    disorder=st.sampled_from([0.0, 0.5, 3.0]),
    lateness=st.sampled_from([0.0, 0.2]),
    late_by=st.sampled_from([1.0, 4.0]),
    poison=st.sampled_from([0.0, 0.1, 1.0]),
)


@given(INJECTIONS, st.integers(0, 300), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_whatever_is_injected_every_record_is_sent_once_and_once_again_as_told(injection, count, seed):
    sent = injected(numbered(count), injection, seed)
    assert sorted(e.place.number for e in sent if e.kind == "record") == list(range(count))
    assert [e.place for e in sent] == sorted(e.place for e in sent)
    again = [e for e in sent if e.kind == "duplicate"]
    assert len({e.place.number for e in again}) == len(again)
    assert all(e.data == str(e.place.number).encode() for e in again)
    assert injection.duplicates < 1 or len(again) == count
    assert injection.poison < 1 or sum(e.kind == "spoilt" for e in sent) == count
    assert [e.floor for e in sent] == sorted(e.floor for e in sent)
    for position, emission in enumerate(sent):
        rest = [later.place.number for later in sent[position + 1 :]]
        assert emission.floor <= min(rest, default=count)


@given(INJECTIONS, st.integers(1, 300), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_from_any_place_on_the_rest_is_the_same(injection, count, stop):
    records = numbered(count)
    whole = injected(records, injection, until=records[-1].time)
    stop %= len(whole)
    last = whole[stop]
    rest = [e for e in injected(records[last.floor :], injection, until=records[-1].time) if e.place > last.place]
    assert [e.data for e in rest] == [e.data for e in whole[stop + 1 :]]


def test_disorder_is_no_wider_than_asked():
    sent = injected(numbered(2000), Injection(disorder=2.0))
    numbers = [e.place.number for e in sent]
    assert numbers != sorted(numbers)
    latest = 0
    for number in numbers:
        latest = max(latest, number)
        assert (latest - number) * 0.02 <= 2.0


def test_late_records_come_late_by_what_was_asked():
    records = numbered(3000)
    sent = injected(records, Injection(lateness=0.1, late_by=10.0), until=3000 * 20_000)
    latest, late = 0, 0
    for emission in sent:
        behind = (latest - emission.place.number) * 0.02
        assert (behind > 9.5) is emission.late
        late += emission.late
        latest = max(latest, emission.place.number)
    assert 180 < late < 320


def test_shares_are_about_as_asked():
    sent = Counter(e.kind for e in injected(numbered(20_000), Injection(duplicates=0.1, poison=0.01)))
    assert sent["record"] == 20_000
    assert 1800 < sent["duplicate"] < 2200
    assert 150 < sent["spoilt"] < 250


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"duplicates": 1.5}, "--duplicates is 1.5"),
        ({"disorder": -1}, "--disorder is -1"),
        ({"late_by": -1}, "--late-by"),
    ],
)
def test_shares_that_are_none_are_refused(options, named):
    with pytest.raises(InjectionError, match=named):
        Injection(**options)


def test_lateness_needs_a_run_that_is_long_enough():
    with pytest.raises(InjectionError, match=r"covers 20 s.*300 s late: raise --count"):
        Injection(lateness=0.1).check(20)


@pytest.mark.parametrize("number", range(8))
def test_spoilt_lines_are_broken_indeed(number):
    line = b'192.0.2.7 - - [01/Mar/2026:10:05:03 +0000] "GET /a HTTP/1.1" 200 10 "-" "x"'
    apache.parse(line)
    with pytest.raises(apache.LineError):
        apache.parse(poison.web_logs(number, line)[1])


@pytest.mark.parametrize("number", range(5))
def test_spoilt_json_is_no_record(number):
    kind, data = poison.clicks(number, b'{"custid": 7, "url": "/"}')
    try:
        fields = json.loads(data)
    except ValueError:  # UnicodeDecodeError is one
        assert kind in ("cut off", "not UTF-8")
    else:
        assert not isinstance(fields, dict) or fields.get("custid") != 7
