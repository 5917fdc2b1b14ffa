"""What a window computes: reducers whose states are join-semilattices.

`merge` is idempotent, commutative and associative, and adding an event is merging the state of that event alone. So any
order, any duplication and any split into batches end in the same state, and equal states dump to equal bytes: whoever
stores a state compares dumps to see whether anything has changed.

    reducer = Compose(events=Count(), first=First(), last=Last())
    state = reducer.add(reducer.empty(), identity, time, value)
    state = reducer.merge(state, reducer.load(stored))
    reducer.result(state)  # {"events": 3, "first": Timed(…), "last": Timed(…)}

An identity is an int in [0, 2**64) that stands for one event; a time is int microseconds since the epoch; the value is
the event's, and what it may be depends on the reducer. `add` and `merge` may change their first argument and return it,
so use what they return. The second argument of `merge` is left as it is, and shares nothing with what is returned.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, override

from include.streams.encoding import canonical, hash64, pack, pack_ids, unpack, unpack_ids
from include.streams.sketch import HyperLogLog

S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")

Value = int | str
"""What can be counted by value. No bool or float: 1, True and 1.0 are one key of a dict, the first to come."""


class Timed(NamedTuple):
    """What `First` and `Last` find.

    Attributes:
        time: of the event, microseconds since the epoch.
        value: of the event.
    """

    time: int
    value: Any


@dataclass(frozen=True, slots=True)
class Cardinality:
    """What `Distinct` finds.

    Attributes:
        count: of distinct values.
        exact: whether it is; else it is HyperLogLog's estimate.
    """

    count: int
    exact: bool


class Reducer(ABC, Generic[S, R]):
    """From events to a state S, and from a state to a result R.

    A dump is a byte for the version of the format, a letter for the kind of state, then the state.
    """

    KIND: ClassVar[bytes]
    VERSION: ClassVar[bytes] = b"\x01"

    @abstractmethod
    def empty(self) -> S:
        """The state of no event."""

    @abstractmethod
    def add(self, state: S, identity: int, time: int, value: Any) -> S:
        """The state with one more event."""

    @abstractmethod
    def merge(self, state: S, other: S) -> S:
        """The state of the events of both."""

    @abstractmethod
    def result(self, state: S) -> R:
        """What the events come to."""

    def split(self, state: S, part: Callable[[int], int]) -> tuple[S, dict[int, S]]:
        """Cuts a state by the identities that it keeps.

        Args:
            state: of at least one event.
            part: from an identity to the number of the part that it belongs to.

        Returns:
            What does not grow with the number of events, and is not cut; and by number the parts, those that have
            something in them. All together merge to the whole.

        Raises:
            TypeError: the reducer keeps no identities.
        """
        raise TypeError(f"a state of {self!r} cannot be cut: it keeps no identities")

    def dump(self, state: S) -> bytes:
        """The state as bytes, the same for equal states."""
        return self.VERSION + self.KIND + self._encode(state)

    def load(self, dumped: bytes) -> S:
        """The state that was dumped.

        Raises:
            ValueError: the bytes are of another version or another kind of reducer, or were cut off.
        """
        if dumped[:2] != self.VERSION + self.KIND:
            raise ValueError(f"the state begins with {dumped[:2]!r}: {self!r} did not dump it")
        return self._decode(dumped[2:])

    @abstractmethod
    def _encode(self, state: S) -> bytes: ...

    @abstractmethod
    def _decode(self, encoded: bytes) -> S: ...


@dataclass(frozen=True)
class Count(Reducer[set[int], int]):
    """How many events, each identity once."""

    KIND = b"c"

    @override
    def empty(self) -> set[int]:
        return set()

    @override
    def add(self, state: set[int], identity: int, time: int, value: Any = None) -> set[int]:
        state.add(identity)
        return state

    @override
    def merge(self, state: set[int], other: set[int]) -> set[int]:
        state |= other
        return state

    @override
    def result(self, state: set[int]) -> int:
        return len(state)

    @override
    def split(self, state: set[int], part: Callable[[int], int]) -> tuple[set[int], dict[int, set[int]]]:
        parts: dict[int, set[int]] = {}
        for identity in state:
            parts.setdefault(part(identity), set()).add(identity)
        return set(), parts

    @override
    def _encode(self, state: set[int]) -> bytes:
        return pack_ids(state)

    @override
    def _decode(self, encoded: bytes) -> set[int]:
        return set(unpack_ids(encoded))


@dataclass(frozen=True)
class Arrivals(Reducer[int, int]):
    """How many times an event came: cheap, and NOT idempotent, as duplicates count. For sources that deliver once."""

    KIND = b"a"

    @override
    def empty(self) -> int:
        return 0

    @override
    def add(self, state: int, identity: int, time: int, value: Any = None) -> int:
        return state + 1

    @override
    def merge(self, state: int, other: int) -> int:
        return state + other

    @override
    def result(self, state: int) -> int:
        return state

    @override
    def _encode(self, state: int) -> bytes:
        return pack_ids([state])

    @override
    def _decode(self, encoded: bytes) -> int:
        (state,) = unpack_ids(encoded)
        return state


@dataclass(frozen=True)
class Distinct(Reducer[set[Value] | HyperLogLog, Cardinality]):
    """How many distinct values (int or str): exact up to `bound`, above it HyperLogLog's estimate.

    Which of the two is decided by the set of values alone, so it does not depend on order or batches either.

    Attributes:
        bound: the greatest number that is kept exactly.
        precision: of the sketch; 14 takes 16 KiB and has 0.81 % standard error.
    """

    bound: int = 10_000
    precision: int = 14

    KIND = b"d"

    @override
    def empty(self) -> set[Value] | HyperLogLog:
        return set()

    @override
    def add(self, state: set[Value] | HyperLogLog, identity: int, time: int, value: Value) -> set[Value] | HyperLogLog:
        _check_value(value)
        if isinstance(state, HyperLogLog):
            state.add(hash64(canonical(value)))
            return state
        state.add(value)
        return state if len(state) <= self.bound else self._sketched(state)

    @override
    def merge(self, state: set[Value] | HyperLogLog, other: set[Value] | HyperLogLog) -> set[Value] | HyperLogLog:
        if isinstance(state, set) and isinstance(other, set):
            state |= other
            return state if len(state) <= self.bound else self._sketched(state)
        merged = self._sketched(state)
        merged.merge(self._sketched(other))
        return merged

    @override
    def result(self, state: set[Value] | HyperLogLog) -> Cardinality:
        if isinstance(state, HyperLogLog):
            return Cardinality(state.estimate(), exact=False)
        return Cardinality(len(state), exact=True)

    def _sketched(self, state: set[Value] | HyperLogLog) -> HyperLogLog:
        if isinstance(state, HyperLogLog):
            return state
        sketch = HyperLogLog(self.precision)
        for value in state:
            sketch.add(hash64(canonical(value)))
        return sketch

    @override
    def _encode(self, state: set[Value] | HyperLogLog) -> bytes:
        if isinstance(state, HyperLogLog):
            return b"h" + state.dump()
        return b"e" + canonical(sorted(state, key=_by_value))

    @override
    def _decode(self, encoded: bytes) -> set[Value] | HyperLogLog:
        if encoded[:1] == b"h":
            return HyperLogLog.load(encoded[1:])
        state = set(json.loads(encoded[1:]))
        return state if len(state) <= self.bound else self._sketched(state)


_Moment = tuple[int, int, Any] | None
"""Time, identity and value of an event."""


class _Extreme(Reducer[_Moment, Timed | None]):
    """The event at one end of the order by time, identity, value. Values are None, bool, int, float or str."""

    @override
    def empty(self) -> _Moment:
        return None

    @override
    def merge(self, state: _Moment, other: _Moment) -> _Moment:
        return state if other is None else self.add(state, other[1], other[0], other[2])

    @override
    def result(self, state: _Moment) -> Timed | None:
        return None if state is None else Timed(state[0], state[2])

    @override
    def split(self, state: _Moment, part: Callable[[int], int]) -> tuple[_Moment, dict[int, _Moment]]:
        return state, {}

    @override
    def _encode(self, state: _Moment) -> bytes:
        return canonical(state)

    @override
    def _decode(self, encoded: bytes) -> _Moment:
        found = json.loads(encoded)
        return found and tuple(found)


@dataclass(frozen=True)
class First(_Extreme):
    """The event of the least time; of equal times, that of the least identity."""

    KIND = b"f"

    @override
    def add(self, state: _Moment, identity: int, time: int, value: Any) -> _Moment:
        if state is None or time < state[0] or (time == state[0] and _order(identity, value) < _order(*state[1:])):
            return time, identity, value
        return state


@dataclass(frozen=True)
class Last(_Extreme):
    """The event of the greatest time; of equal times, that of the greatest identity."""

    KIND = b"l"

    @override
    def add(self, state: _Moment, identity: int, time: int, value: Any) -> _Moment:
        if state is None or time > state[0] or (time == state[0] and _order(identity, value) > _order(*state[1:])):
            return time, identity, value
        return state


Number = int | float


@dataclass(frozen=True)
class Sum(Reducer[dict[int, Number], Number]):
    """The sum of the values, each identity once: exact of ints, correctly rounded (fsum) where there are floats.

    Should an identity come with several values, the greatest counts.
    """

    KIND = b"s"

    @override
    def empty(self) -> dict[int, Number]:
        return {}

    @override
    def add(self, state: dict[int, Number], identity: int, time: int, value: Number) -> dict[int, Number]:
        if value.__class__ is not int and not (isinstance(value, float) and math.isfinite(value)):
            raise ValueError(f"value is {value!r}: give Sum finite numbers, int or float")
        known = state.setdefault(identity, value)
        if known is not value:
            state[identity] = max(known, value, key=_by_number)
        return state

    @override
    def merge(self, state: dict[int, Number], other: dict[int, Number]) -> dict[int, Number]:
        for identity, value in other.items():
            self.add(state, identity, 0, value)
        return state

    @override
    def result(self, state: dict[int, Number]) -> Number:
        values = state.values()
        return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)

    @override
    def split(
        self, state: dict[int, Number], part: Callable[[int], int]
    ) -> tuple[dict[int, Number], dict[int, dict[int, Number]]]:
        return {}, _cut(state, part)

    @override
    def _encode(self, state: dict[int, Number]) -> bytes:
        return canonical(sorted(state.items()))

    @override
    def _decode(self, encoded: bytes) -> dict[int, Number]:
        return dict(json.loads(encoded))


_Kept = dict[int, tuple[int, Any]]
"""Time and value of events, by identity."""


@dataclass(frozen=True)
class Collect(Reducer[_Kept, list[Timed]]):
    """The events themselves, each identity once, by time and identity. Values are what JSON has.

    Should an identity come with several times or values, the least time counts, then the least value.
    """

    KIND = b"e"

    @override
    def empty(self) -> _Kept:
        return {}

    @override
    def add(self, state: _Kept, identity: int, time: int, value: Any) -> _Kept:
        known = state.setdefault(identity, (time, value))
        if known != (time, value):
            state[identity] = min(known, (time, value), key=lambda moment: (moment[0], canonical(moment[1])))
        return state

    @override
    def merge(self, state: _Kept, other: _Kept) -> _Kept:
        for identity, (time, value) in other.items():
            self.add(state, identity, time, value)
        return state

    @override
    def result(self, state: _Kept) -> list[Timed]:
        return [Timed(*state[identity]) for identity in sorted(state, key=lambda one: (state[one][0], one))]

    @override
    def split(self, state: _Kept, part: Callable[[int], int]) -> tuple[_Kept, dict[int, _Kept]]:
        return {}, _cut(state, part)

    @override
    def _encode(self, state: _Kept) -> bytes:
        return canonical([[identity, *state[identity]] for identity in sorted(state)])

    @override
    def _decode(self, encoded: bytes) -> _Kept:
        return {identity: (time, value) for identity, time, value in json.loads(encoded)}


@dataclass(frozen=True)
class TopK(Reducer[dict[Value, set[int]], list[tuple[Value, int]]]):
    """The k values (int or str) with the most events, each identity once, and their counts: exact, not estimated.

    Most events first; of equal counts numbers before text, then in ascending order.
    """

    k: int

    KIND = b"t"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}: give 1 or more")

    @override
    def empty(self) -> dict[Value, set[int]]:
        return {}

    @override
    def add(self, state: dict[Value, set[int]], identity: int, time: int, value: Value) -> dict[Value, set[int]]:
        _check_value(value)
        state.setdefault(value, set()).add(identity)
        return state

    @override
    def merge(self, state: dict[Value, set[int]], other: dict[Value, set[int]]) -> dict[Value, set[int]]:
        for value, identities in other.items():
            state.setdefault(value, set()).update(identities)
        return state

    @override
    def result(self, state: dict[Value, set[int]]) -> list[tuple[Value, int]]:
        counts = ((value, len(identities)) for value, identities in state.items())
        return sorted(counts, key=lambda pair: (-pair[1], *_by_value(pair[0])))[: self.k]

    @override
    def split(
        self, state: dict[Value, set[int]], part: Callable[[int], int]
    ) -> tuple[dict[Value, set[int]], dict[int, dict[Value, set[int]]]]:
        parts: dict[int, dict[Value, set[int]]] = {}
        for value, identities in state.items():
            for identity in identities:
                parts.setdefault(part(identity), {}).setdefault(value, set()).add(identity)
        return {}, parts

    @override
    def _encode(self, state: dict[Value, set[int]]) -> bytes:
        values = sorted(state, key=_by_value)
        return pack(part for value in values for part in (canonical(value), pack_ids(state[value])))

    @override
    def _decode(self, encoded: bytes) -> dict[Value, set[int]]:
        parts = unpack(encoded)
        return {json.loads(value): set(unpack_ids(identities)) for value, identities in zip(parts, parts, strict=True)}


class Compose(Reducer[list[Any], dict[str, Any]]):
    """Several reducers over the same events and values; the result is a dict by name.

    Args:
        reducers: by name, one or more.
    """

    KIND = b"m"

    def __init__(self, **reducers: Reducer[Any, Any]) -> None:
        if not reducers:
            raise ValueError("Compose got no reducer: name one or more, as Compose(events=Count())")
        self.reducers = reducers
        self._parts = tuple(reducers.values())
        self._adds: tuple[Callable[..., Any], ...] = tuple(reducer.add for reducer in self._parts)

    def __repr__(self) -> str:
        return f"Compose({', '.join(f'{name}={reducer!r}' for name, reducer in self.reducers.items())})"

    @override
    def empty(self) -> list[Any]:
        return [reducer.empty() for reducer in self._parts]

    @override
    def add(self, state: list[Any], identity: int, time: int, value: Any) -> list[Any]:
        for place, add in enumerate(self._adds):
            state[place] = add(state[place], identity, time, value)
        return state

    @override
    def merge(self, state: list[Any], other: list[Any]) -> list[Any]:
        return [reducer.merge(mine, theirs) for reducer, mine, theirs in zip(self._parts, state, other, strict=True)]

    @override
    def result(self, state: list[Any]) -> dict[str, Any]:
        return {name: reducer.result(part) for (name, reducer), part in zip(self.reducers.items(), state, strict=True)}

    @override
    def split(self, state: list[Any], part: Callable[[int], int]) -> tuple[list[Any], dict[int, list[Any]]]:
        whole: list[Any] = []
        parts: dict[int, list[Any]] = {}
        for place, (reducer, mine) in enumerate(zip(self._parts, state, strict=True)):
            uncut, pieces = reducer.split(mine, part)
            whole.append(uncut)
            for number, piece in pieces.items():
                parts.setdefault(number, self.empty())[place] = piece
        return whole, parts

    @override
    def _encode(self, state: list[Any]) -> bytes:
        named = zip(self.reducers.items(), state, strict=True)
        return pack(part for (name, reducer), mine in named for part in (name.encode(), reducer.dump(mine)))

    @override
    def _decode(self, encoded: bytes) -> list[Any]:
        parts = unpack(encoded)
        found = {name.decode(): part for name, part in zip(parts, parts, strict=True)}
        if found.keys() != self.reducers.keys():
            raise ValueError(f"the state is of {', '.join(found)}, the reducers are {', '.join(self.reducers)}")
        return [reducer.load(found[name]) for name, reducer in self.reducers.items()]


def _cut(state: dict[int, T], part: Callable[[int], int]) -> dict[int, dict[int, T]]:
    parts: dict[int, dict[int, T]] = {}
    for identity, value in state.items():
        parts.setdefault(part(identity), {})[identity] = value
    return parts


def _check_value(value: Any) -> None:
    if value.__class__ is not str and value.__class__ is not int:
        raise ValueError(f"value is {value!r}: give an int or a str")


def _by_value(value: Value) -> tuple[bool, Value]:
    return value.__class__ is str, value


def _by_number(value: Number) -> tuple[Number, bytes]:
    return value, canonical(value)


def _order(identity: int, value: Any) -> tuple[int, bytes]:
    return identity, canonical(value)
