"""A search server in trouble: the real one, behind something that turns down some of what it is asked."""

import json
import random
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Troubled(BaseHTTPRequestHandler):
    """Stands before the real server, and turns down some of what it is asked."""

    target = ""
    rng = random.Random(0)
    share = 0.3
    broken = 0
    largest = 10**9
    lock = threading.Lock()
    bulks: ClassVar[list[list[str]]] = []

    def log_message(self, *_):
        pass

    def do_PUT(self):
        self.answer(*self.forward(self.body()))

    def do_POST(self):
        body = self.body()
        if "_bulk" not in self.path:
            return self.answer(*self.forward(body))
        with self.lock:
            cls = type(self)
            pairs = list(zip(*[iter(body.decode().splitlines())] * 2, strict=True))
            cls.bulks.append([json.loads(head)["create"]["_id"] for head, _ in pairs])
            if cls.broken:
                cls.broken -= 1
                return self.answer(503, b'{"error": "no leader"}')
            if len(body) > cls.largest:
                return self.answer(413, b'{"error": "too large"}')
            refused = [cls.rng.random() < cls.share for _ in pairs]
        passed = [pair for pair, no in zip(pairs, refused, strict=True) if not no]
        status, content = self.forward("".join(f"{a}\n{b}\n" for a, b in passed).encode()) if passed else (200, b"")
        items = iter(json.loads(content)["items"] if passed else [])
        error = {"type": "rejected_execution_exception", "reason": "the queue is full"}
        answers = [{"create": {"status": 429, "error": error}} if no else next(items) for no in refused]
        return self.answer(status, json.dumps({"errors": any(refused), "items": answers}).encode())

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def forward(self, body):
        request = urllib.request.Request(self.target + self.path, data=body, method=self.command)
        request.add_header("Content-Type", self.headers["Content-Type"])
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:  # The server is gone, or was in the middle of its answer.
            return 502, b"{}"

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def troubled(target, **trouble):
    """The URL of a server before the one at `target`, and its class, whose attributes `trouble` sets."""
    handler = type("Handler", (Troubled,), {"target": target, "bulks": [], "rng": random.Random(5), **trouble})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}", handler
        finally:
            proxy.shutdown()
