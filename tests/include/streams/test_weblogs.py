import base64
from datetime import date

import polars as pl
import pytest

from include.streams import aws, bulk, search, weblogs
from tests.streams import Context, event
from tests.troubled_search import troubled

GOOD = b'192.0.2.7 - - [01/Mar/2026:10:05:03 +0000] "GET /a HTTP/1.1" 200 10 "-" "x"'


def positioned(lines):
    """Partition keys of a producer that knows the lines' places."""
    return [f"{line.split(b' ')[0].decode()}#{number}" for number, line in enumerate(lines)]


@pytest.fixture
def server(stack, monkeypatch):
    """The search server, without any index of web logs."""
    client = search.connect(stack.env["SEARCH_URL"])
    client.indices.delete(index="weblogs-*", ignore_unavailable=True)
    monkeypatch.setenv("SEARCH_URL", stack.env["SEARCH_URL"])
    monkeypatch.setenv("QUARANTINE", "s3://vitrine-lake/quarantine/streams/")
    weblogs._index.cache_clear()
    aws.client.cache_clear()
    return client


def documents(server):
    """What is stored: id to fields."""
    server.indices.refresh(index="weblogs-*")
    found = server.search(index="weblogs-*", body={"size": 10_000})["hits"]["hits"]
    return {hit["_id"]: (hit["_index"], hit["_source"]) for hit in found}


def aggregated(server, **aggregations):
    server.indices.refresh(index="weblogs-*")
    return server.search(index="weblogs-*", body={"size": 0, "aggs": aggregations})["aggregations"]


def handled(lines, size=500, **options):
    failures = []
    for first in range(0, len(lines), size):
        batch = lines[first : first + size]
        keys = positioned(lines)[first : first + size]
        failures += weblogs.handler(event(batch, first=1000 + first, keys=keys), Context(**options))[
            "batchItemFailures"
        ]
    return failures


def independent(lines):
    """The log again, by other means than the parser under test: cut at its quotes."""
    frame = pl.DataFrame({"line": [line.decode() for line in lines]})
    parts = pl.col("line").str.split('"')
    request = parts.list.get(1).str.split(" ")
    answer = parts.list.get(2).str.strip_chars().str.split(" ")
    return frame.select(
        client=pl.col("line").str.split(" ").list.get(0),
        path=request.list.get(1).str.split("?").list.get(0),
        status=answer.list.get(0).cast(pl.Int64),
        bytes=answer.list.get(1).cast(pl.Int64, strict=False),
        day=pl.col("line").str.extract(r"\[(\d\d/May/2015)"),
    )


def assert_is_the_published_log(server, lines):
    frame = independent(lines)
    found = aggregated(
        server,
        status={"terms": {"field": "status", "size": 50}},
        bytes={"sum": {"field": "bytes"}},
        sizes={"value_count": {"field": "bytes"}},
        urls={"terms": {"field": "path", "size": 10_000}, "aggs": {"bytes": {"sum": {"field": "bytes"}}}},
        hosts={"terms": {"field": "client", "size": 10_000}},
    )
    counts = dict(frame.group_by("status").len().iter_rows())
    assert {bucket["key"]: bucket["doc_count"] for bucket in found["status"]["buckets"]} == counts
    assert found["bytes"]["value"] == frame["bytes"].sum() == 469_844_441
    assert found["sizes"]["value"] == frame["bytes"].count()
    urls = frame.group_by("path").agg(pl.len(), pl.col("bytes").sum()).rows()
    assert {(b["key"], b["doc_count"], b["bytes"]["value"]) for b in found["urls"]["buckets"]} == set(urls)
    hosts = dict(frame.group_by("client").len().iter_rows())
    assert {bucket["key"]: bucket["doc_count"] for bucket in found["hosts"]["buckets"]} == hosts
    days = {f"weblogs-2015.05.{day[:2]}": number for day, number in frame.group_by("day").len().iter_rows()}
    indices = server.cat.indices(index="weblogs-*", format="json")
    assert {index["index"]: int(index["docs.count"]) for index in indices} == days


