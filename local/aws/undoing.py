"""A deployment that failed is undone; but what was there before it, of an earlier run, stays.

Tables, streams and the positions of their readers outlive the process, stacks do not: a deployment takes them over.
"""

import contextlib
import threading
from collections.abc import Iterator

_taken_over: set[tuple[str, str]] = set()
_undoing = threading.local()


@contextlib.contextmanager
def undoing() -> Iterator[None]:
    """While a deployment that failed is undone."""
    _undoing.now = True
    try:
        yield
    finally:
        _undoing.now = False


def under_way() -> bool:
    """Whether this thread undoes a deployment."""
    return getattr(_undoing, "now", False)


def take_over(kind: str, name: str) -> None:
    """Remember that a resource was there before the deployment."""
    _taken_over.add((kind, name))


def keeps(kind: str, name: str) -> bool:
    """Whether a resource must not be deleted: a deployment that failed is undone, and it was there before."""
    return under_way() and (kind, name) in _taken_over
