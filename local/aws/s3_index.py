"""What S3 knows of an object beyond its bytes, kept so that it survives a crash.

The files are the truth: a row counts only while the file still has the size and modification time it was written for.
A file that another process wrote or replaced has no valid row, and is then an object without metadata.
"""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any, NamedTuple


class Stamp(NamedTuple):
    """Which state of a file a fact is about."""

    size: int
    mtime_ns: int


class Index:
    """A table of objects in one SQLite file, safe to use from several threads.

    Args:
        file: The database; created when missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # A commit must survive the death of the process, not of the machine: no fsync for each object.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects (bucket TEXT, key TEXT, size INTEGER, mtime_ns INTEGER, facts TEXT, "
            "PRIMARY KEY (bucket, key)) WITHOUT ROWID"
        )

    def record(self, bucket: str, key: str, stamp: Stamp, facts: dict[str, Any]) -> None:
        """Keep the facts (JSON types) about an object whose file has this stamp."""
        with self._lock:
            self._database.execute(
                "REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (bucket, key, *stamp, json.dumps(facts))
            )

    def forget(self, bucket: str, key: str) -> None:
        """Drop what is known about one object."""
        with self._lock:
            self._database.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))

    def under(self, bucket: str, prefix: str) -> dict[str, tuple[Stamp, dict[str, Any]]]:
        """Everything known about the objects of a bucket whose keys start with a prefix."""
        with self._lock:
            rows = self._database.execute(
                "SELECT key, size, mtime_ns, facts FROM objects WHERE bucket = ? AND substr(key, 1, ?) = ?",
                (bucket, len(prefix), prefix),
            ).fetchall()
        return {key: (Stamp(size, mtime_ns), json.loads(facts)) for key, size, mtime_ns, facts in rows}

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()