def test_the_index_is_the_published_log(server, quarantined, access_log):
    assert handled(access_log) == []
    assert_is_the_published_log(server, access_log)
    assert quarantined() == {}


def test_a_replay_changes_nothing(server, access_log):
    lines = access_log[:300]
    handled(lines)
    before = documents(server)
    assert len(before) == 300
    handled(lines, size=77)
    assert documents(server) == before
    versions = server.search(index="weblogs-*", body={"size": 300, "version": True})["hits"]["hits"]
    assert {hit["_version"] for hit in versions} == {1}


def test_a_line_sent_twice_is_one_document_and_two_equal_requests_are_two(server):
    # Positions 0 and 1 of a log, each sent twice, as a producer does that lost an answer.
    keys = ["192.0.2.7#0", "192.0.2.7#1", "192.0.2.7#0", "192.0.2.7#1"]
    weblogs.handler(event([GOOD] * 4, keys=keys), Context())
    assert len(documents(server)) == 2


def test_without_a_position_a_record_is_known_by_its_place_in_the_stream(server):
    for _ in range(2):
        weblogs.handler(event([GOOD, GOOD], keys=["key", "198.51.100.1#4"]), Context())
    assert set(documents(server)) == {"shardId-000000000000:100", "shardId-000000000000:101"}


def test_broken_lines_go_to_quarantine_with_reason_and_place(server, quarantined):
    broken = {
        "bad quoting": GOOD[:-1],
        "missing fields": GOOD[:40],
        "impossible date": GOOD.replace(b"01/Mar", b"31/Feb"),
        "not UTF-8": GOOD[:-1] + b'\xff"',
    }
    batch = event([GOOD, *broken.values(), GOOD], shard="shardId-000000000007")
    for _ in range(2):  # the second time over the first
        assert weblogs.handler(batch, Context()) == {"batchItemFailures": []}
    assert len(documents(server)) == 2
    found = quarantined()
    assert [record["sequence_number"] for record in found.values()] == ["101", "102", "103", "104"]
    assert {record["shard_id"] for record in found.values()} == {"shardId-000000000007"}
    assert list(found) == [f"weblogs/shardId-000000000007/{n}" for n in range(101, 105)]
    reasons = [record["reason"].split(":")[0] for record in found.values()]
    assert reasons == ["agent", "time", "time", "line"]
    assert [record["encoding"] for record in found.values()] == ["utf-8", "utf-8", "utf-8", "base64"]
    texts = [
        record["data"].encode() if record["encoding"] == "utf-8" else base64.b64decode(record["data"])
        for record in found.values()
    ]
    assert texts == list(broken.values())


def test_a_document_that_the_index_refuses_goes_to_quarantine(server, quarantined):
    # Somebody made the day's index with a mapping of their own, against which a client is a number.
    server.indices.delete_index_template(name=search.TEMPLATE_NAME, ignore=404)
    server.indices.create(
        index="weblogs-2026.03.01", body={"mappings": {"properties": {"client": {"type": "integer"}}}}
    )
    assert weblogs.handler(event([GOOD]), Context()) == {"batchItemFailures": []}
    (record,) = quarantined().values()
    assert "mapper_parsing_exception" in record["reason"]
    assert "client" in record["reason"]
    assert record["data"].encode() == GOOD


def test_indices_get_their_mappings_from_the_template(server):
    weblogs.handler(event([GOOD]), Context())
    mapping = server.indices.get_mapping(index="weblogs-2026.03.01")["weblogs-2026.03.01"]["mappings"]
    assert mapping == search.template()["template"]["mappings"]


# -------------------------------------------------------------------------------------------------- a server in trouble


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(bulk, "FIRST_PAUSE", 0.002)


