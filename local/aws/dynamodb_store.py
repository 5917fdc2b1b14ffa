"""Tables and items in one SQLite file: each item is a row of JSON under its place (see ``dynamodb_keys``).

A write that was committed survives the death of the process. An index is a table of its own, from places in the index
to places in the table; it changes in the same transaction as the items.
"""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from local.aws.dynamodb_errors import not_found
from local.aws.dynamodb_tables import Definition, Index, Table, arn
from local.aws.dynamodb_values import Item, decimal

_OLDEST_EXPIRY = 5 * 365 * 86400  # DynamoDB leaves alone what expired longer ago: it's rather a mistake
_LATEST_EXPIRY = 2**53
_TOKEN_SECONDS = 600
_SWEEP = 1000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tables (number INTEGER PRIMARY KEY AUTOINCREMENT, definition TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, request BLOB NOT NULL, expires REAL NOT NULL);
"""
_ITEMS = """
CREATE TABLE items_{0} (
    place BLOB PRIMARY KEY, item BLOB NOT NULL, size INTEGER NOT NULL, expires INTEGER
) WITHOUT ROWID;
CREATE INDEX expiry_{0} ON items_{0} (expires) WHERE expires IS NOT NULL;
"""
_INDEX = "CREATE TABLE index_{0}_{1} (place BLOB PRIMARY KEY, item BLOB NOT NULL) WITHOUT ROWID"
_DROP_ITEMS = "DROP TABLE items_{0}"
_DROP_INDEX = "DROP TABLE index_{0}_{1}"
_MEASURE = "SELECT count(*), total(size) FROM items_{0}"
_GET = "SELECT place, item, size FROM items_{0} WHERE place = ?"
_PUT = "REPLACE INTO items_{0} VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM items_{0} WHERE place = ?"
_PUT_IN_INDEX = "INSERT INTO index_{0}_{1} VALUES (?, ?)"
_DELETE_FROM_INDEX = "DELETE FROM index_{0}_{1} WHERE place = ?"
_ALL = "SELECT place, item FROM items_{0}"
_DATE = "UPDATE items_{0} SET expires = ? WHERE place = ?"
_EXPIRED = "SELECT place, item FROM items_{0} WHERE expires < ? AND expires > ? LIMIT ?"
_PAGE = "SELECT place, item, size FROM items_{0} WHERE place >= ? AND place < ? ORDER BY place {1} LIMIT ?"
_INDEX_PAGE = """
SELECT i.place, t.item, t.size FROM index_{0}_{1} i JOIN items_{0} t ON t.place = i.item
WHERE i.place >= ? AND i.place < ? ORDER BY i.place {2} LIMIT ?
"""


class Row(NamedTuple):
    """An item as it is stored.

    Attributes:
        place: Where it is in the table or index that was read.
        item: Its JSON.
        size: In bytes, by DynamoDB's rules.
    """

    place: bytes
    item: bytes
    size: int


class Page(NamedTuple):
    """Consecutive rows.

    Attributes:
        rows: In the order asked for.
        ended: Whether nothing is behind them; a page that is full by number doesn't know.
    """

    rows: list[Row]
    ended: bool


def dump(item: Item) -> bytes:
    """An item's JSON, as it is stored and sent."""
    return _encode(item).encode()


def load(item: bytes | None) -> Item:
    """The item of its JSON; ``{}`` for none."""
    return json.loads(item) if item else {}


