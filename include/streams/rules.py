"""The click-stream's rules, defined once: the speed layer, the batch layer, Flink SQL and the tests answer to these.

    click = parse_click(record)                    # RecordError names the field and the fix
    states = fold(SESSIONS.assigner, SESSIONS.reducer, map(SESSIONS.event, clicks))
    for (window, key), state in states.items():
        SESSIONS.row(window, key, SESSIONS.reducer.result(state))

Times are int microseconds since the epoch, UTC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from include.streams.assigners import MINUTE, SECOND, Event, Key, Tumbling, Window
from include.streams.fields import Fields, RecordError, identity, iso, micros
from include.streams.reducers import Cardinality, Compose, Count, Distinct, First, Last, Reducer

E = TypeVar("E", bound="Identified")

__all__ = [
    "ALLOWED_LATENESS",
    "DEVICES",
    "PRODUCTS",
    "RULES",
    "SESSIONS",
    "SOURCES_1M",
    "VISITORS_1M",
    "VISITORS_15S",
    "Click",
    "Identified",
    "RecordError",
    "Rule",
    "busiest",
    "identity",
    "iso",
    "micros",
    "parse_click",
    "session_id",
]

ALLOWED_LATENESS = 2 * MINUTE
"""How long after its end a window takes events."""
DEVICES = ("app_mobile", "app_tablet", "browser")
PRODUCTS = range(251)
"""Touched products: 0 is the shop window."""

_CUSTOMERS = range(1 << 63)


class Click(NamedTuple):
    """A click that keeps the schema.

    Attributes:
        custid: customer.
        trafficfrom: where the visitor came from.
        url: the page.
        device: one of `DEVICES`.
        touchproduct: one of `PRODUCTS`.
        time: microseconds since the epoch.
        identity: which event it is; equal for clicks that are equal in all fields.
    """

    custid: int
    trafficfrom: str
    url: str
    device: str
    touchproduct: int
    time: int
    identity: int


def parse_click(record: bytes | str) -> Click:
    """The click in a record, UTF-8 JSON.

    Raises:
        RecordError: it is no such JSON, or a field is missing, unknown, of a wrong type or out of its range.
    """
    fields = Fields(record)
    time = fields.time("trans_timestamp")
    click = {
        "custid": fields.integer("custid", _CUSTOMERS),
        "trafficfrom": fields.text("trafficfrom"),
        "url": fields.text("url"),
        "device": fields.text("device"),
        "touchproduct": fields.integer("touchproduct", PRODUCTS),
    }
    if click["device"] not in DEVICES:
        raise RecordError("device", f"is {click['device']!r}: one of {', '.join(DEVICES)} is expected")
    fields.no_others("a click")
    return Click(**click, time=time, identity=identity({**click, "trans_timestamp": iso(time)}))  # type: ignore[arg-type]


class Identified(Protocol):
    """What can be an event: a click, a line of an order."""

    @property
    def time(self) -> int:
        """Microseconds since the epoch."""

    @property
    def identity(self) -> int:
        """Which event it is, in [0, 2**64)."""


@dataclass(frozen=True, eq=False)
class Rule(Generic[E]):
    """What a window of events comes to.

    Attributes:
        name: of the rule, in state keys and reports.
        assigner: its windows.
        reducer: what they compute.
        columns: of its rows: names and types (string, integer, boolean, timestamp).
        keys: the columns that identify a row.
        key: of an event.
        value: of an event, for the reducer.
        row: from window, key and the reducer's result to a row, timestamps in int microseconds since the epoch.
    """

    name: str
    assigner: Tumbling
    reducer: Reducer[Any, Any]
    columns: Mapping[str, str]
    keys: tuple[str, ...]
    key: Callable[[E], Key]
    value: Callable[[E], Any]
    row: Callable[[Window, Any, Any], dict[str, Any]]

    def event(self, what: E) -> Event:
        """The click, or the line, as an event for the windows."""
        return Event(self.key(what), what.identity, what.time, self.value(what))


def session_id(custid: int, device: str, start: int) -> str:
    """`<custid>.<device>.<start in epoch seconds>`: unique as it is, and every SQL can concatenate it."""
    return f"{custid}.{device}.{start // SECOND}"


def _session(window: Window, key: tuple[int, str], result: dict[str, Any]) -> dict[str, Any]:
    custid, device = key
    first, last = result["first"], result["last"]
    return {
        "session_id": session_id(custid, device, window.start),
        "window_start": window.start,
        "custid": custid,
        "device": device,
        "events": result["events"],
        "first_url": first.value,
        "last_url": last.value,
        "begin": first.time,
        "end": last.time,
        "duration": last.time - first.time,
    }


SESSIONS = Rule[Click](
    name="sessions",
    assigner=Tumbling(MINUTE),
    reducer=Compose(events=Count(), first=First(), last=Last()),
    columns={
        "session_id": "string",
        "window_start": "timestamp",
        "custid": "integer",
        "device": "string",
        "events": "integer",
        "first_url": "string",
        "last_url": "string",
        "begin": "timestamp",
        "end": "timestamp",
        "duration": "integer",
    },
    keys=("window_start", "custid", "device"),
    key=lambda click: (click.custid, click.device),
    value=lambda click: click.url,
    row=_session,
)
"""What a customer did on a device within a minute. `duration` is microseconds, from the first event to the last.

Of events of the same microsecond, the least identity is the first, the greatest the last.
"""


def _visitors(name: str, size: int) -> Rule[Click]:
    def row(window: Window, url: str, result: Cardinality) -> dict[str, Any]:
        return {
            "window_start": window.start,
            "window_seconds": size // SECOND,
            "url": url,
            "visitors": result.count,
            "exact": result.exact,
        }

    return Rule[Click](
        name=name,
        assigner=Tumbling(size),
        reducer=Distinct(bound=10_000),
        columns={
            "window_start": "timestamp",
            "window_seconds": "integer",
            "url": "string",
            "visitors": "integer",
            "exact": "boolean",
        },
        keys=("window_start", "window_seconds", "url"),
        key=lambda click: click.url,
        value=lambda click: click.custid,
        row=row,
    )


VISITORS_15S = _visitors("visitors_15s", 15 * SECOND)
"""Distinct customers of each page in a quarter of a minute; above 10 000 an estimate, and `exact` is false."""
VISITORS_1M = _visitors("visitors_1m", MINUTE)
"""Distinct customers of each page in a minute; above 10 000 an estimate, and `exact` is false."""


def _source(window: Window, trafficfrom: str, events: int) -> dict[str, Any]:
    return {"window_start": window.start, "trafficfrom": trafficfrom, "events": events}


SOURCES_1M = Rule[Click](
    name="sources_1m",
    assigner=Tumbling(MINUTE),
    reducer=Count(),
    columns={"window_start": "timestamp", "trafficfrom": "string", "events": "integer"},
    keys=("window_start", "trafficfrom"),
    key=lambda click: click.trafficfrom,
    value=lambda click: None,
    row=_source,
)
"""Events from each source of traffic in a minute; `busiest` is the top one."""

RULES = {rule.name: rule for rule in (SESSIONS, VISITORS_15S, VISITORS_1M, SOURCES_1M)}


def busiest(events: Mapping[str, int]) -> str:
    """Of the sources of a minute and their events, the one with the most; of equal ones, the first in the alphabet.

    Raises:
        ValueError: there are no sources.
    """
    return min(events, key=lambda source: (-events[source], source))
