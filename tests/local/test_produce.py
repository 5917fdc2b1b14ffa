import gzip
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import boto3
import polars as pl
import pytest

from include.streams import apache
from local.produce import Options, ProduceError, produce
from local.producer.sources import STREAMS, Schedule, source
from tests.conftest import REPOSITORY
from tests.local.producer.kinesis import Kinesis

DATA = REPOSITORY.parent / "shared" / "data"
UCI = DATA / "online_retail.parquet"
LOG = DATA / "apache_access.log"


def needs(path: Path):
    return pytest.mark.skipif(not path.exists(), reason=f"THE PUBLISHED DATA ARE NOT HERE: {path}")


def burst(stream="clickstream", count=1000, **made_of):
    return Options(stream, 0, count, False, {"start": "2026-03-01T10:00:00", **made_of})


# ------------------------------------------------------------------------------------------------------ runs and resume


def test_the_report_says_what_was_sent(tmp_path):
    kinesis = Kinesis()
    report = produce(
        tmp_path, kinesis, burst(count=3000, duplicates=0.1, disorder=2, poison=0.02, lateness=0.05, late_by=20)
    )
    data = [data for _, data in kinesis.taken]
    assert report["records"] == 3000
    assert report["sent"] == len(data) == 3000 + report["duplicates"] + sum(report["poison"].values())
    usable = Counter(data)
    clicks = [record.data for record in islice(clicks_of(3000), 3000)]
    assert all(usable[click] >= 1 for click in clicks)
    assert sum(usable[click] - 1 for click in clicks) == report["duplicates"] > 0
    assert len(report["poison"]) == 5
    assert report["late"] > 50
    assert report["disordered"] > 1000
    assert report["bytes"] == sum(map(len, data))
    assert report["requests"] == len(kinesis.requests) <= len(data) / 500 + 1


def clicks_of(count):
    schedule = Schedule(1, datetime(2026, 3, 1, 10, tzinfo=UTC), timedelta(milliseconds=20))
    return source("clickstream", schedule).records(0)


class Killed(BaseException):
    """What no `except Exception` sees."""


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_killed_run_goes_on_after_the_last_acknowledged_record(tmp_path, stream, killed_at):
    injection = {"duplicates": 0.2, "disorder": 3, "poison": 0.05, "lateness": 0.05, "late_by": 5}
    whole = Kinesis()
    produce(tmp_path / "a", whole, burst(stream, 1500, **injection))

    class Dying(Kinesis):
        def put_records(self, **request):
            if len(self.requests) == killed_at:
                raise Killed
            return super().put_records(**request)

    interrupted = Dying()
    with pytest.raises(Killed):
        produce(tmp_path / "b", interrupted, burst(stream, 1500, **injection))
    rest = Kinesis()
    report = produce(tmp_path / "b", rest, Options(stream, 0, None, True))
    assert interrupted.taken + rest.taken == whole.taken
    assert report["next"] == 1500


def test_a_stream_that_fails_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("local.producer.delivery.FIRST_PAUSE", 0)
    kinesis = Kinesis(lambda request, number: request > 1)
    with pytest.raises(ProduceError, match="--resume goes on from here"):
        produce(tmp_path, kinesis, burst())
    rest = Kinesis()
    produce(tmp_path, rest, Options("clickstream", 0, None, True))
    assert kinesis.taken + rest.taken == [(r.key, r.data) for r in islice(clicks_of(1000), 1000)]


def test_a_finished_run_goes_on_with_more_of_the_same(tmp_path):
    kinesis = Kinesis()
    produce(tmp_path, kinesis, burst(count=700))
    report = produce(tmp_path, kinesis, Options("clickstream", 0, 300, True))
    assert (report["first"], report["next"], report["records"]) == (700, 1000, 300)
    assert kinesis.taken == [(r.key, r.data) for r in islice(clicks_of(1000), 1000)]


