"""One thread that does things when they are due, and sleeps in between."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Timetable:
    """Actions by the time they are due; the thread starts with the first of them.

    Actions must be short: they put work where other threads find it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Do something later, once.

        Args:
            seconds: From now.
            action: What to do; an exception of it is logged.

        Returns:
            A function that calls it off.
        """
        entry = (time.monotonic() + seconds, next(self._numbers), action)
        with self._changed:
            heapq.heappush(self._due, entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)
                self._thread.start()
            self._changed.notify()

        def call_off() -> None:
            with self._changed:
                if entry in self._due:
                    self._due.remove(entry)
                    heapq.heapify(self._due)

        return call_off

    def stop(self) -> None:
        """Forget everything and end the thread."""
        with self._changed:
            self._due.clear()
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while True:
                    if self._thread is not threading.current_thread():
                        return
                    wait = self._due[0][0] - time.monotonic() if self._due else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                _, _, action = heapq.heappop(self._due)
            try:
                action()
            except Exception:
                log.exception("What was due failed")


timetable = Timetable()