def test_a_server_that_rejects_a_third_of_the_items_loses_and_doubles_none(
    server, stack, monkeypatch, quarantined, access_log
):
    with troubled(stack.env["SEARCH_URL"]) as (url, proxy):
        monkeypatch.setenv("SEARCH_URL", url)
        failures = handled(access_log)
        sent = [name for names in proxy.bulks for name in names]
        # Only what failed is sent again: a third, a ninth … of all, and not all of it each time.
        assert len(access_log) * 1.35 < len(sent) < len(access_log) * 1.5
        for record in failures:  # the mapping sends these again
            number = int(record["itemIdentifier"]) - 1000
            line = access_log[number]
            again = event([line], first=1000 + number, keys=[positioned(access_log)[number]])
            while weblogs.handler(again, Context())["batchItemFailures"]:
                pass
    assert_is_the_published_log(server, access_log)
    assert quarantined() == {}


def test_what_the_server_does_not_take_in_time_is_handed_back(server, stack, monkeypatch, quarantined):
    with troubled(stack.env["SEARCH_URL"], share=1.0) as (url, proxy):
        monkeypatch.setenv("SEARCH_URL", url)
        answer = weblogs.handler(event([GOOD, b"broken", GOOD]), Context())
        assert len(proxy.bulks) == bulk.ATTEMPTS
    assert answer == {"batchItemFailures": [{"itemIdentifier": "100"}, {"itemIdentifier": "102"}]}
    assert [record["sequence_number"] for record in quarantined().values()] == ["101"]
    assert documents(server) == {}


def test_no_time_left_means_one_attempt(server, stack, monkeypatch):
    with troubled(stack.env["SEARCH_URL"], share=1.0) as (url, proxy):
        monkeypatch.setenv("SEARCH_URL", url)
        assert len(weblogs.handler(event([GOOD]), Context(seconds=1))["batchItemFailures"]) == 1
        assert len(proxy.bulks) == 1


def test_a_server_that_is_broken_for_a_while_is_asked_again(server, stack, monkeypatch):
    with troubled(stack.env["SEARCH_URL"], share=0.0, broken=3) as (url, proxy):
        monkeypatch.setenv("SEARCH_URL", url)
        assert weblogs.handler(event([GOOD]), Context()) == {"batchItemFailures": []}
        assert len(proxy.bulks) == 4
    assert len(documents(server)) == 1


def test_requests_that_are_too_large_are_halved(server, stack, monkeypatch, access_log):
    with troubled(stack.env["SEARCH_URL"], share=0.0, largest=20_000) as (url, _):
        monkeypatch.setenv("SEARCH_URL", url)
        assert handled(access_log[:200]) == []
    assert len(documents(server)) == 200


def test_a_server_that_is_away_fails_the_good_and_keeps_the_broken(server, monkeypatch, quarantined):
    monkeypatch.setenv("SEARCH_URL", "http://127.0.0.1:1")
    answer = weblogs.handler(event([GOOD, b"broken"]), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "100"}]}
    assert [record["sequence_number"] for record in quarantined().values()] == ["101"]


def test_a_quarantine_that_is_away_fails_the_broken_and_stores_the_good(server, monkeypatch):
    monkeypatch.setenv("QUARANTINE", "s3://no-such-bucket-here/q/")
    answer = weblogs.handler(event([GOOD, b"broken"]), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "101"}]}
    assert len(documents(server)) == 1


@pytest.mark.parametrize("value", ["", "lake/quarantine/", "s3://"])
def test_a_quarantine_that_is_no_uri_is_named(server, monkeypatch, value):
    monkeypatch.setenv("QUARANTINE", value)
    with pytest.raises(ValueError, match="QUARANTINE"):
        weblogs.handler(event([b"broken"]), Context())


def test_a_search_url_that_is_none_is_named(server, monkeypatch):
    monkeypatch.setenv("SEARCH_URL", "localhost:9200")
    with pytest.raises(search.SearchError, match="SEARCH_URL is 'localhost:9200'"):
        weblogs.handler(event([GOOD]), Context())


def test_one_day_is_one_index():
    assert search.index_of(date(2015, 5, 7)) == "weblogs-2015.05.07"
