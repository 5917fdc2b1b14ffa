import random
import threading
import time
from contextlib import contextmanager

import pytest

from include.streams import aws, items, state_items
from include.streams.items import Items
from include.streams.records import Record
from include.streams.rules import ALLOWED_LATENESS, SESSIONS, SOURCES_1M, VISITORS_1M, VISITORS_15S, iso
from include.streams.state import States
from include.streams.windows import MINUTE, SECOND, fold
from tests.clicks import click
from tests.streams import contents, throttle

RULES = (SESSIONS, VISITORS_15S, VISITORS_1M, SOURCES_1M)
TEN = 1_772_359_200 * SECOND
ARRIVAL = TEN + 60 * MINUTE


def states(table, client=None, seconds=120, function="sessions"):
    return States(
        Items(client or aws.client("dynamodb"), table, state_items.KEYS, time.monotonic() + seconds), function
    )


def numbered(clicks, shard="shard-0", first=0):
    """Clicks in records of a shard, one after the other."""
    return [(Record(shard, f"{first + number:020}", "a", b"", ARRIVAL), one) for number, one in enumerate(clicks)]


def some_clicks(count, seed=1, minutes=4, urls=9):
    rng = random.Random(seed)
    return [
        click(
            TEN + rng.randrange(minutes * MINUTE),
            custid=rng.randrange(12),
            url=f"/{rng.randrange(urls)}",
            device=rng.choice(("browser", "app_mobile")),
            trafficfrom=rng.choice(("search", "ads")),
        )
        for _ in range(count)
    ]


def expected(rule, clicks):
    """The rows of a batch over all clicks, by window start."""
    found = {}
    for (window, key), state in fold(rule.assigner, rule.reducer, map(rule.event, clicks)).items():
        found.setdefault(window.start, []).append(rule.row(window, key, rule.reducer.result(state)))
    return found


def by_key(rule, rows):
    return sorted(rows, key=lambda row: [row[name] for name in rule.keys])


def assert_are_those_of_a_batch(table, clicks, rules=RULES):
    for rule in rules:
        batch = expected(rule, clicks)
        starts = range(TEN - MINUTE, TEN + 6 * MINUTE, rule.assigner.size)
        stored = {start: rows for start in starts if (rows := states(table).rows(rule, start))}
        assert stored.keys() == batch.keys()
        for start, rows in batch.items():
            assert by_key(rule, stored[start]) == by_key(rule, rows)


def cut(batch, rng):
    while batch:
        size = rng.randint(1, 120)
        yield batch[:size]
        batch = batch[size:]


def add_all(table, batch, rng, rules=RULES):
    for part in cut(batch, rng):
        assert states(table).add(rules, part, ALLOWED_LATENESS).failed == []


