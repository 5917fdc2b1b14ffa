"""Windows' states as items of DynamoDB: what a batch adds to one, and when an item must be cut.

An item is a window and a key: HASH `window` = `<rule>#<start>`, RANGE `key`. It has the `state`, as the reducer dumps
it, the row that this comes to, and `expires`, epoch seconds.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from include.streams.assigners import SECOND, Event, Key, Window
from include.streams.encoding import canonical, hash64
from include.streams.fields import iso, micros
from include.streams.items import Item, Place
from include.streams.records import Record
from include.streams.rules import Rule

KEYS = ("window", "key")
"""HASH and RANGE of the table."""
KEPT_SECONDS = 14 * 24 * 60 * 60
"""How long after the arrival of its latest event an item is kept."""
LARGEST_STATE = 300_000
"""Bytes. An item may have 400 KB, with its row, in which the longest texts of a state are again."""
SHARDS = 16

_LONGEST_KEY = 900  # of 1024 bytes: shards and late events have more in theirs
_SHARD = "\x1f"
_OF_A_SHARD = re.compile(f"{_SHARD}[0-9a-f]+$")


class Arrived(NamedTuple):
    """An event, the record that it came in, and how far its shard was then.

    Attributes:
        record: a record.
        event: its event, for some rule.
        watermark: of the shard, this event included; microseconds since the epoch.
    """

    record: Record
    event: Event
    watermark: int


class Outgrown(NamedTuple):
    """A state that is too large for an item.

    Attributes:
        before: what is stored, None if nothing is.
        uncut: of this and of what is to be added, what stays with the item.
        parts: and what its shards get, by number.
    """

    before: bytes | None
    uncut: Any
    parts: dict[int, Any]


def window_key(name: str, start: int) -> str:
    """HASH of the items of a window of the rule of this name."""
    return f"{name}#{iso(start)}"


def key_text(key: Key) -> str:
    """RANGE of the item of a key; a tuple's parts are joined by #. One that is too long ends in its hash."""
    text = "#".join(map(str, key)) if isinstance(key, tuple) else str(key)
    data = text.encode()
    if len(data) <= _LONGEST_KEY and _SHARD not in text:
        return text
    begin = data[: _LONGEST_KEY - 20].decode(errors="ignore").replace(_SHARD, " ")
    return f"{begin}{_SHARD}={hash64(data):016x}"


def undivided(place: Place) -> Place:
    """Where a shard's key would have its item, were it not cut."""
    return place[0], _OF_A_SHARD.sub("", place[1])


def shard_of(place: Place, number: int) -> Place:
    """Where one of the shards of an item is."""
    window, key = place
    return window, f"{key}{'' if _OF_A_SHARD.search(key) else _SHARD}{number:x}"