class Store:
    """All tables of an account, safe to use from several threads.

    Args:
        file: The database; created when missing.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None, cached_statements=512)
        self._database.execute("PRAGMA page_size = 8192")
        # A commit must survive the death of the process, not of the machine: no fsync for each.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA cache_size = -65536")
        self._database.executescript(_SCHEMA)
        found = self._database.execute("SELECT number, definition FROM tables").fetchall()
        tables = [Table(number, json.loads(definition)) for number, definition in found]
        self._tables = {table.name: table for table in tables}

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads from reading and writing meanwhile."""
        with self._lock:
            yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all or nothing; no other thread reads or writes meanwhile."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    # -- tables

    def names(self) -> list[str]:
        """Names of all tables, sorted."""
        with self._lock:
            return sorted(self._tables)

    def table(self, name: str) -> Table:
        """The table of a name or ARN.

        Raises:
            DynamoDBError: There is none.
        """
        table = self._tables.get(name.removeprefix(arn("")))
        if table is None:
            raise not_found(name)
        return table

    def create(self, definition: Definition) -> Table:
        """Add a table. Numbers its indexes."""
        for order, numbered in enumerate(_index_definitions(definition)):
            numbered["Number"] = order
        with self.transaction():
            (number,) = self._database.execute(
                "INSERT INTO tables (definition) VALUES (?) RETURNING number", (json.dumps(definition),)
            ).fetchone()
            table = Table(number, definition)
            for statement in filter(str.strip, _ITEMS.format(number).split(";")):
                self._database.execute(statement)
            for index in table.indexes.values():
                self._database.execute(_INDEX.format(number, index.number))
        self._tables[table.name] = table
        return table

    def change(self, table: Table, definition: Definition) -> Table:
        """Give a table another definition: new indexes are filled, old ones dropped, expiry times found again."""
        highest = max((index["Number"] for index in _index_definitions(table.definition)), default=-1)
        for index in _index_definitions(definition):
            if "Number" not in index:
                highest += 1
                index["Number"] = highest
        changed = Table(table.number, definition)
        with self.transaction():
            self._database.execute(
                "UPDATE tables SET definition = ? WHERE number = ?", (json.dumps(definition), table.number)
            )
            for name in table.indexes.keys() - changed.indexes.keys():
                self._database.execute(_DROP_INDEX.format(table.number, table.indexes[name].number))
            for name in changed.indexes.keys() - table.indexes.keys():
                self._fill(changed, changed.indexes[name])
            if changed.expiry_attribute != table.expiry_attribute:
                self._date(changed)
        self._tables[changed.name] = changed
        return changed

    def drop(self, table: Table) -> None:
        """Remove a table with its items."""
        with self.transaction():
            self._database.execute("DELETE FROM tables WHERE number = ?", (table.number,))
            self._database.execute(_DROP_ITEMS.format(table.number))
            for index in table.indexes.values():
                self._database.execute(_DROP_INDEX.format(table.number, index.number))
        del self._tables[table.name]

    def measure(self, table: Table) -> tuple[int, int]:
        """Number of a table's items, and the bytes of all of them."""
        with self._lock:
            found = self._database.execute(_MEASURE.format(table.number)).fetchone()
        return found[0], int(found[1])

    def _fill(self, table: Table, index: Index) -> None:
        self._database.execute(_INDEX.format(table.number, index.number))
        for place, item in self._database.execute(_ALL.format(table.number)).fetchall():
            self._index(table, index, index.place(load(item), place), place)

    def _date(self, table: Table) -> None:
        rows = self._database.execute(_ALL.format(table.number)).fetchall()
        self._database.executemany(
            _DATE.format(table.number),
            ((_expiry(table, load(item)), place) for place, item in rows),
        )

    # -- items

    def get(self, table: Table, place: bytes) -> Row | None:
        """The item at a place, if there is one."""
        with self._lock:
            found = self._database.execute(_GET.format(table.number), (place,)).fetchone()
        return Row(*found) if found else None

    def put(self, table: Table, place: bytes, item: Item, size: int, old: Item) -> None:
        """Write an item, in a transaction.

        Args:
            table: Where to.
            place: Of the item.
            item: In canonical form.
            size: Of the item.
            old: What was there. Only tables with indexes need to know.
        """
        self._database.execute(_PUT.format(table.number), (place, dump(item), size, _expiry(table, item)))
        for index in table.indexes.values():
            before, now = index.place(old, place), index.place(item, place)
            if before != now:
                self._unindex(table, index, before)
                self._index(table, index, now, place)

    def delete(self, table: Table, place: bytes, old: Item) -> None:
        """Delete the item at a place, in a transaction; ``old`` is what is there, as for :meth:`put`."""
        self._database.execute(_DELETE.format(table.number), (place,))
        for index in table.indexes.values():
            self._unindex(table, index, index.place(old, place))

    def _index(self, table: Table, index: Index, place: bytes | None, item: bytes) -> None:
        if place is not None:
            self._database.execute(_PUT_IN_INDEX.format(table.number, index.number), (place, item))

    def _unindex(self, table: Table, index: Index, place: bytes | None) -> None:
        if place is not None:
            self._database.execute(_DELETE_FROM_INDEX.format(table.number, index.number), (place,))

    def page(
        self, table: Table, index: Index | None, low: bytes, high: bytes, forward: bool, limit: int | None, budget: int
    ) -> Page:
        """Read consecutive items.

        Args:
            table: Where from.
            index: In whose order; ``None`` is the table's own.
            low: The first place.
            high: The first place behind.
            forward: Whether from low to high.
            limit: How many items at most.
            budget: How many bytes at most; but one item in any case.
        """
        order = "ASC" if forward else "DESC"
        select = _INDEX_PAGE.format(table.number, index.number, order) if index else _PAGE.format(table.number, order)
        rows: list[Row] = []
        with self._lock:
            cursor = self._database.execute(select, (low, high, -1 if limit is None else limit))
            for row in map(Row._make, cursor):
                budget -= row.size
                if budget < 0 and rows:
                    cursor.close()
                    return Page(rows, ended=False)
                rows.append(row)
        return Page(rows, ended=limit is None or len(rows) < limit)

    def sweep(self, table: Table) -> None:
        """Delete expired items; some, where there are many."""
        now = int(time.time())
        if table.expiry_attribute is None:
            return
        with self._lock:
            expired = self._database.execute(
                _EXPIRED.format(table.number), (now, now - _OLDEST_EXPIRY, _SWEEP)
            ).fetchall()
            if expired:
                with self.transaction():
                    for place, item in expired:
                        self.delete(table, place, load(item))

    # -- tokens

    def remembered(self, token: str) -> bytes | None:
        """The request that came with an idempotency token in the last ten minutes, if one did."""
        found = self._database.execute(
            "SELECT request FROM tokens WHERE token = ? AND expires > ?", (token, time.time())
        ).fetchone()
        return found[0] if found else None

    def remember(self, token: str, request: bytes) -> None:
        """Keep which request came with a token, in a transaction."""
        now = time.time()
        self._database.execute("DELETE FROM tokens WHERE expires <= ?", (now,))
        self._database.execute("INSERT INTO tokens VALUES (?, ?, ?)", (token, request, now + _TOKEN_SECONDS))


def _index_definitions(definition: Definition) -> list[dict[str, Any]]:
    return [*definition.get("GlobalSecondaryIndexes", []), *definition.get("LocalSecondaryIndexes", [])]


def _expiry(table: Table, item: Item) -> int | None:
    value = item.get(table.expiry_attribute or "")
    if value is None or "N" not in value:
        return None
    seconds = decimal(value)
    return int(seconds) if 0 <= seconds < _LATEST_EXPIRY else None
