"""OpenSearch's API on the AWS endpoint, under `settings.SEARCH`: a server in memory, with a journal on disk before it.

The server (osmem) starts with the first request. It forgets everything when it ends, so each request that changes
something is written to `<state>/search/` before it is passed on, and done again after a start. Documents without an id
of their own get another one then.
"""

import functools
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import urllib3

from local.aws import settings
from local.aws.kinesis_log import Log
from local.aws.processes import Process, StartError

log = logging.getLogger(__name__)

START_SECONDS = 30
ANSWER_SECONDS = 120
COMPACT_BYTES = 64 << 20
"""A journal that is larger than this is written anew, from what is still there, at the next start."""

_PAGE = 2000
# What a POST doesn't change anything with: the last part of its path that begins with an underscore.
_READING = {
    *("_search", "_msearch", "_count", "_mget", "_refresh", "_flush", "_forcemerge", "_analyze", "_field_caps"),
    *("_validate", "_explain", "_mtermvectors", "_termvectors", "_search_shards", "_simulate", "_rank_eval"),
}
_PASSED_ON = ("Content-Type", "Content-Encoding", "Accept")


class SearchError(RuntimeError):
    """The search server did not start, or ended."""


class Search:
    """One search server, with what it was told kept in a folder.

    Args:
        folder: Of the journal.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._former = folder.with_suffix(".old")
        self._changing = threading.Lock()
        self._starting = threading.Lock()
        self._server: _Server | None = None
        self._journal: Log | None = None

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Pass a request on.

        Args:
            method: GET, POST, …
            path: From the server's root, with the query.
            body: As it came, perhaps compressed.
            headers: Of the content.

        Raises:
            SearchError: There is no server to ask.
        """
        server = self._running()
        if not changes(method, path):
            return server.request(method, path, body, headers)
        with self._changing:
            assert self._journal is not None  # noqa: S101 - opened by _running
            # First written, then done: what is answered is not lost, and what is lost was not answered.
            self._journal.append([(json.dumps({"method": method, "path": path, "headers": headers}).encode(), body)])
            return server.request(method, path, body, headers)

    def stop(self) -> None:
        """End the server; the journal stays."""
        with self._starting:
            if self._server:
                self._server.stop()
            if self._journal:
                self._journal.close()
            self._server = self._journal = None

    def _running(self) -> "_Server":
        with self._starting:
            if self._server is None or self._server.ended:
                self._server = self._started()
            return self._server

    def _started(self) -> "_Server":
        with self._changing:
            if self._former.exists() and not self._folder.exists():
                self._former.rename(self._folder)  # killed between the two steps of a compaction
            self._journal = self._journal or Log(self._folder)
            server = _Server()
            for entry in _entries(self._journal):
                told = json.loads(entry.key)
                server.request(told["method"], told["path"], entry.data, told["headers"])
            server.request("POST", "/_refresh", b"", {})
            if sum(file.stat().st_size for file in self._folder.glob("*.log")) > COMPACT_BYTES:
                self._compact(server)
            return server

    def _compact(self, server: "_Server") -> None:
        """Write the journal anew, from what the server knows."""
        staged = self._folder.with_suffix(".new")
        for folder in (staged, self._former):
            shutil.rmtree(folder, ignore_errors=True)
        fresh = Log(staged)
        for method, path, body in _everything(server):
            key = {"method": method, "path": path, "headers": {"Content-Type": "application/json"}}
            fresh.append([(json.dumps(key).encode(), body)])
        fresh.close()
        if self._journal:
            self._journal.close()
        self._folder.rename(self._former)
        staged.rename(self._folder)
        shutil.rmtree(self._former)
        self._journal = Log(self._folder)