def test_told_to_stop_it_sends_what_it_holds_back_and_is_done(tmp_path):
    stop = threading.Event()

    class Stopping(Kinesis):
        def put_records(self, **request):
            if len(self.requests) == 2:
                stop.set()
            return super().put_records(**request)

    kinesis = Stopping()
    options = Options("clickstream", 100_000, None, False, {"start": "2026-03-01T10:00:00", "disorder": 0.001})
    report = produce(tmp_path, kinesis, options, stop)
    assert report["interrupted"]
    assert report["records"] == report["next"]
    assert sorted(json.loads(data)["trans_timestamp"] for _, data in kinesis.taken) == sorted(
        {json.loads(data)["trans_timestamp"] for _, data in kinesis.taken}
    )
    more = produce(tmp_path, Kinesis(), Options("clickstream", 0, 10, True))
    assert more["first"] == report["next"]


@pytest.mark.parametrize(
    ("before", "options", "message"),
    [
        (None, Options("clickstream", 0, 5, True), "--resume: nothing was sent yet"),
        (700, Options("clickstream", 0, None, True), "was sent whole: say how many more with --count"),
        (700, Options("clickstream", 0, 5, True, {"seed": 2}), "--seed is 2, the run to resume has 1"),
        (700, Options("clickstream", 0, 5, True, {"late_by": 7.0}), "--late-by is 7.0, the run to resume has 300.0"),
        (None, Options("clickstream", 0), "--rate 0 .*say how many with --count"),
        (None, Options("clickstream", -1), "--rate is -1"),
        (None, Options("clickstream", 0, 0), "--count is 0"),
        (None, Options("clickstream", 0, 5, False, {"file": "x.csv"}), "--file: clicks are only generated"),
        (None, Options("weblogs", 0, 5, False, {"burst_orders": 5}), "--burst-orders: only generated orders"),
        (None, burst(count=100, lateness=0.1), "--lateness: the run covers 2 s"),
        (None, burst(poison=2.0), "--poison is 2.0"),
        (None, burst("orders", None, file="/nothing/here.csv"), "/nothing/here.csv: no such file"),
        (None, burst("weblogs", None, file="/nothing/here.log"), "--file /nothing/here.log: .*No such file"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, before, options, message):
    if before:
        produce(tmp_path, Kinesis(), burst(count=before))
    kinesis = Kinesis()
    with pytest.raises(ProduceError, match=message):
        produce(tmp_path, kinesis, options)
    assert kinesis.taken == []


def test_a_start_that_is_no_time_is_said(tmp_path):
    with pytest.raises(ProduceError, match="--start is 'yesterday'"):
        produce(tmp_path, Kinesis(), burst(start="yesterday"))


def test_an_unfinished_run_is_finished_first(tmp_path, monkeypatch):
    monkeypatch.setattr("local.producer.delivery.FIRST_PAUSE", 0)
    with pytest.raises(ProduceError):
        produce(tmp_path, Kinesis(lambda request, number: request > 1), burst())
    with pytest.raises(ProduceError, match="stopped at record 500 before its end"):
        produce(tmp_path, Kinesis(), Options("clickstream", 0, 10, True))


def test_a_stream_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(ProduceError, match=r"no stream vitrine-clickstream at http://kinesis.test: there are a, b"):
        produce(tmp_path, Kinesis(streams=("a", "b")), burst())


def test_a_burst_of_orders_stands_in_the_middle(tmp_path):
    kinesis = Kinesis()
    produce(tmp_path, kinesis, burst("orders", 200, burst_orders=15))
    lines = [json.loads(data) for _, data in kinesis.taken]
    assert len(lines) == 200
    seconds = Counter()
    for line in {line["InvoiceNo"]: line for line in lines}.values():
        seconds[line["EventTime"][:19]] += 1
    extra = [line for line in lines if line["InvoiceNo"].startswith("9600")]
    assert len(extra) == 15
    times = [datetime.fromisoformat(line["EventTime"]) for line in extra]
    assert max(times) - min(times) < timedelta(seconds=1)
    assert 90 <= lines.index(extra[0]) <= 110


def test_a_burst_ends_now(tmp_path):
    kinesis = Kinesis()
    produce(tmp_path, kinesis, Options("clickstream", 0, 500))
    last = datetime.fromisoformat(json.loads(kinesis.taken[-1][1])["trans_timestamp"]).replace(tzinfo=UTC)
    assert timedelta(0) < datetime.now(UTC) - last < timedelta(minutes=5)


# --------------------------------------------------------------------------------------------------------------- replay


@needs(UCI)
def test_the_published_sales_are_replayed_as_they_are(tmp_path):
    kinesis = Kinesis()
    report = produce(tmp_path, kinesis, burst("orders", 4000, file=str(UCI)))
    assert report["records"] == 4000
    lines = pl.DataFrame([json.loads(data) for _, data in kinesis.taken])
    file = pl.read_parquet(UCI).head(4000)
    assert lines["InvoiceNo"].to_list() == file["InvoiceNo"].to_list()
    assert lines["Quantity"].cast(pl.Int64).to_list() == file["Quantity"].to_list()
    assert lines["UnitPrice"].cast(pl.Float64).to_list() == file["UnitPrice"].to_list()
    assert lines["Customer"][0] == "17850"
    assert lines["InvoiceDate"][0] == "12/1/2010 8:26"
    numbers = lines.select(pl.col("LineNo").cast(pl.Int64), expected=pl.int_range(pl.len()).over("InvoiceNo") + 1)
    assert numbers["LineNo"].to_list() == numbers["expected"].to_list()
    assert lines.group_by("InvoiceNo").agg(pl.col("EventTime").n_unique())["EventTime"].max() == 1
    keys = [key for key, _ in kinesis.taken]
    assert keys == [c or i for c, i in lines.select("Customer", "InvoiceNo").iter_rows()]


CSV = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,HOLDER,6,12/1/2010 8:26,2.50,17850,United Kingdom
536366,22633,"WARMER, RED",2,12/1/2010 8:28,10,,France
536365,71053,,1,12/1/2010 8:26,0,17850,United Kingdom
"""


def test_a_csv_is_replayed_and_goes_on_where_it_stopped(tmp_path):
    file = tmp_path / "sales.csv"
    file.write_text(CSV)
    kinesis = Kinesis()
    produce(tmp_path, kinesis, burst("orders", 2, file=str(file)))
    produce(tmp_path, kinesis, Options("orders", 0, 1, True))
    lines = [json.loads(data) for _, data in kinesis.taken]
    assert [(line["InvoiceNo"], line["LineNo"]) for line in lines] == [
        ("536365", "1"),
        ("536366", "1"),
        ("536365", "2"),
    ]
    assert [line["UnitPrice"] for line in lines] == ["2.5", "10", "0"]
    assert [line["Customer"] for line in lines] == ["17850", "", "17850"]
    assert [key for key, _ in kinesis.taken] == ["17850", "536366", "17850"]
    assert lines[1]["Description"] == "WARMER, RED"
    assert lines[2]["Description"] == ""
    assert lines[0]["EventTime"] == lines[2]["EventTime"] != lines[1]["EventTime"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV.replace("StockCode", "Stock"), "no column 'StockCode'.*did you mean 'Stock'|no column 'StockCode'"),
        (CSV.splitlines()[0], "empty"),
        ("", "empty"),
        (CSV.replace(",6,", ",six,"), "line 2, column 'Quantity'"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_said_before_anything_is_sent(tmp_path, content, message):
    file = tmp_path / "sales.csv"
    file.write_text(content)
    kinesis = Kinesis()
    with pytest.raises(ProduceError, match=message):
        produce(tmp_path, kinesis, burst("orders", None, file=str(file)))
    assert kinesis.taken == []
    assert not (tmp_path / "produce").exists()


def test_a_log_is_replayed_byte_by_byte(tmp_path):
    lines = [b'192.0.2.7 - - "\xff"', b"", b"broken", b'2001:db8::1 - - "x"\r']
    file = tmp_path / "access.log.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    kinesis = Kinesis()
    produce(tmp_path, kinesis, burst("weblogs", None, file=str(file)))
    assert kinesis.taken == [
        ("192.0.2.7#0", b'192.0.2.7 - - "\xff"'),
        ("broken#1", b"broken"),
        ("2001:db8::1#2", b'2001:db8::1 - - "x"'),
    ]
    (tmp_path / "empty.log").write_bytes(b"\n\n")
    with pytest.raises(ProduceError, match=r"empty.log: it has no lines"):
        produce(tmp_path, kinesis, burst("weblogs", None, file=str(tmp_path / "empty.log")))


@needs(LOG)
def test_the_published_log_is_replayed_whole(tmp_path):
    kinesis = Kinesis()
    assert produce(tmp_path, kinesis, burst("weblogs", None, file=str(LOG)))["records"] == 2500
    assert b"\n".join(data for _, data in kinesis.taken) + b"\n" == LOG.read_bytes()


@pytest.mark.parametrize("stream", STREAMS)
def test_generated_records_have_the_streams_partition_keys(stream):
    schedule = Schedule(1, datetime(2026, 3, 1, tzinfo=UTC), timedelta(milliseconds=20))
    for record in islice(source(stream, schedule).records(0), 300):
        match stream:
            case "clickstream":
                assert record.key == str(json.loads(record.data)["custid"])
            case "orders":
                line = json.loads(record.data)
                assert record.key == (line["Customer"] or line["InvoiceNo"])
            case "weblogs":
                assert record.key == f"{apache.parse(record.data).client}#{record.number}"


# -------------------------------------------------------------------------------------------------------- over the wire


def local(*arguments):
    return [sys.executable, "-m", "local", *map(str, arguments)]


@pytest.fixture(scope="module")
def stream(stack):
    """The click-stream, with as many shards as deployed, and a reader of what was put from now on."""
    kinesis = boto3.client("kinesis")
    name = STREAMS["clickstream"]
    if name not in kinesis.list_streams()["StreamNames"]:
        kinesis.create_stream(StreamName=name, ShardCount=2)
        kinesis.get_waiter("stream_exists").wait(StreamName=name)

    def records():
        found = []
        for shard in kinesis.list_shards(StreamName=name)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                answer = kinesis.get_records(ShardIterator=iterator)
                found += [record["Data"] for record in answer["Records"]]
                iterator = answer.get("NextShardIterator")
                if not iterator or (not answer["Records"] and not answer["MillisBehindLatest"]):
                    break
        return found

    return records


def test_a_producer_that_is_killed_goes_on_over_the_wire(stack, stream):
    before = Counter(stream())
    command = local("produce", "clickstream", "--state", stack.state)
    options = ("--rate", 400, "--count", 3000, "--start", "2026-04-01T00:00:00", "--duplicates", 0.1, "--seed", 77)
    process = subprocess.Popen([*command, *map(str, options)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    state = stack.state / "produce" / "clickstream.json"
    deadline = time.monotonic() + 60
    while not state.exists() or json.loads(state.read_text())["floor"] < 200 or "77" not in state.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    acknowledged = json.loads(state.read_text())["floor"]
    assert 200 <= acknowledged < 3000
    rest = subprocess.run([*command, "--resume", "--rate", "0"], cwd=REPOSITORY, capture_output=True, text=True)
    assert rest.returncode == 0, rest.stderr
    report = json.loads(rest.stdout)
    assert report["next"] == 3000
    put = Counter(stream()) - before
    schedule = Schedule(77, datetime(2026, 4, 1, tzinfo=UTC), timedelta(seconds=1 / 400))
    expected = [r.data for r in islice(source("clickstream", schedule).records(0), 3000)]
    assert set(put) == set(expected)  # nothing is lost, and nothing is there that was not to be sent
    # At most the request that was under way is there twice.
    assert put.total() - 3000 <= 3000 * 0.13 + 500


def test_the_command_says_what_is_wrong(stack, stream):
    answer = subprocess.run(
        local("produce", "orders", "--state", stack.state, "--file", "/nothing.csv"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "nothing.csv" in answer.stderr or "no stream vitrine-orders" in answer.stderr
    assert "Traceback" not in answer.stderr