class Part:
    """What a batch adds to one item: a change for `Items`. Once applied, it knows what else is to be done.

    Args:
        rule: whose window it is.
        window: the item's.
        key: the item's.
        digits: which part of the key's state: hex digits with which the identities begin.

    Attributes:
        refused: events that came too late.
        is_node: whether the item was cut: its shards have to get what they keep of the events.
        outgrown: the state, if it has become too large for the item.
    """

    def __init__(self, rule: Rule[Any], window: Window, key: Key, digits: str = "") -> None:
        self.rule, self.window, self.key = rule, window, key
        self._digits = digits
        self.state: Any = None
        self.late: list[Arrived] = []
        self._arrival = 0
        self._clear()

    def _clear(self) -> None:
        self.refused: list[Arrived] = []
        self.is_node = False
        self.outgrown: Outgrown | None = None

    @property
    def place(self) -> Place:
        """Of the item."""
        suffix = f"{_SHARD}{self._digits}" if self._digits else ""
        return window_key(self.rule.name, self.window.start), key_text(self.key) + suffix

    def add(self, arrived: Arrived, late: bool) -> None:
        """Adds an event.

        Args:
            arrived: the event.
            late: whether the window had closed before.
        """
        if late:
            self.late.append(arrived)
            return
        _, identity, time, value = arrived.event
        reducer = self.rule.reducer
        self.state = reducer.add(reducer.empty() if self.state is None else self.state, identity, time, value)
        self._arrival = max(self._arrival, arrived.record.arrival)

    def __call__(self, stored: Item | None) -> Item | None:
        """The item with what is added; None if that changes nothing, or the item cannot have it."""
        self._clear()
        self.is_node = bool(stored and "shards" in stored)
        reducer = self.rule.reducer
        before: bytes | None = stored["state"]["B"] if stored else None
        state = reducer.empty() if before is None else reducer.load(before)
        if self.state is not None:
            added = self._cut(self.state)[0] if self.is_node else self.state
            state = reducer.merge(state, added)
        dump = reducer.dump(state)
        if self.is_node:
            return self.node(state, stored) if dump != before else None
        self.refused = self._changing(dump)
        if self.state is None or dump == before:
            return None
        if len(dump) > LARGEST_STATE:
            self.outgrown = Outgrown(before, *self._cut(state))
            return None
        if self._digits:
            return {**self._keyed(dump), **expiry(self._arrival, stored)}
        row = self.rule.row(self.window, self.key, reducer.result(state))
        return {**attributes(self.rule.columns, row), "state": {"B": dump}, **expiry(self._arrival, stored)}

    def node(self, state: Any, stored: Item | None) -> Item:
        """The item as the node of its shards.

        Args:
            state: what is not in the shards.
            stored: what was there before.
        """
        dump = self.rule.reducer.dump(state)
        return {**self._keyed(dump), "shards": {"N": str(SHARDS)}, **expiry(self._arrival, stored)}

    def key_columns(self) -> Item:
        """The columns that identify the row."""
        names = [name for name in self.rule.keys if not name.startswith("window_")]
        values = {
            **dict(zip(names, self.key if isinstance(self.key, tuple) else (self.key,), strict=True)),
            "window_start": self.window.start,
            "window_seconds": (self.window.end - self.window.start) // SECOND,
        }
        return attributes(self.rule.columns, {name: values[name] for name in self.rule.keys})

    def shards(self) -> "list[Part]":
        """What there is to add to the shards of the item: with all it had, if it is still to be cut."""
        shards: dict[int, Part] = {}

        def shard(number: int) -> Part:
            return shards.setdefault(number, Part(self.rule, self.window, self.key, f"{self._digits}{number:x}"))

        if self.outgrown:
            parts = self.outgrown.parts
        else:
            parts = {} if self.state is None else self._cut(self.state)[1]
            for arrived in self.late:
                shard(self._digit(arrived.event.identity)).late.append(arrived)
        for number, state in parts.items():
            shard(number).state, shard(number)._arrival = state, self._arrival
        return list(shards.values())

    def _cut(self, state: Any) -> tuple[Any, dict[int, Any]]:
        return self.rule.reducer.split(state, self._digit)

    def _digit(self, identity: int) -> int:
        """The digit of an identity that decides about the shard."""
        return identity >> 60 - 4 * len(self._digits) & SHARDS - 1

    def _keyed(self, dump: bytes) -> Item:
        return {**self.key_columns(), "state": {"B": dump}}

    def _changing(self, dump: bytes) -> list[Arrived]:
        """Those of the late events that would change a state: the others are in it."""
        if not self.late:
            return []
        reducer = self.rule.reducer

        def changes(events: list[Arrived]) -> bool:
            state = reducer.load(dump)
            for _, (_, identity, time, value), _ in events:
                alone = reducer.add(reducer.empty(), identity, time, value)
                if self._digits:
                    (alone,) = self._cut(alone)[1].values()
                state = reducer.merge(state, alone)
            return bool(reducer.dump(state) != dump)

        return [one for one in self.late if changes([one])] if changes(self.late) else []