def changes(method: str, path: str) -> bool:
    """Whether a request may change something."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    parts = path.partition("?")[0].split("/")
    return method != "POST" or not _READING.intersection(parts)


def _entries(journal: Log) -> Iterator[Any]:
    position = journal.first
    while entries := journal.read(position, _PAGE, 16 << 20):
        yield from entries
        position = entries[-1].ordinal + 1


def _everything(server: "_Server") -> Iterator[tuple[str, str, bytes]]:
    """The requests that make another server the same."""
    for found in server.json("GET", "/_index_template")["index_templates"]:
        yield "PUT", f"/_index_template/{found['name']}", json.dumps(found["index_template"]).encode()
    for name, index in server.json("GET", "/_all").items():
        own = ("creation_date", "provided_name", "uuid", "version", "replication")
        kept = {key: value for key, value in index["settings"]["index"].items() if key not in own}
        body = {"settings": {"index": kept}, "mappings": index["mappings"], "aliases": index["aliases"]}
        yield "PUT", f"/{name}", json.dumps(body).encode()
        after: list[Any] = []
        while hits := _page(server, name, after):
            lines = [line for hit in hits for line in ({"index": {"_id": hit["_id"]}}, hit["_source"])]
            yield "POST", f"/{name}/_bulk", "".join(json.dumps(line) + "\n" for line in lines).encode()
            after = hits[-1]["sort"]


def _page(server: "_Server", index: str, after: list[Any]) -> list[dict[str, Any]]:
    query = {"size": _PAGE, "sort": ["_id"], "query": {"match_all": {}}, **({"search_after": after} if after else {})}
    return server.json("POST", f"/{index}/_search", json.dumps(query).encode())["hits"]["hits"]


class _Server:
    """The server's process, from construction on."""

    def __init__(self) -> None:
        self._url = ""
        self._said: list[str] = []
        self._ready, self._ended = threading.Event(), threading.Event()
        self._process = Process(
            [_binary(), "-addr", f"{settings.LOOPBACK}:0", "-no-ja", "-no-stdin-watch"],
            {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ},
            Path.cwd(),
            grace=5,
        )
        self._reader = threading.Thread(target=self._read, name="search", daemon=True)
        self._reader.start()
        self._ready.wait(START_SECONDS)
        if not self._url:
            self.stop()
            raise SearchError(f"The search server did not start: {' '.join(self._said) or 'it said nothing'}")
        self._pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=ANSWER_SECONDS)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def _read(self) -> None:
        try:
            self._process.wait(self._hear)
        except StartError as error:
            self._said.append(str(error))
        finally:
            self._ended.set()
            self._ready.set()

    def _hear(self, lines: list[str]) -> None:
        for line in lines:
            if not self._url and line.startswith("{"):
                self._url = json.loads(line)["url"]
                self._ready.set()
            else:
                self._said.append(line)
                log.info("search: %s", line)

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        # With the content type that OpenSearch wants even where there is no content to have one.
        headers = {"Content-Type": "application/json", **headers}
        try:
            return self._pool.request(method, self._url + path, body=body or None, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise SearchError(f"The search server does not answer: {error}") from error

    def json(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        answer = self.request(method, path, body, {})
        if answer.status != 200:
            raise SearchError(f"{method} {path}: {answer.status} {answer.data.decode(errors='replace')}")
        return answer.json()

    def stop(self) -> None:
        self._process.stop()
        self._reader.join(START_SECONDS)


def _binary() -> str:
    from osmem_server import OsmemError, resolve_binary

    try:
        return resolve_binary()
    except OsmemError as error:
        raise SearchError(f"{error} (this is {sys.platform}; the local search has no other server)") from error


# ------------------------------------------------------------------------------------------------------- the endpoint

_search: Search | None = None
_making = threading.Lock()


def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request below `settings.SEARCH`."""
    method = environ["REQUEST_METHOD"]
    path = environ["REQUEST_URI"].removeprefix(settings.SEARCH) or "/"
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        answered = _endpoint().request(method, path if path[0] == "/" else f"/{path}", body, _headers(environ))
    except SearchError as error:
        log.exception("%s %s", method, path)
        status, kind, content = "503 Service Unavailable", "application/json", _unavailable(error)
    else:
        status = f"{answered.status} {answered.reason or ''}".strip()
        kind, content = answered.headers.get("Content-Type", "application/json"), answered.data
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(content)))])
    return [content]


def stop() -> None:
    """End the server, if there is one."""
    global _search
    with _making:
        if _search:
            _search.stop()
        _search = None


def _endpoint() -> Search:
    global _search
    with _making:
        if _search is None:
            _search = Search(settings.current().state / "search")
        return _search


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    given = {name: environ.get(_variable(name), "") for name in _PASSED_ON}
    return {name: value for name, value in given.items() if value}


@functools.cache
def _variable(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


def _unavailable(error: SearchError) -> bytes:
    return json.dumps({"error": {"type": "search_unavailable", "reason": str(error)}, "status": 503}).encode()
