import threading
import time

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from include.streams import aws, items
from include.streams.items import Items, UnavailableError
from tests.streams import contents, throttle

KEYS = ("window", "key")


def table(name, seconds=120, client=None):
    return Items(client or aws.client("dynamodb"), name, KEYS, time.monotonic() + seconds)


def adding(*numbers):
    """A change that adds to a set of numbers."""

    def change(stored):
        before = set(stored["numbers"]["NS"]) if stored else set()
        after = before | {str(number) for number in numbers}
        return {"numbers": {"NS": sorted(after)}} if after != before else None

    return change


def numbers(name):
    return {(item["window"]["S"], item["key"]["S"]): set(map(int, item["numbers"]["NS"])) for item in contents(name)}


def places(count):
    return [("w", f"k{number:03}") for number in range(count)]


@pytest.mark.parametrize("known", [True, False])
def test_changes_are_applied_once_however_often_they_are_made(windows_table, known):
    changes = {place: adding(1) for place in places(230)}
    assert table(windows_table).change(changes, known) == set()
    once = contents(windows_table)
    assert len(once) == 230
    assert {item["version"]["N"] for item in once} == {"1"}
    assert table(windows_table).change(changes, known) == set()
    assert contents(windows_table) == once
    assert table(windows_table).change({place: adding(2) for place in places(231)}, known) == set()
    assert numbers(windows_table) == {place: {1, 2} for place in places(230)} | {places(231)[-1]: {2}}


def test_what_is_read_is_what_is_there(windows_table):
    table(windows_table).change({place: adding(7) for place in places(150)})
    found = table(windows_table).read([*places(160), *places(3)])
    assert sorted(found) == places(150)
    assert found[places(1)[0]]["numbers"] == {"NS": ["7"]}


@pytest.mark.parametrize("known", [True, False])
def test_workers_at_the_same_items_lose_nothing_of_each_other(windows_table, known):
    start = threading.Barrier(2)

    def work(mine):
        start.wait()
        for number in mine:
            assert table(windows_table).change({place: adding(number) for place in places(70)}, known) == set()

    workers = [threading.Thread(target=work, args=(mine,)) for mine in (range(4), range(100, 104))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert numbers(windows_table) == {place: {*range(4), *range(100, 104)} for place in places(70)}


def test_a_table_that_throttles_gets_everything_in_the_end(windows_table):
    throttle(windows_table, 0.4)
    assert table(windows_table).change({place: adding(1) for place in places(120)}) == set()
    assert len(table(windows_table).read(places(120))) == 120
    throttle(windows_table, 0)
    assert {item["version"]["N"] for item in contents(windows_table)} == {"1"}
    assert len(contents(windows_table)) == 120


def test_a_table_that_takes_nothing_is_given_up_in_time(windows_table, monkeypatch):
    monkeypatch.setattr(items, "FIRST_PAUSE", 0.01)
    throttle(windows_table, 1)
    for known in (True, False):
        assert table(windows_table, 0.2).change({place: adding(1) for place in places(60)}, known) == set(places(60))
    with pytest.raises(UnavailableError, match=f"2 items of {windows_table} could not be read"):
        table(windows_table, 0.2).read(places(2))
    throttle(windows_table, 0)
    assert contents(windows_table) == []


class Deaf:
    """A client that loses the answers of some calls: the service has done what was asked."""

    def __init__(self, client, losing):
        self._client, self._losing = client, losing
        self.exceptions = client.exceptions

    def __getattr__(self, name):
        call = getattr(self._client, name)

        def lost(**request):
            answer = call(**request)
            if self._losing.pop(name, 0):
                raise ReadTimeoutError(endpoint_url="the endpoint")
            return answer

        return lost


@pytest.mark.parametrize("count", [1, 10])
def test_an_answer_that_gets_lost_is_no_second_write(windows_table, count):
    client = Deaf(aws.client("dynamodb"), {"batch_get_item": 1, "put_item": 1, "transact_write_items": 1})
    assert table(windows_table, client=client).change({place: adding(1) for place in places(count)}) == set()
    assert [item["version"]["N"] for item in contents(windows_table)] == ["1"] * count


def test_what_another_attempt_cannot_mend_is_raised(windows_table):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        table("no-such-table").change({("w", "k"): adding(1)})
    too_large = {place: lambda stored: {"data": {"S": "x" * 410_000}} for place in places(2)}
    with pytest.raises(ClientError, match="exceeded the maximum allowed size"):
        table(windows_table).change(too_large)
    assert contents(windows_table) == []


def test_large_items_go_in_several_transactions(windows_table):
    large = {place: lambda stored: None if stored else {"data": {"B": b"x" * 300_000}} for place in places(16)}
    assert table(windows_table).change(large) == set()

    assert len(contents(windows_table)) == 16