def test_two_workers_with_duplicates_in_any_order_and_batches_end_where_a_batch_does(windows_table):
    clicks = sorted(some_clicks(250), key=lambda one: one.time)
    rng = random.Random(2)
    # Disorder within the lateness, and every click on both shards, as a producer sends it that lost its answers.
    shards = {
        shard: numbered(sorted(clicks, key=lambda one: one.time + rng.randrange(ALLOWED_LATENESS)), shard)
        for shard in ("shard-0", "shard-1")
    }
    start = threading.Barrier(2)

    def work(batch, seed):
        start.wait()
        add_all(windows_table, batch, random.Random(seed))

    workers = [threading.Thread(target=work, args=(batch, n)) for n, batch in enumerate(shards.values())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert_are_those_of_a_batch(windows_table, clicks)
    # The whole stream again, in other batches.
    before = contents(windows_table)
    for batch in shards.values():
        add_all(windows_table, batch, random.Random(3))
    assert contents(windows_table) == before


def test_an_item_has_its_row_and_expires_two_weeks_after_its_last_event(windows_table):
    clicks = [click(TEN + 5, custid=7, url="/a"), click(TEN + 9, custid=7, url="/b")]
    states(windows_table).add([SESSIONS, VISITORS_1M], numbered(clicks), ALLOWED_LATENESS)
    found = {(item["window"]["S"], item["key"]["S"]): item for item in contents(windows_table)}
    session = found["sessions#2026-03-01T10:00:00.000000", "7#browser"]
    assert session["events"] == {"N": "2"}
    assert session["first_url"] == {"S": "/a"}
    assert session["session_id"] == {"S": f"7.browser.{TEN // SECOND}"}
    assert session["begin"] == {"S": "2026-03-01T10:00:00.000005"}
    assert session["expires"] == {"N": str(ARRIVAL // SECOND + 14 * 24 * 3600)}
    visitors = found["visitors_1m#2026-03-01T10:00:00.000000", "/b"]
    assert (visitors["visitors"], visitors["exact"], visitors["window_seconds"]) == (
        {"N": "1"},
        {"BOOL": True},
        {"N": "60"},
    )
    assert found["watermark#sessions", "shard-0"]["time"] == {"S": iso(TEN + 9)}


# ------------------------------------------------------------------------------------------------------------ lateness


def stream_with_late_clicks():
    """A click after four minutes closes the first window; then come a known click, an unknown one and one in time."""
    known, unknown = click(TEN + 1, custid=1), click(TEN + 2, custid=2)
    in_time = click(TEN + 2 * MINUTE, custid=3)
    return [known, click(TEN + 4 * MINUTE, custid=1), known, unknown, in_time, unknown]


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_a_late_event_is_kept_apart_and_a_duplicate_is_not_late_however_the_stream_is_cut(windows_table, size):
    clicks = stream_with_late_clicks()
    batch = numbered(clicks)
    late = 0
    for first in range(0, len(batch), size):
        late += states(windows_table).add([SESSIONS], batch[first : first + size], ALLOWED_LATENESS).late
    assert late == 1
    assert_are_those_of_a_batch(windows_table, [clicks[0], clicks[1], clicks[4]], [SESSIONS])
    (item,) = states(windows_table).late(SESSIONS, TEN)
    assert item["window"]["S"] == "late#sessions#2026-03-01T10:00:00.000000"
    assert item["custid"] == {"N": "2"}
    assert item["device"] == {"S": "browser"}
    assert item["identity"] == {"S": f"{clicks[3].identity:016x}"}
    assert item["value"] == {"S": '"/"'}
    assert item["cause"] == {"S": "late: its shard was 180 s past the end of the window"}
    assert (item["shard_id"]["S"], item["sequence_number"]["S"]) == ("shard-0", f"{3:020}")
    before = contents(windows_table)
    states(windows_table).add([SESSIONS], batch, ALLOWED_LATENESS)
    assert contents(windows_table) == before


def test_a_late_visitor_whom_the_window_knows_changes_nothing(windows_table):
    first, later = click(TEN, custid=1, url="/a"), click(TEN + 1, custid=1, url="/a")
    end = click(TEN + 5 * MINUTE)
    added = states(windows_table).add([VISITORS_1M], numbered([first, end, later]), ALLOWED_LATENESS)
    assert added.late == 0
    assert states(windows_table).late(VISITORS_1M, TEN) == []


def test_an_event_is_late_from_the_microsecond_on_at_which_its_window_closes(windows_table):
    closing = TEN + MINUTE + ALLOWED_LATENESS
    before, on, old = click(closing - 1), click(closing), click(TEN + 30, custid=9)
    assert states(windows_table).add([SESSIONS], numbered([before, old]), ALLOWED_LATENESS).late == 0
    old = click(TEN + 31, custid=9)
    assert states(windows_table).add([SESSIONS], numbered([on, old], first=2), ALLOWED_LATENESS).late == 1


def test_each_shard_has_its_own_watermark(windows_table):
    ahead, behind = click(TEN + 10 * MINUTE, custid=1), click(TEN, custid=2)
    batch = numbered([ahead], "shard-0") + numbered([behind], "shard-1")
    assert states(windows_table).add([SESSIONS], batch, ALLOWED_LATENESS).late == 0
    assert [row["custid"] for row in states(windows_table).rows(SESSIONS, TEN)] == [2]


def test_a_clock_ahead_of_time_makes_nobody_else_late(windows_table):
    fast, sound = click(ARRIVAL + 365 * 24 * 60 * MINUTE, custid=1), click(ARRIVAL - 60 * SECOND, custid=2)
    assert states(windows_table).add([SESSIONS], numbered([fast, sound]), ALLOWED_LATENESS).late == 0
    (mark,) = [item for item in contents(windows_table) if item["window"]["S"] == "watermark#sessions"]
    assert mark["time"] == {"S": iso(ARRIVAL)}


# -------------------------------------------------------------------------------------------------------------- faults


class Dying:
    """A client that dies, as a worker does, at some call."""

    def __init__(self, client, calls):
        self._client, self._calls = client, calls
        self.exceptions = client.exceptions

    def __getattr__(self, name):
        call = getattr(self._client, name)

        def counted(**request):
            if name != "batch_get_item":
                self._calls -= 1
                if self._calls < 0:
                    raise SystemExit
            return call(**request)

        return counted


@pytest.mark.parametrize("calls", range(8))
def test_a_worker_that_dies_at_any_call_leaves_what_the_next_one_makes_whole(windows_table, calls, monkeypatch):
    monkeypatch.setattr(items, "WRITES", 10)
    clicks = stream_with_late_clicks() + some_clicks(12)
    batch = numbered(clicks)
    with pytest.raises(SystemExit):
        states(windows_table, Dying(aws.client("dynamodb"), calls)).add(RULES, batch, ALLOWED_LATENESS)
    assert states(windows_table).add(RULES, batch, ALLOWED_LATENESS).failed == []
    dead = contents(windows_table)
    for item in dead:
        key = {name: item[name] for name in state_items.KEYS}
        aws.client("dynamodb").delete_item(TableName=windows_table, Key=key)
    states(windows_table).add(RULES, batch, ALLOWED_LATENESS)
    whole = contents(windows_table)
    assert [without_version(item) for item in dead] == [without_version(item) for item in whole]


def without_version(item):
    return {name: value for name, value in item.items() if name != "version"}


def test_what_a_throttled_table_does_not_take_is_reported_and_the_watermark_waits_for_it(windows_table):
    clicks = [click(TEN + n * SECOND, custid=n) for n in range(40)]
    batch = numbered(clicks)

    @contextmanager
    def throttled(now):
        if now:
            throttle(windows_table, 1)
        try:
            yield
        finally:
            if now:
                throttle(windows_table, 0)

    class Full:
        """A client for which one partition is always throttled."""

        def __init__(self, client):
            self._client = client
            self.exceptions = client.exceptions

        def __getattr__(self, name):
            return getattr(self._client, name)

        def put_item(self, **request):
            with throttled(request["Item"]["key"]["S"] == "25#browser"):
                return self._client.put_item(**request)

        def transact_write_items(self, **request):
            with throttled(any(put["Put"]["Item"]["key"]["S"] == "25#browser" for put in request["TransactItems"])):
                return self._client.transact_write_items(**request)

    added = states(windows_table, Full(aws.client("dynamodb"))).add([SESSIONS], batch, ALLOWED_LATENESS)
    assert [record.sequence_number for record in added.failed] == [f"{25:020}"]
    (mark,) = [item for item in contents(windows_table) if item["window"]["S"] == "watermark#sessions"]
    assert mark["time"] == {"S": iso(TEN + 24 * SECOND)}
    assert len(states(windows_table).rows(SESSIONS, TEN)) == 39
    assert states(windows_table).add([SESSIONS], batch[25:], ALLOWED_LATENESS).failed == []
    assert_are_those_of_a_batch(windows_table, clicks, [SESSIONS])


def test_a_table_that_takes_nothing_fails_the_batch(windows_table):
    throttle(windows_table, 1)
    batch = numbered(some_clicks(5))
    for lateness in (ALLOWED_LATENESS, None):
        added = states(windows_table, seconds=0.1).add([SESSIONS], batch, lateness)
        assert added.failed == [record for record, _ in batch]
    throttle(windows_table, 0)
    assert contents(windows_table) == []


# ------------------------------------------------------------------------------------------------------- large, strange


@pytest.mark.parametrize("workers", [1, 2])
def test_states_that_outgrow_an_item_are_cut_and_cut_again(windows_table, monkeypatch, workers):
    monkeypatch.setattr(state_items, "LARGEST_STATE", 300)
    clicks = [click(TEN + n, custid=n % 2, url=f"/{n % 5}") for n in range(600)]
    rules = [SESSIONS, SOURCES_1M]
    batch = numbered(clicks)

    def work(part, seed):
        add_all(windows_table, part, random.Random(seed), rules)

    threads = [threading.Thread(target=work, args=(batch[n::workers] + batch[:100], n)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = contents(windows_table)
    depths = {item["key"]["S"].rpartition("\x1f")[2] for item in before if "\x1f" in item["key"]["S"]}
    assert {1, 2} <= set(map(len, depths))
    assert all(len(item["state"]["B"]) <= 300 for item in before if "state" in item)
    assert_are_those_of_a_batch(windows_table, clicks, rules)
    loaded = states(windows_table).load(SOURCES_1M, [(SOURCES_1M.assigner.assign(TEN)[0], "search")])
    assert [len(state) for state in loaded.values()] == [600]
    add_all(windows_table, batch, random.Random(7), rules)
    assert contents(windows_table) == before


def test_a_late_event_of_a_state_that_was_cut_is_late_and_a_duplicate_is_not(windows_table, monkeypatch):
    monkeypatch.setattr(state_items, "LARGEST_STATE", 300)
    clicks = [click(TEN + n, custid=1, url="/") for n in range(100)]
    add_all(windows_table, numbered([*clicks, click(TEN + 5 * MINUTE)]), random.Random(1), [SOURCES_1M])
    late = click(TEN + 1_000, custid=1)
    added = states(windows_table).add([SOURCES_1M], numbered([*clicks, late, late], first=500), ALLOWED_LATENESS)
    assert added.late == 1
    assert [item["identity"]["S"] for item in states(windows_table).late(SOURCES_1M, TEN)] == [f"{late.identity:016x}"]
    assert [row["events"] for row in states(windows_table).rows(SOURCES_1M, TEN)] == [100]


def test_keys_of_any_length_and_content_have_their_own_items(windows_table):
    urls = ["/" + "x" * 5_000, "/" + "x" * 5_001, "/é" * 800, "/a\x1f1", "/a", "/a\x1f=0", "#", "/a#b"]
    clicks = [click(TEN + n, url=url, custid=n) for n, url in enumerate(urls)]
    states(windows_table).add([VISITORS_1M], numbered(clicks), ALLOWED_LATENESS)
    assert_are_those_of_a_batch(windows_table, clicks, [VISITORS_1M])
    late = [click(TEN + 20, url=url, custid=50) for url in urls]
    end = click(TEN + 9 * MINUTE)
    assert states(windows_table).add([VISITORS_1M], numbered([end, *late]), ALLOWED_LATENESS).late == len(urls)
    assert sorted(item["url"]["S"] for item in states(windows_table).late(VISITORS_1M, TEN)) == sorted(urls)
