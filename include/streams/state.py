"""The windows' states in DynamoDB: whatever comes, in whatever order and however often, they are those of a batch.

    states = States(items, "sessions")
    added = states.add([SESSIONS], [(record, click), …], lateness=ALLOWED_LATENESS)

A batch is folded to a state for each window and key first; what is stored is read, merged with it, and put if that has
changed anything.

- A state that outgrows an item is cut by the identities of its events: the item becomes a node, whose sixteen shards
  have one more hex digit in their RANGE and can be cut again. They get their parts before the item becomes a node, so
  at any time all items of a key together merge to its state.
- An event is late when its window had closed, by the watermark of its shard, before it came, and it would change the
  window's state. It is kept, with HASH `late#<rule>#<start>`. What comes again changes nothing, so it is not late.
- The watermark of a shard is the greatest event time in it, but of each event no later than its arrival: a clock that
  is fast makes nobody else late. It is put after the states, so a batch that is handled again is judged as before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from include.streams.assigners import Key, Window
from include.streams.items import Item, Items, Place, UnavailableError
from include.streams.records import Record
from include.streams.rules import Identified, Rule
from include.streams.state_items import (
    SHARDS,
    Arrived,
    Division,
    LateEvent,
    Outgrown,
    Part,
    Progress,
    key_of,
    key_text,
    row_of,
    shard_of,
    undivided,
    window_key,
)
from include.streams.windows import is_late

E = TypeVar("E", bound="Identified")


@dataclass(frozen=True)
class Added:
    """What became of a batch.

    Attributes:
        failed: records that could not be added in time, to be sent again; they may be there in part.
        late: how many events came too late that were not known to.
    """

    failed: list[Record]
    late: int = 0


class States:
    """The states of windows in a table.

    Args:
        items: of the table, whose keys are `KEYS` of `state_items`.
        function: whose watermarks they are.
    """

    def __init__(self, items: Items, function: str) -> None:
        self._items, self._function = items, function

    def add(self, rules: Iterable[Rule[E]], batch: Sequence[tuple[Record, E]], lateness: int | None) -> Added:
        """Adds events to their windows, and those that are too late to the late ones.

        Args:
            rules: what windows there are.
            batch: records and their events, in the order of their shards.
            lateness: how long after its end a window takes events, microseconds of event time; None: for ever.
        """
        try:
            marks = self._marks(batch, lateness)
        except UnavailableError:
            return Added([record for record, _ in batch])
        parts: dict[tuple[str, int, Key], Part] = {}
        touched: list[list[Part]] = [[] for _ in batch]
        for rule in rules:
            for (record, what), mark, mine in zip(batch, marks, touched, strict=True):
                event = rule.event(what)
                start = rule.assigner.last(event.time)
                part = parts.get((rule.name, start, event.key))
                if part is None:
                    part = Part(rule, Window(start, start + rule.assigner.size), event.key)
                    parts[rule.name, start, event.key] = part
                part.add(Arrived(record, event, mark), lateness is not None and is_late(part.window, mark, lateness))
                mine.append(part)
        unwritten, late = self._apply(list(parts.values()))
        failed = [
            record
            for (record, _), mine in zip(batch, touched, strict=True)
            if unwritten and not unwritten.isdisjoint(part.place for part in mine)
        ]
        if lateness is not None:
            failed += self._progress(batch, marks, set(failed))
        return Added(failed, late)

    def load(self, rule: Rule[Any], wanted: Iterable[tuple[Window, Key]]) -> dict[tuple[Window, Key], Any]:
        """States as they are now; those that aren't there are left out.

        Raises:
            UnavailableError: some could not be read in time.
        """
        asked = {(window_key(rule.name, window.start), key_text(key)): (window, key) for window, key in wanted}
        found: dict[tuple[Window, Key], Any] = {}
        places: Iterable[Place] = asked
        while level := self._items.read(places):
            places = [shard for place, item in level.items() for shard in _shards(place, item)]
            for place, item in level.items():
                if "state" in item:
                    state = rule.reducer.load(item["state"]["B"])
                    one = asked[undivided(place)]
                    found[one] = rule.reducer.merge(found[one], state) if one in found else state
        return found

    def rows(self, rule: Rule[Any], start: int) -> list[dict[str, Any]]:
        """The rows of a window, by key, as the rule has them: what the window comes to by now.

        Raises:
            UnavailableError: they could not be read in time.
        """
        found: dict[Place, list[Item]] = {}
        for item in self._query(window_key(rule.name, start)):
            if "state" in item:
                place = undivided((item["window"]["S"], item["key"]["S"]))
                found.setdefault(place, []).append(item)
        return [_row(rule, start, items) for items in found.values()]

    def late(self, rule: Rule[Any], start: int) -> list[Item]:
        """The items of the events that came too late for a window.

        Raises:
            UnavailableError: they could not be read in time.
        """
        return self._query(f"late#{window_key(rule.name, start)}")

    # ---------------------------------------------------------------------------------------------------------- writing

    def _apply(self, parts: Sequence[Part]) -> tuple[set[Place], int]:
        """Writes parts; where that could not be done, as if no item were cut, and the number of late events."""
        unwritten = self._items.change({part.place: part for part in parts})
        done = [part for part in parts if part.place not in unwritten]
        late: dict[Place, LateEvent] = {}
        for part in done:
            for arrived in part.refused:
                event = LateEvent(part, arrived)
                late.setdefault(event.place, event)
        unkept = self._items.change(late)
        failed = {undivided(place) for place in unwritten} | {late[place].missed for place in unkept}
        count = sum(event.is_new for event in late.values())
        below = [shard for part in done if part.is_node for shard in part.shards()]
        for more in [self._apply(below)] if below else []:
            failed, count = failed | more[0], count + more[1]
        for part in done:
            if part.outgrown and not self._divide(part, part.outgrown):
                failed.add(undivided(part.place))
        return failed, count

    def _divide(self, part: Part, outgrown: Outgrown) -> bool:
        """Cuts an item that would become too large; whether that could be done."""
        if self._apply(part.shards())[0]:
            return False
        division = Division(part, outgrown)
        if self._items.change({division.place: division}):
            return False
        return not division.overtaken or not self._apply([part])[0]

    # ------------------------------------------------------------------------------------------------------- watermarks

    def _marks(self, batch: Sequence[tuple[Record, Identified]], lateness: int | None) -> list[int]:
        """The watermark of its shard at each record, which is taken into account."""
        if lateness is None:
            return [0] * len(batch)
        places = {Progress.place_of(self._function, record.shard_id) for record, _ in batch}
        reached = {shard_id: Progress.time_of(item) for (_, shard_id), item in self._items.read(places).items()}
        marks = []
        for record, event in batch:
            time = min(event.time, record.arrival)
            reached[record.shard_id] = max(reached.get(record.shard_id, time), time)
            marks.append(reached[record.shard_id])
        return marks

    def _progress(
        self, batch: Sequence[tuple[Record, Identified]], marks: Sequence[int], failed: set[Record]
    ) -> list[Record]:
        """Puts the watermarks that hold up to the first record of each shard that failed.

        Returns:
            Of the shards where that could not be done, the last record: it has to be sent again.
        """
        changes: dict[Place, Progress] = {}
        last: dict[Place, Record] = {}
        stopped: set[str] = set()
        for (record, _), mark in zip(batch, marks, strict=True):
            if record in failed:
                stopped.add(record.shard_id)
            if record.shard_id not in stopped:
                change = Progress(self._function, record.shard_id, mark, record.arrival)
                changes[change.place], last[change.place] = change, record
        return [last[place] for place in self._items.change(changes)]

    # ---------------------------------------------------------------------------------------------------------- reading

    def _query(self, window: str) -> list[Item]:
        items = self._items
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            query = partial(
                items.client.query,
                TableName=items.table,
                KeyConditionExpression="#window = :window",
                ExpressionAttributeNames={"#window": "window"},
                ExpressionAttributeValues={":window": {"S": window}},
                ConsistentRead=True,
                **start,
            )
            answer = items.patiently(query)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _shards(place: Place, item: Item) -> list[Place]:
    """Where the shards of an item are."""
    if "shards" not in item:
        return []
    return [shard_of(place, number) for number in range(SHARDS)]


def _row(rule: Rule[Any], start: int, items: list[Item]) -> dict[str, Any]:
    """The row of a key from its items."""
    if len(items) == 1 and rule.columns.keys() <= items[0].keys():
        return row_of(rule.columns, items[0])
    reducer = rule.reducer
    state = reducer.empty()
    for item in items:
        state = reducer.merge(state, reducer.load(item["state"]["B"]))
    return rule.row(Window(start, start + rule.assigner.size), key_of(rule, items[0]), reducer.result(state))
