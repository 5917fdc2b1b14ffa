import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.streams import apache

LINE = (
    b'192.0.2.7 - anna [17/May/2015:10:05:03 +0200] "GET /a/b?x=1&y=2 HTTP/1.1" 200 1234 '
    b'"https://example.com/?q=1" "Mozilla/5.0 (X11)"'
)


def with_(field, value):
    parts = {
        "client": b"192.0.2.7",
        "time": b"[17/May/2015:10:05:03 +0200]",
        "request": b'"GET /a/b?x=1&y=2 HTTP/1.1"',
        "status": b" 200 ",
        "bytes": b" 1234 ",
        "agent": b'"Mozilla/5.0 (X11)"',
    }
    assert LINE.count(parts[field]) == 1
    padded = b" " + value + b" " if field in ("status", "bytes") else value
    return LINE.replace(parts[field], padded)


def test_every_field_is_read():
    assert apache.parse(LINE + b"\n") == apache.Entry(
        client="192.0.2.7",
        ident=None,
        user="anna",
        time=datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC),
        request=None,
        method="GET",
        path="/a/b",
        query="x=1&y=2",
        protocol="HTTP/1.1",
        status=200,
        bytes=1234,
        referrer="https://example.com/?q=1",
        agent="Mozilla/5.0 (X11)",
    )


def test_the_document_leaves_out_what_is_not_there():
    document = apache.parse(with_("bytes", b"-").replace(b"?x=1&y=2", b"")).document()
    assert json.loads(json.dumps(document)) == {
        "@timestamp": "2015-05-17T08:05:03Z",
        "client": "192.0.2.7",
        "user": "anna",
        "method": "GET",
        "path": "/a/b",
        "protocol": "HTTP/1.1",
        "status": 200,
        "referrer": "https://example.com/?q=1",
        "agent": "Mozilla/5.0 (X11)",
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"::ffff:192.0.2.9", "192.0.2.9"),
        (b"::1", "::1"),
        (b"203.0.113.255", "203.0.113.255"),
    ],
)
def test_clients_of_both_families(written, read):
    assert apache.parse(with_("client", written)).client == read


@pytest.mark.parametrize(("written", "size"), [(b"-", None), (b"0", 0), (b"9223372036854775807", 9223372036854775807)])
def test_no_bytes_is_null_and_zero_is_zero(written, size):
    assert apache.parse(with_("bytes", written)).bytes == size


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (b"[01/Jan/2016:00:30:00 +0100]", datetime(2015, 12, 31, 23, 30, tzinfo=UTC)),
        (b"[29/Feb/2016:23:59:59 -0330]", datetime(2016, 3, 1, 3, 29, 59, tzinfo=UTC)),
        (b"[31/Dec/2015:23:59:59 -0000]", datetime(2015, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_moments_are_in_utc(written, moment):
    entry = apache.parse(with_("time", written))
    assert entry.time == moment
    assert entry.document()["@timestamp"] == moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b'"GET / HTTP/1.0"', ("GET", "/", None, "HTTP/1.0", None)),
        (b'"GET /?"', ("GET", "/", "", None, None)),
        (b'"OPTIONS * HTTP/2"', ("OPTIONS", "*", None, "HTTP/2", None)),
        (b'"GET /a?b?c HTTP/1.1"', ("GET", "/a", "b?c", "HTTP/1.1", None)),
        (rb'"GET /caf\xc3\xa9 HTTP/1.1"', ("GET", "/café", None, "HTTP/1.1", None)),
        (rb'"GET /\xff\"\\ HTTP/1.1"', ("GET", '/\\xff"\\', None, "HTTP/1.1", None)),
        (rb'"\x16\x03\x01"', (None, None, None, None, "\x16\x03\x01")),
        (b'"-"', (None, None, None, None, None)),
        (b'""', (None, None, None, None, None)),
        (b'"GET /a b HTTP/1.1"', (None, None, None, None, "GET /a b HTTP/1.1")),
    ],
)
def test_requests_of_all_kinds_are_entries(written, expected):
    entry = apache.parse(with_("request", written))
    assert (entry.method, entry.path, entry.query, entry.protocol, entry.request) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "client: not in its form|client: missing"),
        (with_("client", b"www.example.com"), "client: 'www.example.com'.*HostnameLookups"),
        (with_("client", b"192.0.2.256"), "client: '192.0.2.256'"),
        (with_("time", b"[31/Feb/2015:10:05:03 +0000]"), "time: .*impossible.*day"),
        (with_("time", b"[17/May/2015:24:00:00 +0000]"), "time: .*impossible.*hour"),
        (with_("time", b"[17/May/2015:10:05:03 +0060]"), "time: .*zone"),
        (with_("time", b"[17/May/2015:10:05:03 +9900]"), "time: .*zone"),
        (with_("time", b"[01/Jan/0001:00:00:00 +0100]"), "time: .*impossible"),
        (with_("time", b"[17/Mai/2015:10:05:03 +0000]"), "time: .*is not like"),
        (with_("time", b"[2015-05-17T10:05:03Z]"), "time: .*is not like"),
        (with_("time", b"[17/May/2015:10:05:03 +0000"), "time: its brackets don't close"),
        (with_("request", b'"GET / HTTP/1.1'), "request: .*no space behind it|status: "),
        (with_("agent", b'"Mozilla'), "agent: its quotes don't close"),
        (with_("agent", rb'"Mozilla\"'), "agent: its quotes don't close"),
        (with_("agent", b""), "agent: missing, the line ends before it"),
        (with_("status", b"99"), "status: '99'"),
        (with_("status", b"600"), "status: '600'"),
        (with_("status", b"2e2"), "status: '2e2'"),
        (with_("bytes", b"-5"), "bytes: '-5'"),
        (with_("bytes", b"9223372036854775808"), "bytes: '9223372036854775808'"),
        (LINE + b" 17", "line: goes on behind the agent"),
        (b'192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5', "referrer: missing"),
        (LINE.replace(b"X11", b"\xff\xfe"), "line: not UTF-8 at byte"),
    ],
)
def test_broken_lines_are_refused_with_the_field(line, reason):
    with pytest.raises(apache.LineError, match=reason):
        apache.parse(line)


@given(st.binary(max_size=300))
def test_nothing_but_a_line_error_comes_of_any_bytes(data):
    with contextlib.suppress(apache.LineError):
        apache.parse(data)


def test_a_hostile_line_takes_no_longer_than_its_length():
    # A hundred thousand backslashes and no closing quote: minutes with a pattern that goes back and tries again.
    with pytest.raises(apache.LineError, match="request"):
        apache.parse(LINE.split(b'"')[0] + b'"' + b"\\a" * 100_000)


def test_the_published_log_is_read_whole(access_log):
    entries = [apache.parse(line) for line in access_log]
    assert len(entries) == 2500
    assert sum(entry.bytes is None for entry in entries) == 106