class Division:
    """Makes an item the node of its shards, which have their parts already: a change for `Items`.

    Args:
        part: whose item has become too large.
        outgrown: what it was.

    Attributes:
        overtaken: whether the item has meanwhile got something that the shards have not.
    """

    def __init__(self, part: Part, outgrown: Outgrown) -> None:
        self.place = part.place
        self._part, self._outgrown = part, outgrown
        self.overtaken = False

    def __call__(self, stored: Item | None) -> Item | None:
        """The node; None if it is one, or has something that the shards have not."""
        self.overtaken = False
        if stored and "shards" in stored:
            return None
        if (stored["state"]["B"] if stored else None) != self._outgrown.before:
            self.overtaken = True
            return None
        return self._part.node(self._outgrown.uncut, stored)


class LateEvent:
    """Keeps an event that came too late, as it came first: a change for `Items`.

    Args:
        part: whose it would have been.
        arrived: the event.

    Attributes:
        is_new: whether it was not known to be late.
    """

    def __init__(self, part: Part, arrived: Arrived) -> None:
        self.missed = undivided(part.place)
        self.place: Place = (f"late#{self.missed[0]}", f"{self.missed[1]}#{arrived.event.identity:016x}")
        self._part, self._arrived = part, arrived
        self.is_new = False

    def __call__(self, stored: Item | None) -> Item | None:
        """The item; None if there is one."""
        self.is_new = stored is None
        if stored:
            return None
        window, (record, event, watermark) = self._part.window, self._arrived
        late = (watermark - window.end) / SECOND
        return {
            **self._part.key_columns(),
            "time": {"S": iso(event.time)},
            "identity": {"S": f"{event.identity:016x}"},
            **({} if event.value is None else {"value": {"S": canonical(event.value).decode()}}),
            "cause": {"S": f"late: its shard was {late:g} s past the end of the window"},
            "watermark": {"S": iso(watermark)},
            "shard_id": {"S": record.shard_id},
            "sequence_number": {"S": record.sequence_number},
            **expiry(record.arrival),
        }


class Progress:
    """Lets the watermark of a shard go on: a change for `Items`. It never falls.

    Args:
        function: whose watermark it is.
        shard_id: the shard.
        time: how far it is, microseconds since the epoch.
        arrival: of the event by which it is known.
    """

    def __init__(self, function: str, shard_id: str, time: int, arrival: int) -> None:
        self.place = self.place_of(function, shard_id)
        self._time, self._arrival = time, arrival

    @staticmethod
    def place_of(function: str, shard_id: str) -> Place:
        """Where the watermark of a shard is."""
        return f"watermark#{function}", shard_id

    @staticmethod
    def time_of(item: Item) -> int:
        """The watermark, microseconds since the epoch."""
        return micros(item["time"]["S"])

    def __call__(self, stored: Item | None) -> Item | None:
        """The item; None if it is as far."""
        if stored and self.time_of(stored) >= self._time:
            return None
        return {"time": {"S": iso(self._time)}, **expiry(self._arrival, stored)}


def key_of(rule: Rule[Any], item: Item) -> Key:
    """The key whose item it is."""
    row = row_of({name: rule.columns[name] for name in rule.keys if not name.startswith("window_")}, item)
    return tuple(row.values()) if len(row) > 1 else next(iter(row.values()))


def attributes(columns: Mapping[str, str], row: Mapping[str, Any]) -> Item:
    """A row, or some columns of it, as DynamoDB has it; times are text, ISO 8601."""
    encoded: Item = {}
    for name, value in row.items():
        match columns[name]:
            case "integer":
                encoded[name] = {"N": str(value)}
            case "boolean":
                encoded[name] = {"BOOL": value}
            case "timestamp":
                encoded[name] = {"S": iso(value)}
            case _:
                encoded[name] = {"S": value}
    return encoded


def row_of(columns: Mapping[str, str], item: Item) -> dict[str, Any]:
    """The row that `attributes` encoded, as part of an item."""
    row: dict[str, Any] = {}
    for name, type_ in columns.items():
        (value,) = item[name].values()
        row[name] = int(value) if type_ == "integer" else micros(value) if type_ == "timestamp" else value
    return row


def expiry(arrival: int, stored: Item | None = None) -> Item:
    """When an item expires whose latest event, the stored ones included, arrived then."""
    before = int(stored["expires"]["N"]) if stored else 0
    return {"expires": {"N": str(max(arrival // SECOND + KEPT_SECONDS, before))}}
