import json
import os
import signal
import threading
import time

import psutil
import pytest

from local.aws import search as search_module
from local.aws import settings
from local.aws.search import Search, SearchError, changes
from local.aws.settings import Settings

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", Settings(tmp_path, 0))  # for this test alone: an S3 may be plugged here
    return tmp_path / "search"


@pytest.fixture
def search(folder):
    with_server = Search(folder)
    yield with_server
    with_server.stop()


def told(search, method, path, body=None, status=200):
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    answer = search.request(method, path, content, JSON)
    assert answer.status == status, answer.data
    return answer.json() if answer.data else None


def stored(search, index="a"):
    told(search, "POST", f"/{index}/_refresh")
    hits = told(search, "POST", f"/{index}/_search", {"size": 1000, "sort": ["_id"]})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def running():
    return {child for child in psutil.Process().children(recursive=True) if "osmem-server" in child.name()}


BEFORE = set()


@pytest.fixture(scope="module", autouse=True)
def others():
    """The servers of a stack that other tests use."""
    BEFORE.update(running())


def servers():
    """The search servers that these tests have started, under this process's supervisors."""
    return list(running() - BEFORE)


@pytest.mark.parametrize(
    ("method", "path", "does"),
    [
        ("GET", "/a/_search", False),
        ("HEAD", "/a", False),
        ("POST", "/a/_search?size=1", False),
        ("POST", "/_msearch", False),
        ("POST", "/_refresh", False),
        ("POST", "/_bulk", True),
        ("POST", "/a/_doc", True),
        ("POST", "/a/_update/_search", False),
        ("POST", "/a/_delete_by_query", True),
        ("PUT", "/a", True),
        ("PUT", "/_index_template/_search", True),
        ("DELETE", "/a", True),
    ],
)
def test_what_is_kept_is_what_may_change_something(method, path, does):
    assert changes(method, path) is does


def test_nothing_runs_before_the_first_request(search, folder):
    assert servers() == []
    assert told(search, "GET", "/")["version"]["distribution"] == "opensearch"
    assert len(servers()) == 1
    assert not list(folder.glob("*"))


def test_documents_mappings_and_deletions_survive_a_stop(folder):
    first = Search(folder)
    told(
        first, "PUT", "/_index_template/t", {"index_patterns": ["a*"], "template": {"mappings": {"dynamic": "strict"}}}
    )
    told(first, "PUT", "/a1", {"mappings": {"properties": {"x": {"type": "short"}}}})
    told(first, "PUT", "/a1/_doc/1", {"x": 1}, 201)
    told(first, "PUT", "/a1/_doc/2", {"x": 2}, 201)
    told(first, "DELETE", "/a1/_doc/1")
    told(first, "PUT", "/b", {})
    told(first, "DELETE", "/b")
    first.stop()
    assert servers() == []
    second = Search(folder)
    try:
        assert stored(second, "a1") == {"2": {"x": 2}}
        assert told(second, "GET", "/_cat/indices?format=json")[0]["index"] == "a1"
        assert "strict" in json.dumps(told(second, "GET", "/_index_template/t"))
        told(second, "PUT", "/a1/_doc/3", {"y": 1}, 400)
    finally:
        second.stop()


def test_a_killed_server_comes_back_with_everything_that_was_answered(search):
    for number in range(20):
        told(search, "PUT", f"/a/_doc/{number:02}", {"x": number}, 201)
    (server,) = servers()
    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([server])
    deadline = time.monotonic() + 30
    while True:
        try:
            found = stored(search)
            break
        except SearchError:  # its end has not come through yet
            assert time.monotonic() < deadline
    assert found == {f"{number:02}": {"x": number} for number in range(20)}


def test_a_put_that_a_kill_cut_short_is_cut_off(folder):
    first = Search(folder)
    for number in range(3):
        told(first, "PUT", f"/a/_doc/{number}", {"x": number}, 201)
    first.stop()
    (log,) = folder.glob("*.log")
    os.truncate(log, log.stat().st_size - 3)
    second = Search(folder)
    try:
        assert set(stored(second)) == {"0", "1"}
        told(second, "PUT", "/a/_doc/3", {"x": 3}, 201)
    finally:
        second.stop()
    third = Search(folder)
    try:
        assert set(stored(third)) == {"0", "1", "3"}
    finally:
        third.stop()


def test_a_journal_that_has_grown_is_written_anew_and_says_the_same(folder, monkeypatch):
    monkeypatch.setattr(search_module, "COMPACT_BYTES", 100_000)
    monkeypatch.setattr(search_module, "_PAGE", 7)
    first = Search(folder)
    told(
        first, "PUT", "/_index_template/t", {"index_patterns": ["a*"], "template": {"mappings": {"dynamic": "strict"}}}
    )
    told(first, "PUT", "/a", {"mappings": {"properties": {"x": {"type": "keyword"}}}, "aliases": {"z": {}}})
    lines = [line for n in range(20) for line in ({"index": {"_id": str(n)}}, {"x": f"é{n}" + "x" * 1000})]
    for _ in range(10):
        told(first, "POST", "/a/_bulk", "".join(json.dumps(line) + "\n" for line in lines).encode())
    before = stored(first), told(first, "GET", "/a/_mapping"), told(first, "GET", "/_index_template")
    first.stop()
    size = sum(file.stat().st_size for file in folder.glob("*.log"))
    for _ in range(2):  # and again from what was written anew
        again = Search(folder)
        try:
            after = stored(again), told(again, "GET", "/a/_mapping"), told(again, "GET", "/_index_template")
            assert after == before
            assert len(stored(again, "z")) == 20
        finally:
            again.stop()
    assert sum(file.stat().st_size for file in folder.glob("*.log")) < size / 5
    assert [path.name for path in folder.parent.glob("search*")] == ["search"]


def test_a_kill_in_the_middle_of_writing_anew_loses_nothing(folder):
    first = Search(folder)
    told(first, "PUT", "/a/_doc/1", {"x": 1}, 201)
    first.stop()
    folder.rename(folder.with_suffix(".old"))
    folder.with_suffix(".new").mkdir()
    second = Search(folder)
    try:
        assert stored(second) == {"1": {"x": 1}}
    finally:
        second.stop()


def test_many_at_once_are_all_kept(folder):
    first = Search(folder)
    try:
        threads = [
            threading.Thread(target=lambda n=n: [told(first, "PUT", f"/a/_doc/{n}-{m}", {}, 201) for m in range(10)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(servers()) == 1
    finally:
        first.stop()
    second = Search(folder)
    try:
        assert len(stored(second)) == 80
    finally:
        second.stop()


def test_without_a_binary_the_error_says_what_is_missing(folder, monkeypatch):
    monkeypatch.setenv("OSMEM_SERVER_BIN", str(folder / "nothing"))
    with pytest.raises(SearchError, match=r"did not start: .*No such file"):
        Search(folder).request("GET", "/", b"", {})


def test_the_endpoint_speaks_for_the_server(stack):
    import urllib.error
    import urllib.request

    with urllib.request.urlopen(stack.env["SEARCH_URL"]) as response:
        assert json.load(response)["version"]["distribution"] == "opensearch"
    assert stack.env["AIRFLOW_VAR_VITRINE_SEARCH_URL"] == stack.env["SEARCH_URL"]
    head = urllib.request.Request(stack.env["SEARCH_URL"] + "/nothing-here", method="HEAD")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(head)
    assert raised.value.code == 404
    odd = urllib.request.Request(stack.env["SEARCH_URL"] + "/odd%20path/_plugins/_ism")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(odd)
    assert raised.value.code == 400
